"""The ledger of a run: every trial's record, changed in one place, stored, and told to whoever watches.

The runner says what happened; here it becomes a new record in the store, news for the planner, a line for the observer, and
checkpoints kept or removed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TOO_MANY_FAILURES
from sweep.runner.observers import Observer, RunOutcome
from sweep.search.imported import read_imported
from sweep.search.planner import Planner, needs_optuna
from sweep.storage.folder import StudyFolder
from sweep.storage.retention import Retention
from sweep.storage.store import StudyStore
from sweep.study.record import Span, TrialRecord
from sweep.study.repeats import due, is_decided, trial_of
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import Params, Report, TrialResult, TrialState
from sweep.tensorboard.pareto_front import FrontColumn
from sweep.worker.devices import Slot
from sweep.worker.protocol import Resumed

# A trial that took longer is written down to the disk itself before its checkpoint goes; a shorter one is run again.
_WORTH_A_SYNC_S = 1.0
# So often what the time went to is written down: a runner that is killed loses no more of it.
_NOTE_S = 3.0


class Ledger:
    """Know every trial of a study, and write down what happens to it.

    Args:
        study, folder, store: what is run and where it is kept.
        known: the runs in the store; those not finished are to be run again, before anything new is planned.
        observer: is told what happens.
        slots: how many trials run at a time.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        store: StudyStore,
        known: Sequence[TrialRecord],
        observer: Observer,
        slots: int = 1,
    ) -> None:
        self._study, self._folder, self._store, self._observer = study, folder, store, observer
        waiting = [run if run.state.finished else replace(run, state=TrialState.WAITING) for run in known]
        self._runs: dict[int, list[TrialRecord]] = {}  # by trial, in the order of the repeats
        for run in waiting:
            self._runs.setdefault(run.number, []).append(run)
        trials = self.records
        stored = store.search() if needs_optuna(study) else None
        self._planner = Planner(study, trials, stored=stored, imported=read_imported(folder, study), slots=slots)
        self._epochs = sum(run.step or 0 for run in waiting)
        self._planner.trained(self._epochs)
        self._ahead: list[TrialRecord] = []  # of trials that were planned, to be started before anything else is planned
        self._unfinished: list[TrialRecord] = []  # of trials from before
        for trial in trials:
            if not trial.state.finished:
                runs = self._runs[trial.number]
                self._unfinished += [run for run in runs if not run.state.finished]
                self._unfinished += due(trial.number, trial.params, runs, study)
        store.interrupt([replace(run, state=TrialState.WAITING) for run in known if run.state is TrialState.RUNNING])
        self._retention = Retention(study, folder, trials)
        self._front_column = FrontColumn(study, folder, trials)
        self._noted = 0.0
        self._failures_in_a_row = 0
        self._gave_up = False

    @property
    def records(self) -> list[TrialRecord]:
        """Return every trial's record, by number."""
        return [trial_of(self._runs[number], self._study) for number in sorted(self._runs)]

    @property
    def runs(self) -> list[TrialRecord]:
        """Return the record of every run of every trial, by number and repeat."""
        return sorted((run for runs in self._runs.values() for run in runs), key=lambda run: run.key)

    @property
    def wanted(self) -> int | None:
        """Return how many runs are still to be made; None when that is open."""
        planned = len(self._unfinished) + len(self._ahead)
        if self._planner.ended_by is not None:
            return planned
        total = self._study.total
        return None if total is None else planned + (total - len(self._runs)) * self._study.repeats

    def first_params(self) -> Params:
        """Return the parameters of the trial that will be the next one."""
        if not self._unfinished and not self._ahead:
            self._plan()
        return next((run.params for run in (*self._unfinished, *self._ahead)), {})

    def next(self) -> TrialRecord | None:
        """Return the run to start next, or None when there is none."""
        if self._gave_up or self._planner.time_is_up:
            return None
        if self._unfinished:  # whatever ended the search since: an undisturbed run would have finished them
            return self._unfinished.pop(0)
        if not self._ahead:
            self._plan()
        return self._ahead.pop(0) if self._ahead else None

    def _plan(self) -> None:
        if planned := self._planner.ask():
            self._ahead += due(*planned, (), self._study)

    def start(self, record: TrialRecord, slot: Slot) -> TrialRecord:
        """Note that a trial runs from now on. Before its worker hears of it: no run folder without a record."""
        now = _now()
        drawn = self._planner.drawn(record.number) if record.number not in self._runs else None
        record = replace(
            record,
            state=TrialState.RUNNING,
            attempts=record.attempts + 1,
            started=now,
            device=slot.device,
            spans=(*record.spans, Span(slot=slot.index, started=now, ended=now)),
            metrics={},
            value=None,
            step=None,
            total=None,
            duration_s=None,
            ended=None,
            error=None,
            cause=None,
        )
        self._note(record)
        if _is_watched(record):
            self._planner.rewind(record.number, ())
        self._store.start(record, drawn)
        self._observer.update(record, "started")
        return record

    def resume(self, record: TrialRecord, event: Resumed) -> TrialRecord:
        """Note that a trial goes on from a checkpoint, with all that it had reported until then."""
        position = event.position
        value = position.history[-1][1] if position.history else None
        record = replace(
            record,
            metrics=position.metrics,
            value=value,
            step=position.step,
            total=position.total,
            duration_s=round(position.seconds, 3),
        )
        self._note(record)
        self._store.resume(record, position.history)
        self._observer.update(record, "resumed")
        return record

    def report(self, record: TrialRecord, report: Report, seconds: float) -> TrialRecord:
        """Note a report, after so many seconds of the trial."""
        value = report.metrics.get(self._study.metric.name)
        record = replace(
            _alive(record),
            metrics=report.metrics,
            value=value,
            step=report.step,
            total=report.total,
            duration_s=round(seconds, 3),
        )
        self._note(record)
        if record.step and record.total:
            self._planner.takes(record.number, record.params, seconds * record.total / record.step)
        self._store.report(record, self._planner.rungs(record.number))
        self._observer.update(record, "reported")
        return record

    def retry(self, record: TrialRecord, error: str, seconds: float) -> TrialRecord:
        """Tell that a trial lost its worker, after so many seconds, and will be started again; return it as it is then."""
        record = replace(_alive(record, "died"), duration_s=round(seconds, 3))
        self._observer.update(replace(record, error=error), "retried")
        return record

    def settle(self, record: TrialRecord, result: TrialResult, seconds: float) -> TrialRecord:
        """Take a trial's result into account for what is planned next; `finish` writes it down."""
        record = replace(
            _alive(record, str(result.state)),
            state=result.state,
            metrics=result.metrics,
            value=result.metrics.get(self._study.metric.name),
            duration_s=round(seconds, 3),
            ended=_now(),
            error=result.error,
            cause=result.cause,
        )
        self._note(record)
        if record.state is TrialState.COMPLETE:
            self._planner.takes(record.number, record.params, seconds)
        runs = self._runs[record.number]
        trial = trial_of(runs, self._study)
        if is_decided(runs, self._study):
            self._drop_unstarted(record.number)
        elif _is_watched(record) and self._study.prunes:  # the pruner has let it through
            self._ahead[:0] = due(record.number, record.params, runs, self._study)
        if not trial.state.finished:
            return record
        complete = trial.state is TrialState.COMPLETE
        self._planner.tell(record.number, trial.state, trial.value if complete else None, trial.metrics)
        self._failures_in_a_row = self._failures_in_a_row + 1 if trial.state is TrialState.FAILED else 0
        if self._failures_in_a_row >= self._study.stop_after_failures:
            # For good, whatever the trials still running bring; but not when there is nothing left to stop.
            self._gave_up = self._gave_up or bool(self._unfinished or self._ahead) or self._planner.ended_by is None
        return record

    def _drop_unstarted(self, number: int) -> None:
        known = {run.key for run in self._runs[number]}
        for queue in (self._unfinished, self._ahead):
            queue[:] = [run for run in queue if run.number != number or run.key in known]

    def finish(self, record: TrialRecord) -> None:
        """Write down how a trial ended; then only its checkpoint may go."""
        trial = trial_of(self._runs[record.number], self._study)
        sync = (record.duration_s or 0) > _WORTH_A_SYNC_S
        self._store.finish(record, trial, self._planner.rungs(record.number), sync=sync)
        self._retention.ended(trial)
        self._front_column.ended(trial)
        self._observer.update(record, "ended")

    def interrupt(self, record: TrialRecord, seconds: float) -> None:
        """Note that a trial was stopped, after so many seconds, and will go on when the study is resumed."""
        record = replace(_alive(record, "stopped"), state=TrialState.WAITING, duration_s=round(seconds, 3))
        self._note(record)
        with contextlib.suppress(OSError, sqlite3.Error):  # a full disk must not hide what is being reported
            self._store.interrupt([record])
        self._observer.update(record, "stopped")

    def note_time(self, run: TimeBreakdown, *, last: bool = False) -> None:
        """Note what the time of this run went to until now; if it is not the last word, only every few seconds."""
        if time.monotonic() - self._noted < _NOTE_S and not last:
            return
        self._noted = time.monotonic()
        with contextlib.suppress(sqlite3.Error):  # no reason to end a sweep; if the disk is full, the next trial tells
            self._store.note_time(run)

    def goes_on(self, record: TrialRecord, event: Resumed) -> bool:
        """Learn from where a trial goes on; tell whether its last report there ends it."""
        history = event.position.history
        if not _is_watched(record):
            return False
        self._planner.rewind(record.number, history)
        return bool(history) and self._planner.prunes(record.number, *history[-1])

    def prunes(self, record: TrialRecord, report: Report) -> bool:
        """Tell whether a report ends its trial; `report` writes it down."""
        value = report.metrics.get(self._study.metric.name)
        return _is_watched(record) and self._planner.prunes(record.number, report.step, value)

    def _note(self, record: TrialRecord) -> None:
        runs = {run.repeat: run for run in self._runs.get(record.number, ())}
        before = runs.get(record.repeat)
        runs[record.repeat] = record
        self._runs[record.number] = [runs[repeat] for repeat in sorted(runs)]
        self._epochs += (record.step or 0) - ((before.step or 0) if before is not None else 0)
        self._planner.trained(self._epochs)

    @property
    def done(self) -> bool:
        """Tell whether every trial has ended and no other will be planned."""
        ended = self._planner.ended_by is not None and not self._unfinished and not self._ahead
        return ended and all(run.state.finished for runs in self._runs.values() for run in runs)

    def outcome(self) -> RunOutcome:
        """Return how the run ended, if nobody stopped it."""
        if self._gave_up:
            ended = f"{self._study.stop_after_failures} trials in a row failed"
            return RunOutcome(records=self.records, ended_by=ended, exit_code=EXIT_TOO_MANY_FAILURES)
        records = self.records
        failed = any(record.state is TrialState.FAILED for record in records)
        ended = self._planner.ended_by or "there was nothing left to plan"
        if again := self._planner.drawn_again:
            ended += f" ({again} proposals equalled another trial and were replaced)"
        return RunOutcome(records=records, ended_by=ended, exit_code=EXIT_SOME_FAILED if failed else EXIT_OK)


def _is_watched(record: TrialRecord) -> bool:
    """Tell whether a run is the one of its trial that Optuna sees, and the pruner decides on."""
    return record.repeat == 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _alive(record: TrialRecord, how: str | None = None) -> TrialRecord:
    """Return a record whose last span reaches until now, and ends there if `how` says so; one that has ended stays."""
    *before, last = record.spans
    return record if last.how else replace(record, spans=(*before, replace(last, ended=_now(), how=how)))
