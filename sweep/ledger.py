"""The ledger of a run: every trial's record, changed in one place, stored, and told to whoever watches.

The runner says what happened; here it becomes a new record in the store, news for the planner, a line for the observer, and
checkpoints kept or removed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sweep.devices import Slot
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TOO_MANY_FAILURES
from sweep.layout import StudyFolder
from sweep.messages import Resumed
from sweep.observer import Observer, RunOutcome
from sweep.planner import Planner, needs_mirror
from sweep.records import Span, TrialRecord, planned_record
from sweep.retention import Retention
from sweep.storage import StudyStore
from sweep.study import StudySpec
from sweep.trial import Params, Report, TrialResult, TrialState

# A trial that took longer is written down to the disk itself before its checkpoint goes; a shorter one is run again.
_WORTH_A_SYNC_S = 1.0


class Ledger:
    """Know every trial of a study, and write down what happens to it.

    Args:
        study, folder, store: what is run and where it is kept.
        known: the trials in the store; those not finished are to be run again, before anything new is planned.
        observer: is told what happens.
    """

    def __init__(
        self, study: StudySpec, folder: StudyFolder, store: StudyStore, known: Sequence[TrialRecord], observer: Observer
    ) -> None:
        self._study, self._folder, self._store, self._observer = study, folder, store, observer
        waiting = [record if record.state.finished else replace(record, state=TrialState.WAITING) for record in known]
        self._records = {record.number: record for record in waiting}
        self._planner = Planner(study, waiting, *store.sampler(), store.curves() if needs_mirror(study) else None)
        self._epochs = sum(record.step or 0 for record in waiting)
        self._planner.trained(self._epochs)
        self._ahead: list[TrialRecord] = []  # planned, to be the next one started
        self._unfinished = [record for record in waiting if not record.state.finished]
        store.interrupt([self._records[record.number] for record in known if record.state is TrialState.RUNNING])
        self._retention = Retention(study, folder, known)
        self._failures_in_a_row = 0
        self._gave_up = False

    @property
    def records(self) -> list[TrialRecord]:
        """Return every trial's record, by number."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def wanted(self) -> int | None:
        """Return how many trials are still to be run; None when that is open."""
        if self._planner.ended_by is not None:
            return len(self._unfinished)
        total = self._study.total
        return None if total is None else len(self._unfinished) + total - len(self._records)

    def first_params(self) -> Params:
        """Return the parameters of the trial that will be the next one."""
        if not self._unfinished and not self._ahead and (planned := self._planner.ask()):
            self._ahead = [planned_record(self._study, *planned)]
        return next((record.params for record in (*self._unfinished, *self._ahead)), {})

    def next(self) -> TrialRecord | None:
        """Return the trial to run next, or None when there is none."""
        if self._gave_up or self._planner.time_is_up:
            return None
        if self._unfinished:  # whatever ended the search since: an undisturbed run would have finished them
            return self._unfinished.pop(0)
        if self._ahead:
            return self._ahead.pop()
        planned = self._planner.ask()
        return None if planned is None else planned_record(self._study, *planned)

    def start(self, record: TrialRecord, slot: Slot) -> TrialRecord:
        """Note that a trial runs from now on. Before its worker hears of it: no run folder without a record."""
        now = _now()
        drawn = self._planner.drawn(record.number) if record.number not in self._records else None
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
        complete = record.state is TrialState.COMPLETE
        self._planner.tell(record.number, record.state, record.value if complete else None, record.metrics)
        self._failures_in_a_row = self._failures_in_a_row + 1 if record.state is TrialState.FAILED else 0
        if self._failures_in_a_row >= self._study.stop_after_failures:
            # For good, whatever the trials still running bring; but not when there is nothing left to stop.
            self._gave_up = self._gave_up or bool(self._unfinished) or self._planner.ended_by is None
        return record

    def finish(self, record: TrialRecord) -> None:
        """Write down how a trial ended; then only its checkpoint may go."""
        self._store.finish(record, self._planner.rungs(record.number), sync=(record.duration_s or 0) > _WORTH_A_SYNC_S)
        self._retention.ended(record)
        self._observer.update(record, "ended")

    def interrupt(self, record: TrialRecord, seconds: float) -> None:
        """Note that a trial was stopped, after so many seconds, and will go on when the study is resumed."""
        record = replace(_alive(record, "stopped"), state=TrialState.WAITING, duration_s=round(seconds, 3))
        self._note(record)
        with contextlib.suppress(OSError, sqlite3.Error):  # a full disk must not hide what is being reported
            self._store.interrupt([record])
        self._observer.update(record, "stopped")

    def goes_on(self, record: TrialRecord, event: Resumed) -> bool:
        """Learn from where a trial goes on; tell whether its last report there ends it."""
        history = event.position.history
        self._planner.rewind(record.number, history)
        return bool(history) and self._planner.prunes(record.number, *history[-1])

    def prunes(self, record: TrialRecord, report: Report) -> bool:
        """Tell whether a report ends its trial; `report` writes it down."""
        return self._planner.prunes(record.number, report.step, report.metrics.get(self._study.metric.name))

    def _note(self, record: TrialRecord) -> None:
        before = self._records.get(record.number)
        self._epochs += (record.step or 0) - ((before.step or 0) if before is not None else 0)
        self._records[record.number] = record
        self._planner.trained(self._epochs)

    @property
    def done(self) -> bool:
        """Tell whether every trial has ended and no other will be planned."""
        return self._planner.ended_by is not None and all(record.state.finished for record in self._records.values())

    def outcome(self) -> RunOutcome:
        """Return how the run ended, if nobody stopped it."""
        if self._gave_up:
            ended = f"{self._study.stop_after_failures} trials in a row failed"
            return RunOutcome(records=self.records, ended_by=ended, exit_code=EXIT_TOO_MANY_FAILURES)
        failed = any(record.state is TrialState.FAILED for record in self._records.values())
        ended = self._planner.ended_by or "there was nothing left to plan"
        if again := self._planner.drawn_again:
            ended += f" ({again} proposals equalled another trial and were replaced)"
        return RunOutcome(records=self.records, ended_by=ended, exit_code=EXIT_SOME_FAILED if failed else EXIT_OK)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _alive(record: TrialRecord, how: str | None = None) -> TrialRecord:
    """Return a record whose last span reaches until now, and ends there if `how` says so; one that has ended stays."""
    *before, last = record.spans
    return record if last.how else replace(record, spans=(*before, replace(last, ended=_now(), how=how)))
