"""The runner: one process that plans, hands out, records and decides, and never trains (nor imports torch).

    loop:  fill idle slots ─► wait for any worker's event ─► answer it, then record it ─► fill ...

It is the one author of the study: whatever a worker says is written down by its ledger and nowhere else. A report is answered
before it is written down, so that workers do not wait for the disk; a runner that dies in between takes its workers with it,
and is told again when the trials go on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from sweep.errors import EXIT_TERMINATED, write_failed
from sweep.runner import failures
from sweep.runner.gpu_sharing import GpuSharing
from sweep.runner.ledger import Ledger
from sweep.runner.observers import Observer, RunOutcome
from sweep.runner.slots import SlotState
from sweep.runner.timers import SessionTimer, SlotTimer
from sweep.storage.folder import STOP_AT_ONCE, StudyFolder
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import Slot
from sweep.worker.protocol import (
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
    Resumed,
    Worker,
)

_POLL_S = 0.2
# Batch systems kill soon after they have asked; what has not reached a step by then goes on from its last checkpoint.
STOPPING_S = 25.0


class Runner:
    """Run a study's trials until its budget is used up or somebody stops it.

    Args:
        study, folder: what is run and where it is kept.
        ledger: knows every trial, and writes down what happens to it.
        slots: where to run.
        make_worker: makes the worker of a slot.
        observer: is told what happens.
        clock: measures the run since it began.
        packing: says when slots are to be added; None for never.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        ledger: Ledger,
        slots: Sequence[Slot],
        make_worker: Callable[[Slot], Worker],
        observer: Observer,
        clock: SessionTimer,
        packing: GpuSharing | None = None,
    ) -> None:
        self._study, self._folder, self._ledger, self._observer = study, folder, ledger, observer
        self._slots, self._make_worker, self._clock, self._packing = slots, make_worker, clock, packing
        self._lanes: list[SlotState] = []
        self._pending: dict[Future[Event], SlotState] = {}
        self._preparing: SlotState | None = None
        self._ready = False
        self._stops_asked = 0
        self._stopping_since: float | None = None
        self._stopped_from_outside = False
        self._looked = 0.0
        self._deaths: Counter[tuple[int, int]] = Counter()  # of this run: an interruption is not the trial's fault

    def stop(self) -> None:
        """Ask the trials in flight to make a checkpoint and stop; asked again, end them at once. Signal handlers may call."""
        self._stops_asked += 1

    def run(self) -> RunOutcome:
        """Run until there is nothing left to do.

        Raises:
            SweepError: the objective cannot be imported or prepared, or never reports the metric; a file cannot be written.
        """
        wanted = self._ledger.wanted
        slots = self._slots if wanted is None else self._slots[:wanted]
        self._observer.begin(self._study, self._ledger.runs, len(slots))
        try:
            for slot in slots:
                self._open(slot, self._clock.lane(from_start=True))
            while self._pending and not self._stopped():
                done, _ = wait(self._pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    self._on_event(self._pending.pop(future), future.result())
                self._look_around()
        finally:
            for lane in self._lanes:
                lane.worker.kill()  # all at once, and only then one after another
            for lane in self._lanes:
                lane.worker.close()
                if lane.trial is not None:
                    self._ledger.interrupt(lane.trial, lane.seconds)
                elif lane.queued is not None and lane.queued.state is TrialState.RUNNING:
                    self._ledger.interrupt(lane.queued, lane.queued.duration_s or 0.0)
            if self._lanes:
                self._ledger.note_time(self._clock.read(), last=True)
            self._folder.stop_request.unlink(missing_ok=True)
        if self._stopping_since is None or self._ledger.done:
            return self._ledger.outcome()
        code = EXIT_TERMINATED if self._stopped_from_outside else None
        how = "stopped by `sweep stop`" if self._stopped_from_outside else "stopped on request"
        return RunOutcome(records=self._ledger.records, ended_by=how, exit_code=code)

    def _open(self, slot: Slot, clock: SlotTimer) -> None:
        self._lanes.append(SlotState(slot=slot, worker=self._make_worker(slot), clock=clock))
        self._send(self._lanes[-1], Load())

    def _look_around(self) -> None:
        """Do what no event asks for: the picture, requests to stop, trials that take too long."""
        self._observer.tick()
        if self._stops_asked and self._stopping_since is None:
            self._begin_stopping()
        if time.monotonic() - self._looked < _POLL_S:
            return
        self._looked = time.monotonic()
        self._ledger.note_time(self._clock.read())
        if self._folder.stop_request.exists():
            self._stopped_from_outside = self._stopped_from_outside or self._stops_asked == 0
            # Asking again is no more than asking: whoever asked repeats it until there is an answer.
            self._stops_asked = max(self._stops_asked, 2 if self._folder.taken_stop_request() == STOP_AT_ONCE else 1)
        if self._packing is not None and self._stopping_since is None:
            training = {lane.slot.index for lane in self._lanes if lane.trial is not None and lane.trial.step is not None}
            slots, why = self._packing.look(training)
            for slot in slots[: self._ledger.wanted]:
                self._open(slot, self._clock.lane())
            if why:
                self._observer.notice(why)
        for lane in self._lanes:
            limit = self._study.timeout_s
            if limit is not None and lane.trial is not None and not lane.timed_out and lane.seconds > limit:
                lane.timed_out = True
                lane.worker.kill()

    def _begin_stopping(self) -> None:
        self._stopping_since = time.monotonic()
        for lane in self._lanes:
            if lane.trial is not None:
                lane.worker.stop()
        if waits := self._stopping_lanes():
            numbers = ", ".join(str(number) for number in sorted({lane.trial.number for lane in waits if lane.trial is not None}))
            who = f"trial {numbers}" if len(waits) == 1 else f"trials {numbers}"
            self._observer.notice(f"stopping {who} at the next step; once more ends everything at once")

    def _stopping_lanes(self) -> list[SlotState]:
        return [lane for lane in self._lanes if lane.trial is not None and not lane.fruitless]

    def _stopped(self) -> bool:
        """Tell whether nothing is waited for any more since the sweep is being stopped."""
        if self._stopping_since is None:
            return False
        late = time.monotonic() - self._stopping_since > STOPPING_S
        return self._stops_asked > 1 or late or not self._stopping_lanes()

    def _send(self, lane: SlotState, command: Command) -> None:
        self._pending[lane.worker.next_event(command)] = lane

    def _on_event(self, lane: SlotState, event: Event) -> None:
        if isinstance(event, Resumed | Report | TrialResult):
            lane.clock.hear(event.time)
        match event:
            case Loaded():
                self._on_loaded(lane, event)
            case Progress():
                self._send(lane, Decision.CONTINUE)
                self._observer.preparing(event.text, event.fraction)
            case Prepared():
                self._ready = True
                for idle in self._lanes:
                    if idle.loaded and idle.trial is None:
                        self._start_next(idle)
            case Resumed():
                assert lane.trial is not None
                self._send(lane, self._decision(lane, prunes=self._ledger.goes_on(lane.trial, event)))
                lane.began -= event.position.seconds
                lane.trial = self._ledger.resume(lane.trial, event)
            case Report():
                assert lane.trial is not None
                prunes = self._ledger.prunes(lane.trial, event)
                self._send(lane, self._decision(lane, prunes=prunes, saves_later=event.saves and not event.saved))
                lane.fruitless = not event.saves
                lane.trial = self._ledger.report(lane.trial, event, lane.seconds)
            case TrialResult():
                self._on_result(lane, event)
            case Died():
                self._on_death(lane, event)
            case LoadFailed():
                raise failures.not_importable(self._study, event)
            case PrepareFailed():
                raise failures.not_prepared(event)

    def _decision(self, lane: SlotState, *, prunes: bool, saves_later: bool = False) -> Decision:
        if lane.timed_out:
            return Decision.STOP
        if prunes:
            return Decision.PRUNE
        # While the sweep is being stopped, one that saves later on is let go on to there: it knows that it is to stop.
        return Decision.STOP if self._stopping_since is not None and not saves_later else Decision.CONTINUE

    def _on_loaded(self, lane: SlotState, event: Loaded) -> None:
        lane.loaded = True
        if lane.queued is not None:
            lane.clock.turn_to("waiting")
            if self._stopping_since is None:
                self._start(lane, lane.queued)
            return
        if event.prepare and not self._ready:
            if self._preparing is None:
                self._preparing = lane
                self._send(lane, Prepare(params=dict(self._ledger.first_params())))
        else:
            self._on_event(lane, Prepared())

    def _start_next(self, lane: SlotState) -> None:
        lane.clock.turn_to("waiting")
        if self._stopping_since is None and not self._stops_asked:
            record = self._ledger.next()
            if record is not None:
                self._start(lane, record)

    def _start(self, lane: SlotState, record: TrialRecord) -> None:
        if not lane.loaded:
            lane.queued = record
            lane.clock.turn_to("starting")
            self._send(lane, Load())
            return
        lane.queued, lane.deaths_at_start = None, 0
        lane.trial, lane.began = self._ledger.start(record, lane.slot), time.monotonic()
        lane.clock.turn_to("training")
        lane.fruitless = lane.timed_out = False
        spec = TrialSpec(
            number=record.number,
            repeat=record.repeat,
            params=record.params,
            seed=record.seed,
            dir=str(self._folder.trial_dir(record.folder)),
            attempt=lane.trial.attempts,
        )
        self._send(lane, spec)

    def _on_result(self, lane: SlotState, result: TrialResult) -> None:
        record = lane.trial
        assert record is not None
        lane.clock.turn_to("waiting")
        if result.cause == "write-failed":
            raise write_failed(result.error or "", str(self._folder.root))
        if result.state is TrialState.WAITING and not lane.timed_out:  # stopped on request
            self._ledger.interrupt(record, lane.seconds)
            lane.trial = None
            return
        if result.state is TrialState.WAITING:
            result = self._timeout(record)
        record = self._ledger.settle(record, result, lane.seconds)
        lane.trial = None
        lane.loaded = lane.loaded and not result.spent
        if result.cause == "metric-missing":
            self._ledger.finish(record)
            raise failures.metric_never_reported(record, self._study, self._folder, result)
        # The next trial first: the slot works while the last one's results are written.
        self._start_next(lane)
        self._ledger.finish(record)

    def _on_death(self, lane: SlotState, death: Died) -> None:
        record, lane.loaded = lane.trial, False
        if record is None:
            self._on_death_at_start(lane, death)
            return
        lane.clock.turn_to("waiting")
        if self._stops_asked:
            lane.fruitless = True  # it goes on from its checkpoint, as if it had been stopped
            return
        error = failures.death_text(record, death, self._folder)
        self._deaths[record.key] += 1
        if not lane.timed_out and self._deaths[record.key] <= self._study.retries:
            lane.trial = None
            self._start(lane, self._ledger.retry(record, error, lane.seconds))
            return
        if lane.timed_out:
            self._on_result(lane, self._timeout(record))
            return
        self._end_row(record)
        self._on_result(lane, failures.death_result(record, error))

    def _end_row(self, record: TrialRecord) -> None:
        from sweep.tensorboard.hparams import append_failure

        append_failure(self._folder.trial_dir(record.folder))

    def _on_death_at_start(self, lane: SlotState, death: Died) -> None:
        lane.deaths_at_start += 1
        if lane.deaths_at_start > self._study.retries:
            raise failures.died_at_start(death)
        self._observer.notice(f"a worker died before its first trial and is started again: {death.describe()}")
        if self._preparing is lane:
            self._preparing = None
        self._send(lane, Load())

    def _timeout(self, record: TrialRecord) -> TrialResult:
        self._end_row(record)
        return failures.timeout_result(record, self._study.timeout_s, self._folder)
