"""Every trial's record: changed here and nowhere else, stored, and shown.

The runner calls a method for each event. It changes the record, stores it, informs planner and observer, and keeps or removes
checkpoints.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from sweep.errors import SweepError
from sweep.runner.changed_code import CodeHistory
from sweep.runner.observers import Observer, RunChange, SessionOutcome
from sweep.runner.outcomes import FailuresInARow, outcome_of
from sweep.runner.queue import RunQueue
from sweep.search.imported import read_imported
from sweep.search.planner import Planner, needs_optuna
from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.parents import place_checkpoint
from sweep.storage.remarks import RemarksWatch
from sweep.storage.retention import Retention
from sweep.storage.store import StudyStore
from sweep.study.record import TrialRecord, ended_now, planned_record, started_now, with_span_to_now
from sweep.study.repeats import is_decided, runs_of, trial_of
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import GroupSpec, Params, Report, Suggested, TrialResult, TrialState
from sweep.tensorboard.columns import note_column
from sweep.tensorboard.pareto_front import FrontColumn
from sweep.worker.devices import Slot
from sweep.worker.protocol import Resumed, Suggest

# The record of a longer trial is synced to the disk before its checkpoint is removed; a shorter trial can run again.
_WORTH_A_SYNC_S = 1.0
# A runner that is killed loses at most this much of the time breakdown.
_TIME_EVERY_S = 3.0


class Ledger:
    """Know every trial of a study, and store what happens to it.

    Args:
        known: the runs in the store; those that are not finished run again before anything new is planned.
        slots: how many trials run at a time.
        now: the session's clock.
        code: knows which code trains; None where nothing is to be recorded of it.
        draw: draws what is left for a run folder, given whether its trial's embeddings stay.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        store: StudyStore,
        known: Sequence[TrialRecord],
        observer: Observer,
        slots: int = 1,
        now: Callable[[], float] = time.monotonic,
        code: CodeHistory | None = None,
        draw: Callable[[Path, Callable[[], bool]], object] = lambda run_folder, best: None,
    ) -> None:
        self._study, self._folder, self._store, self._observer, self._code = study, folder, store, observer, code
        self._draw = draw
        self._runs: dict[int, list[TrialRecord]] = {}  # by trial, in the order of the repeats
        self._remarks = RemarksWatch(folder, observer.notice)
        for run in self._remarks.remarks.of(known):
            waiting = run if run.state.finished else replace(run, state=TrialState.WAITING)
            self._runs.setdefault(run.number, []).append(waiting)
        trials = self.records
        self._front_column = FrontColumn(study, folder, trials)
        self._retention = Retention(study, folder, trials)
        stored = store.search() if needs_optuna(study) else None
        self._planner = Planner(study, trials, stored=stored, imported=read_imported(folder, study), slots=slots, now=now)
        self._queue = RunQueue(study, self._planner, trials)
        self._epochs = sum(run.step or 0 for run in self.runs)
        self._planner.trained(self._epochs)
        self._time_stored, self._failed = 0.0, FailuresInARow(study.stop_after_failures)

    @property
    def records(self) -> list[TrialRecord]:
        """Return every trial's record, by number."""
        return [trial_of(self._runs[number], self._study) for number in sorted(self._runs)]

    @property
    def runs(self) -> list[TrialRecord]:
        """Return the record of every run of every trial, by number and repeat."""
        return sorted((run for runs in self._runs.values() for run in runs), key=lambda run: run.key)

    @property
    def runs_left(self) -> int | None:
        """Return how many runs are still to start; None where that is open."""
        total = self._study.total
        if self._planner.ended_by is not None:
            return len(self._queue)
        return None if total is None else len(self._queue) + (total - len(self._runs)) * self._study.repeats

    @property
    def nothing_left(self) -> bool:
        """Return whether no run will start any more."""
        return self._failed.too_many or self._planner.time_is_up or self._queue.first() is None

    @property
    def done(self) -> bool:
        """Return whether every trial has ended and no other will be planned."""
        return self._planner.ended_by is not None and not self._queue and all(run.state.finished for run in self.runs)

    def first_params(self) -> Params:
        """Return the parameters of the trial that starts next."""
        return self._study.given(first.params) if (first := self._queue.first()) else {}

    def next(self, skipped: Collection[tuple[int, int]] = ()) -> TrialRecord | None:
        """Return the run to start next, or None when there is none; those with the keys `skipped` do not start now."""
        return None if self._failed.too_many or self._planner.time_is_up else self._queue.pop(skipped)

    def take(self, key: tuple[int, int]) -> tuple[TrialRecord, bool]:
        """Return a run that belongs to the group of another one, and whether it starts with it: it may have ended before."""
        if (run := self._queue.take(key)) is not None:
            return run, True
        known = {run.repeat: run for run in self._runs.get(key[0], ())}
        params = next(iter(known.values())).params if known else self._study.grid.point(key[0])
        return known.get(key[1]) or planned_record(self._study, key[0], params, key[1]), False

    def start(self, record: TrialRecord, slot: Slot, group: GroupSpec | None = None) -> TrialRecord:
        """Record that a run starts, before its worker makes the run folder; no run folder is without a record."""
        drawn = self._planner.drawn(record.number) if record.number not in self._runs else None
        record = replace(
            started_now(record, slot.index),
            code=self._code.code_for(record) if self._code else None,
            device=slot.device,
            group=tuple((one.number, one.repeat) for one in group.members) if group else (),
        )
        self._change(record)
        if record.is_first:
            self._planner.rewind(record.number, ())
        self._store.start(record, drawn)
        if self._study.start is not None:
            place_checkpoint(self._folder, record)
        self._observer.update(record, RunChange.STARTED)
        return record

    def columns(self, record: TrialRecord) -> dict[str, str]:
        """Return what a run's row in the HPARAMS tab shows beside its parameters."""
        noted = note_column(self._study, record.note) if self._remarks.remarks.notes else {}
        return (self._code.columns(record) if self._code else {}) | noted

    def suggest(self, record: TrialRecord, asked: Suggest) -> tuple[TrialRecord, Suggested]:
        """Record the value of a parameter that a run's function asks for, which is the same for all repeats; return it too."""
        answer, drawn = self._planner.suggest(record.number, asked.name, asked.domain)
        if drawn is not None:
            record = replace(record, params={**record.params, asked.name: answer.value})
            self._change(record)
            self._store.suggest(record, drawn)
            self._observer.update(record, RunChange.SUGGESTED)
        return record, answer

    def resume(self, record: TrialRecord, event: Resumed) -> TrialRecord:
        """Record that a run resumes from a checkpoint, with everything that it had reported until then."""
        at = event.position
        value = at.history[-1][1] if at.history else None
        record = replace(record, metrics=at.metrics, value=value, step=at.step, total=at.total, user_attrs=at.user_attrs)
        record = replace(record, duration_s=round(at.seconds, 3))
        self._change(record)
        self._store.resume(record, at.history)
        self._observer.update(record, RunChange.RESUMED)
        return record

    def prunes_at_resume(self, record: TrialRecord, event: Resumed) -> bool:
        """Return whether the last report before the checkpoint prunes the run, if it is its own; call it before `resume`."""
        history = event.position.history
        if not record.is_first:
            return False
        self._planner.rewind(record.number, history)
        return bool(history) and not event.of_parent and self._planner.prunes(record.number, *history[-1])

    def report(self, record: TrialRecord, at: Report, seconds: float) -> TrialRecord:
        """Record a report, made after this many seconds of the run."""
        value = at.metrics.get(self._study.metric.name)
        record = replace(with_span_to_now(record), metrics=at.metrics, value=value, step=at.step, total=at.total)
        record = replace(record, duration_s=round(seconds, 3), user_attrs=at.user_attrs)
        self._change(record)
        if record.step and record.total:
            self._planner.takes(record.number, record.params, seconds * record.total / record.step)
        self._store.report(record, self._planner.rungs(record.number))
        self._observer.update(record, RunChange.REPORTED)
        return record

    def prunes(self, record: TrialRecord, report: Report) -> bool:
        """Return whether a report prunes its run; call it before `report`."""
        value = report.metrics.get(self._study.metric.name)
        return record.is_first and self._planner.prunes(record.number, report.step, value)

    def retry(self, record: TrialRecord, error: str, seconds: float) -> TrialRecord:
        """Show that a run lost its worker after this many seconds and will start again; return its record."""
        record = replace(with_span_to_now(record, "died"), duration_s=round(seconds, 3))
        self._observer.update(replace(record, error=error), RunChange.RETRIED)
        return record

    def put_back(self, record: TrialRecord, error: str, seconds: float) -> None:
        """Record that a run, which ended after this many seconds, waits for another slot; it is no failed one."""
        record = replace(with_span_to_now(record, "put back"), state=TrialState.WAITING, duration_s=round(seconds, 3))
        self._change(record)
        self._store.interrupt([record])
        self._queue.put_back(record)
        self._observer.update(replace(record, error=error), RunChange.PUT_BACK)

    def settle(self, record: TrialRecord, result: TrialResult, seconds: float) -> TrialRecord:
        """Use a run's result for what is planned next, without storing it: `finish` does that."""
        self.read_remarks()
        [record] = self._remarks.remarks.of([ended_now(record, result, self._study.metric.name, seconds)])
        self._change(record)
        if record.state is TrialState.COMPLETE:
            self._planner.takes(record.number, record.params, seconds)
        runs = self._runs[record.number]
        trial = trial_of(runs, self._study)
        if is_decided(runs, self._study):
            self._queue.drop(record.number, {run.key for run in runs})
        elif record.is_first and self._study.prunes:  # the pruner has not stopped it, so the other repeats follow
            self._queue.add_due(runs)
        if trial.state.finished:
            complete = trial.state is TrialState.COMPLETE
            self._planner.tell(record.number, trial.state, trial.value if complete else None, trial.metrics)
            if trial.dropped:  # just before it was tried again
                self._planner.remarked(self.records, [trial])
            else:  # when nothing is left to stop, they are not too many
                self._failed.count(trial, more=bool(self._queue) or self._planner.ended_by is None)
        return record

    def finish(self, record: TrialRecord) -> None:
        """Store how a run ended; only then its checkpoint may be removed."""
        trial = trial_of(self._runs[record.number], self._study)
        sync = (record.duration_s or 0) > _WORTH_A_SYNC_S
        self._store.finish(record, trial, self._planner.rungs(record.number), sync=sync)
        self._retention.ended(trial)
        self._front_column.ended(trial)
        self._draw(self._folder.trial_dir(record.folder), lambda: self._retention.keeps_embeddings(trial))
        self._observer.update(record, RunChange.ENDED)

    def interrupt(self, record: TrialRecord, seconds: float) -> None:
        """Record that a run was stopped after this many seconds, and waits to be resumed."""
        record = replace(with_span_to_now(record, "stopped"), state=TrialState.WAITING, duration_s=round(seconds, 3))
        self._change(record)
        with contextlib.suppress(OSError, sqlite3.Error, SweepError):  # a full disk must not hide the error that is being raised
            self._store.interrupt([record])
        self._observer.update(record, RunChange.STOPPED)

    def store_time(self, spent: TimeBreakdown, *, last: bool = False) -> None:
        """Store how the session's time was spent until now; every few seconds, and the `last` one always.

        Raises:
            SweepError: the folder or the database is no longer this session's; not while another error is being raised.
        """
        if time.monotonic() - self._time_stored < _TIME_EVERY_S and not last:
            return
        self._time_stored = time.monotonic()
        ignored = (sqlite3.Error, SweepError) if sys.exception() else (sqlite3.Error,)
        with contextlib.suppress(*ignored):  # no reason to end a session; if the disk is full, the next trial raises it
            self._store.note_time(spent)

    def outcome(self) -> SessionOutcome:
        """Return how the session ended that nobody stopped."""
        return self._failed.outcome(self.records) or outcome_of(self.records, self._planner.ended_by, self._planner.drawn_again)

    def read_remarks(self) -> None:
        """Take over what the user has said of trials since the last look: a dropped trial counts for nothing from now on."""
        if not self._remarks.changed():
            return
        before = self.records
        self._runs = {number: self._remarks.remarks.of(runs) for number, runs in self._runs.items()}
        self._withdraw_retries()
        trials = self.records
        changed = [now for was, now in zip(before, trials, strict=True) if was.dropped != now.dropped and now.state.finished]
        self._planner.remarked(trials, changed)
        self._retention.remarked(changed)
        self._front_column.remarked(trials)
        for run in runs_of(changed):
            self._observer.update(run, RunChange.DROPPED if run.dropped else RunChange.TAKEN_BACK)

    def _withdraw_retries(self) -> None:
        """Take dropped trials that wait to be tried again out of the queue: they have failed, as is still stored."""
        waiting = {run.number for run in self.runs if run.dropped and run.state is TrialState.WAITING}
        stored = read_records(self._folder, waiting) if waiting else ()
        for run in self._queue.withdraw([run for run in stored if run.state.finished]):
            self._change(run)
            trial = trial_of(self._runs[run.number], self._study)
            if trial.state.finished:
                self._planner.tell(run.number, trial.state, None, trial.metrics)

    def _change(self, record: TrialRecord) -> None:
        runs = {run.repeat: run for run in self._runs.get(record.number, ())}
        before, runs[record.repeat] = runs.get(record.repeat), record
        self._runs[record.number] = [runs[repeat] for repeat in sorted(runs)]
        self._epochs += (record.step or 0) - ((before.step or 0) if before is not None else 0)
        self._planner.trained(self._epochs)
