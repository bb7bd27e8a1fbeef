"""The runner: one process that plans, hands out, records and decides, and never trains (nor imports torch).

    loop:  fill idle slots ─► wait for any worker's event ─► answer it, then record it ─► fill ...

It is the one author of the study: whatever a worker says is written here and nowhere else. An event is answered before it
is written down, so that workers do not wait for the disk; a runner that dies in between takes its workers with it, and
what was not written is run again.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sweep.devices import Slot
from sweep.errors import (
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_TOO_MANY_FAILURES,
    SweepError,
)
from sweep.files import tail, write_json
from sweep.layout import StudyFolder
from sweep.messages import (
    Command,
    Died,
    Event,
    Load,
    Loaded,
    LoadFailed,
    Prepare,
    Prepared,
    PrepareFailed,
    Progress,
    Worker,
)
from sweep.observer import Observer, RunOutcome
from sweep.planner import Planner
from sweep.records import TrialRecord, planned_record
from sweep.storage import StudyStore
from sweep.study import StudySpec
from sweep.trial import Decision, Report, Scalar, TrialResult, TrialSpec, TrialState

_POLL_S = 0.2


@dataclass(kw_only=True, eq=False)
class _Lane:
    """A slot as the runner sees it."""

    slot: Slot
    worker: Worker
    loaded: bool = False
    trial: TrialRecord | None = None
    began: float = field(default_factory=time.monotonic)


class Runner:
    """Run a study's trials until its budget is used up or somebody stops it.

    Args:
        study, folder, store: what is run and where it is kept.
        known: the trials in the store; those not finished are run again under their own numbers.
        slots: where to run.
        make_worker: makes the worker of a slot.
        observer: is told what happens.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        store: StudyStore,
        known: Sequence[TrialRecord],
        slots: Sequence[Slot],
        make_worker: Callable[[Slot], Worker],
        observer: Observer,
    ) -> None:
        self._study, self._folder, self._store, self._observer = study, folder, store, observer
        self._records = {record.number: record for record in known}
        self._planner = Planner(study, known)
        self._unfinished = [record for record in known if not record.state.finished]
        self._slots, self._make_worker = slots, make_worker
        self._lanes: list[_Lane] = []
        self._pending: dict[Future[Event], _Lane] = {}
        self._ready = False
        self._stopping = False
        self._failures_in_a_row = 0
        self._gave_up = False
        self._deaths: Counter[int] = Counter()  # of this run: an interruption is not the trial's fault

    def stop(self) -> None:
        """Ask the loop to end; safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> RunOutcome:
        """Run until there is nothing left to do.

        Raises:
            SweepError: the objective cannot be imported or prepared, or never reports the metric.
        """
        wanted = 0 if self._planner.stopped_by else len(self._unfinished) + self._unplanned()
        self._observer.begin(self._study, list(self._records.values()), min(wanted, len(self._slots)))
        try:
            for slot in self._slots[:wanted]:
                self._lanes.append(_Lane(slot=slot, worker=self._make_worker(slot)))
                self._send(self._lanes[-1], Load())
            while self._pending and not self._stopping:
                done, _ = wait(self._pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    self._on_event(self._pending.pop(future), future.result())
                self._observer.tick()
        finally:
            for lane in self._lanes:
                lane.worker.close()
            self._set_back_running()
        return self._outcome()

    def _unplanned(self) -> int:
        if self._planner.ended_by is not None:
            return 0
        total = self._study.total
        return len(self._slots) if total is None else total - len(self._records)

    def _outcome(self) -> RunOutcome:
        records = [self._records[number] for number in sorted(self._records)]
        if self._stopping:
            return RunOutcome(records=records, ended_by="stopped on request", exit_code=None)
        if self._gave_up:
            ended = f"{self._study.stop_after_failures} trials in a row failed"
            return RunOutcome(records=records, ended_by=ended, exit_code=EXIT_TOO_MANY_FAILURES)
        failed = any(record.state is TrialState.FAILED for record in records)
        ended = self._planner.ended_by or "there was nothing left to plan"
        return RunOutcome(records=records, ended_by=ended, exit_code=EXIT_SOME_FAILED if failed else EXIT_OK)

    def _send(self, lane: _Lane, command: Command) -> None:
        self._pending[lane.worker.next_event(command)] = lane

    def _on_event(self, lane: _Lane, event: Event) -> None:
        match event:
            case Loaded():
                self._on_loaded(lane, event)
            case Progress():
                self._send(lane, Decision.GO_ON)
                self._observer.preparing(event.text, event.fraction)
            case Prepared():
                self._ready = True
                for idle in self._lanes:
                    if idle.loaded and idle.trial is None:
                        self._start_next(idle)
            case Report():
                self._on_report(lane, event)
            case TrialResult():
                self._on_result(lane, event)
            case Died():
                self._on_death(lane, event)
            case LoadFailed():
                raise SweepError(
                    "objective-not-importable",
                    f"the objective {self._study.objective} cannot be imported: {event.reason}",
                    why=event.traceback,
                    do="sweep check STUDY   tries again without starting anything",
                )
            case PrepareFailed():
                raise SweepError(event.id, event.what, where=event.where, why=event.why, do=event.do)

    def _on_loaded(self, lane: _Lane, event: Loaded) -> None:
        first = not any(other.loaded for other in self._lanes)
        lane.loaded = True
        if first and event.prepare:
            self._send(lane, Prepare(params=self._first_params()))
        elif first or self._ready:
            self._on_event(lane, Prepared())

    def _first_params(self) -> dict[str, Scalar]:
        if self._unfinished:
            return dict(self._unfinished[0].params)
        ahead = Planner(self._study, self._records.values()).ask()
        return dict(ahead[1]) if ahead else {}

    def _start_next(self, lane: _Lane) -> None:
        record = self._next_record()
        if record is not None:
            self._start(lane, record)

    def _next_record(self) -> TrialRecord | None:
        if self._gave_up or self._planner.stopped_by:
            return None
        if self._unfinished:
            return self._unfinished.pop(0)
        planned = self._planner.ask()
        if planned is None:
            return None
        return planned_record(self._study, *planned)

    def _start(self, lane: _Lane, record: TrialRecord) -> None:
        record = replace(
            record,
            state=TrialState.RUNNING,
            attempts=record.attempts + 1,
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            device=lane.slot.device,
            metrics={},
            value=None,
            step=None,
            total=None,
            duration_s=None,
            error=None,
        )
        lane.trial, lane.began = record, time.monotonic()
        directory = str(self._folder.trial_dir(record.folder))
        spec = TrialSpec(number=record.number, params=record.params, seed=record.seed, dir=directory, attempt=record.attempts)
        self._send(lane, spec)
        self._records[record.number] = record
        self._store.start(record)
        self._observer.update(record, "started")

    def _on_report(self, lane: _Lane, report: Report) -> None:
        self._send(lane, Decision.GO_ON)
        assert lane.trial is not None
        value = report.metrics.get(self._study.metric.name)
        record = replace(lane.trial, metrics=report.metrics, value=value, step=report.step, total=report.total)
        lane.trial = self._records[record.number] = record
        self._store.report(record)
        self._observer.update(record, "reported")

    def _on_result(self, lane: _Lane, result: TrialResult) -> None:
        assert lane.trial is not None
        record = replace(
            lane.trial,
            state=result.state,
            metrics=result.metrics,
            value=result.metrics.get(self._study.metric.name),
            duration_s=round(time.monotonic() - lane.began, 3),
            error=result.error,
        )
        self._settle(record)
        lane.trial = None
        if result.cause == "metric-missing":
            self._store.finish(record)
            self._observer.update(record, "ended")
            raise SweepError(
                "metric-never-reported",
                f"trial {record.number} ended without the metric {self._study.metric.name!r}",
                where=str(self._folder.trial_dir(record.folder)),
                why=result.error,
                do="set metric.name to one of those, then:  sweep run STUDY --fresh",
            )
        # The next trial first: the slot works while the last one's results are written.
        self._start_next(lane)
        self._store.finish(record)
        self._observer.update(record, "ended")

    def _on_death(self, lane: _Lane, death: Died) -> None:
        record = lane.trial
        if record is None:
            raise SweepError(
                "worker-died-at-start",
                f"a worker died before its first trial: {death.describe()}",
                why=death.log or None,
                do="sweep doctor   checks torch, torchvision and the devices",
            )
        log = self._folder.trial_dir(record.folder) / "log.txt"
        error = f"{death.describe()}\nlast lines of {log}:\n{tail(log)}".rstrip()
        self._deaths[record.number] += 1
        if self._deaths[record.number] <= self._study.retries:
            self._observer.update(replace(record, error=error), "retried")
            self._start(lane, record)
            return
        from sweep.tensorboard.hparams import append_failure

        append_failure(self._folder.trial_dir(record.folder))
        self._on_result(lane, TrialResult(state=TrialState.FAILED, metrics=record.metrics, error=error, cause="died"))

    def _settle(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        complete = record.state is TrialState.COMPLETE
        self._planner.tell(record.number, record.state, record.value if complete else None)
        self._failures_in_a_row = self._failures_in_a_row + 1 if record.state is TrialState.FAILED else 0
        if self._failures_in_a_row >= self._study.stop_after_failures:
            # For good, whatever the trials still running bring; but not when there is nothing left to stop.
            self._gave_up = self._gave_up or bool(self._unfinished) or self._planner.ended_by is None

    def _set_back_running(self) -> None:
        for lane in self._lanes:
            if lane.trial is not None:
                record = self._records[lane.trial.number] = replace(lane.trial, state=TrialState.WAITING)
                with contextlib.suppress(OSError):  # a full disk must not hide what is being reported
                    write_json(self._folder.trial_file(record.folder), record.to_json())
