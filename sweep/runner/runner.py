"""The runner: one process that plans, hands out, records and decides; it never trains, nor imports torch.

    loop:  fill idle slots ─► wait for any worker's event ─► answer it, then record it ─► fill ...

It is the only writer of the study: its ledger stores what workers report. A report is answered before it is stored, so that
workers do not wait for the disk. A runner that dies in between takes its workers with it; the trials report the same step again
when they resume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sweep.errors import SweepError
from sweep.runner import failures, unsaved
from sweep.runner.engine import Engine
from sweep.runner.fusing import Fusing, enough, spec_of, workers_of
from sweep.runner.gpu_sharing import GpuSharing
from sweep.runner.ledger import Ledger
from sweep.runner.observers import Observer, SessionOutcome
from sweep.runner.preparing import Preparation
from sweep.runner.slot_notes import SlotNotes
from sweep.runner.slot_rules import SlotRules
from sweep.runner.slot_state import SlotState
from sweep.runner.slots import Slots
from sweep.runner.stopping import StopRequests
from sweep.runner.timers import SessionTimer
from sweep.storage.folder import StudyFolder
from sweep.storage.messages import write_failed
from sweep.study.record import TrialRecord, device_on
from sweep.study.spec import StudySpec
from sweep.study.trial import Decision, Report, TrialResult, TrialState
from sweep.worker import protocol
from sweep.worker.devices import Slot

_POLL_S = 0.2


class Runner:
    """Run a study's trials until its budget is used up or somebody stops it.

    Args:
        slots: those that the session begins with.
        engine: makes their workers, and may have room for more slots later.
        gpu_sharing: may open more, and close them; None where their number is given.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        ledger: Ledger,
        slots: Sequence[Slot],
        engine: Engine,
        observer: Observer,
        timer: SessionTimer,
        gpu_sharing: GpuSharing | None = None,
    ) -> None:
        self._study, self._folder, self._ledger, self._observer = study, folder, ledger, observer
        self._first_slots, self._timer = slots, timer
        self._slots = Slots(engine.make_worker, timer)
        sharing = gpu_sharing or GpuSharing((), 1, timer.now)
        self._rules = SlotRules(self._slots, ledger, SlotNotes(folder, observer), sharing, engine, Fusing(study, folder, ledger))
        self._stops = StopRequests(folder, timer.now)
        self._preparation = Preparation(self._slots, ledger.first_params)
        self._looked = -_POLL_S
        self._unsaved = unsaved.UnsavedWork(study, observer.notice)
        self._deaths: Counter[tuple[int, int]] = Counter()  # of this session: an interruption is not the trial's fault

    def stop(self) -> None:
        """Ask the running trials to make a checkpoint and stop, or at once if called again; signal handlers may call this."""
        self._stops.add()

    def run(self) -> SessionOutcome:
        """Run until there is nothing left to do.

        Raises:
            SweepError: the objective cannot be imported or prepared, or never reports the metric; a file cannot be written.
        """
        slots = enough(self._first_slots, self._ledger.runs_left)
        self._observer.begin(self._study, self._ledger.runs, len(workers_of(slots)) or int(self._rules.goes_on))
        try:
            for slot in slots:
                self._slots.open(slot, from_start=True)
            while self._rules.goes_on and not self._stopped():
                for asked, event in self._slots.events(_POLL_S):
                    self._on_event(asked, event)
                self._look_around()
        finally:
            self._end()
        stopped = self._stops.begun and not self._ledger.done
        outcome = self._stops.outcome(self._ledger.records) if stopped else self._ledger.outcome()
        return replace(outcome, notes=self._rules.end())

    def _end(self) -> None:
        self._slots.end()
        for slot in self._slots:
            if slot.trial is not None:
                self._ledger.interrupt(slot.trial, slot.seconds)
            elif slot.queued is not None and slot.queued.state is TrialState.RUNNING:
                self._ledger.interrupt(slot.queued, slot.queued.duration_s or 0.0)
        if self._slots:
            self._ledger.store_time(self._timer.read(), last=True)
        self._folder.stop_request.unlink(missing_ok=True)  # one that nobody has read

    def _look_around(self) -> None:
        """Do what no event triggers: stopping, sharing GPUs, time limits."""
        if self._stops.begin():
            for slot in self._slots:
                if slot.trial is not None:
                    slot.worker.stop()
            self._unsaved.interrupt(slot.seconds for slot in self._slots if slot.trial is not None and not slot.awaited)
            if awaited := self._awaited():
                numbers = ", ".join(map(str, sorted({trial.number for trial in awaited})))
                which = f"trial{'s' * (len(awaited) > 1)} {numbers}"
                self._observer.notice(f"stopping {which} at the next step; once more stops at once")
        passed = self._timer.now() - self._looked
        if passed < _POLL_S:
            return
        self._looked += passed
        self._ledger.store_time(self._timer.read())
        self._stops.read_folder()
        if not self._stops.begun and self._rules.look():
            self._fill()
        limit = self._study.timeout_s
        for slot in self._slots:
            if slot.worker.suspended():
                slot.began += min(passed, slot.seconds)  # it may have begun since the last look
            if limit is not None and slot.trial is not None and slot.seconds > limit:
                slot.timed_out = True
                if slot.seconds > self._study.timed.forced_s and not slot.killed:
                    slot.killed = True
                    slot.worker.kill()

    def _awaited(self) -> list[TrialRecord]:
        return [slot.trial for slot in self._slots if slot.trial is not None and slot.awaited]

    def _stopped(self) -> bool:
        """Return whether the session is stopping and waits for no trial any more."""
        return self._stops.begun and (self._stops.at_once or not self._awaited())

    def _on_event(self, slot: SlotState, event: protocol.Event) -> None:
        if isinstance(event, protocol.Resumed | protocol.Suggest | Report | TrialResult):
            slot.timer.update(event.time)
            self._unsaved.look(event, slot.seconds)
        match event:
            case protocol.Loaded():
                self._on_loaded(slot, event)
            case protocol.Progress():
                self._slots.send(slot, Decision.CONTINUE)
                self._observer.preparing(event.text, event.fraction)
            case protocol.Prepared():
                self._preparation.done(slot)
                slot.loaded = not event.spent
                self._fill()
            case protocol.Resumed():
                assert slot.trial is not None
                self._slots.send(slot, self._decision(slot, prunes=self._ledger.prunes_at_resume(slot.trial, event)))
                # The worker's clock also counts while it is suspended, the runner's does not.
                seconds = min(event.position.seconds, event.position.seconds if slot.before is None else slot.before)
                slot.began -= seconds
                slot.trial = self._ledger.resume(slot.trial, replace(event, position=replace(event.position, seconds=seconds)))
            case protocol.Suggest():
                assert slot.trial is not None
                answer: protocol.Answer = Decision.STOP
                if not (slot.timed_out or self._stops.begun):
                    slot.trial, answer = self._ledger.suggest(slot.trial, event)
                self._slots.send(slot, answer)
            case Report():
                assert slot.trial is not None
                prunes = self._ledger.prunes(slot.trial, event)
                self._slots.send(slot, self._decision(slot, prunes=prunes, saves_later=event.saves and not event.saved))
                slot.awaited = event.saves
                self._rules.reported(slot, event.step)
                slot.trial = self._ledger.report(slot.trial, event, slot.seconds)
            case TrialResult():
                self._on_result(slot, event)
            case protocol.Died():
                self._on_death(slot, event)
            case protocol.LoadFailed():
                raise failures.not_importable(self._study, event)
            case protocol.PrepareFailed():
                raise SweepError(event.id, event.what, where=event.where, why=event.why, do=event.do)

    def _decision(self, slot: SlotState, *, prunes: bool, saves_later: bool = False) -> Decision:
        if slot.timed_out:
            return Decision.COMPLETE if self._study.timed.then == "complete" else Decision.STOP
        if prunes:
            return Decision.PRUNE
        # While the session is stopping, a trial that saves later continues until then: it knows that it has to stop.
        return Decision.STOP if self._stops.begun and not saves_later else Decision.CONTINUE

    def _on_loaded(self, slot: SlotState, event: protocol.Loaded) -> None:
        slot.loaded, slot.node = True, event.node
        self._rules.loaded(event)
        if event.node:
            slot.place = replace(slot.place, device=device_on(slot.place.device, event.node))
        if slot.queued is not None:
            slot.timer.turn_to("waiting")
            if not self._stops.begun or any(one.trial for one in self._slots.seats(slot)):  # a group starts as a whole
                self._start(slot, slot.queued)
            return
        self._preparation.loaded(slot, needed=event.prepare)
        self._fill()

    def _fill(self) -> None:
        for slot in filter(self._preparation.ready, self._slots.idle):
            self._start_next(slot)

    def _start_next(self, slot: SlotState) -> None:
        slot.timer.turn_to("waiting")
        if slot.closing:
            self._slots.close(slot)
        elif not self._stops:
            for seat, record in self._rules.next(slot):
                self._start(seat, record)

    def _start(self, slot: SlotState, record: TrialRecord) -> None:
        if not slot.loaded:
            slot.queued = record
            slot.timer.turn_to("starting")
            self._slots.send(slot, protocol.Load())
            return
        slot.queued, slot.deaths_at_start, slot.before = None, 0, record.duration_s
        slot.trial, slot.began = self._ledger.start(record, slot.place, slot.group), self._timer.now()
        slot.timer.turn_to("training")
        slot.awaited, slot.timed_out, slot.killed = True, False, False
        spec = spec_of(record, self._study, self._folder, self._ledger.columns(slot.trial), slot.trial.attempts)
        self._slots.send(slot, replace(spec, group=slot.group))
        self._rules.began(slot)

    def _on_result(self, slot: SlotState, result: TrialResult) -> None:
        record = slot.trial
        assert record is not None
        slot.timer.turn_to("waiting")
        if result.cause == "write-failed":
            raise write_failed(result.error or "", self._folder)
        if result.spent:
            self._slots.gone(slot)
        if result.state is TrialState.WAITING and result.error and not self._stops and self._rules.fails_together(slot, result):
            self._fill()
            return
        if result.state is TrialState.WAITING and not slot.timed_out:  # stopped on request
            self._ledger.interrupt(record, slot.seconds)
            slot.trial = None
            return
        if result.state is TrialState.WAITING:
            result = failures.ended_by_timeout(record, self._study, self._folder)
        if result.cause != "died" and self._rules.ended(slot, result).puts_back:
            self._fill()
            return
        record = self._ledger.settle(record, result, slot.seconds)
        slot.trial = None
        if result.cause == "metric-missing":
            self._ledger.finish(record)
            raise failures.metric_never_reported(record, self._study, self._folder, result)
        # The next trial first: the slot works while the results of the last one are stored.
        self._fill()
        self._ledger.finish(record)

    def _on_death(self, slot: SlotState, death: protocol.Died) -> None:
        record = slot.trial
        self._slots.gone(slot)
        if death.lost and not self._stops and not slot.timed_out and self._rules.lost(slot, death):
            self._preparation.died(slot)
            slot.timer.turn_to("starting")
            self._slots.send(slot, protocol.Load())
            self._fill()
            return
        if record is None and self._stops:
            return  # nothing starts any more
        if record is None:
            slot.deaths_at_start += 1
            if slot.deaths_at_start > self._study.retries:
                raise failures.died_at_start(death)
            self._observer.notice(f"a worker died before its first trial and is started again: {death.describe()}")
            self._slots.send(slot, protocol.Load())
            self._preparation.died(slot)
            return
        slot.timer.turn_to("waiting")
        if self._stops:
            slot.awaited = False  # it will be resumed from its checkpoint, as if it had been stopped
            return
        error = failures.death_text(record, death, self._folder)
        if slot.timed_out:
            self._on_result(slot, failures.ended_by_timeout(record, self._study, self._folder))
            return
        lost = TrialResult(state=TrialState.FAILED, metrics=record.metrics, error=error, cause="died")
        verdict = self._rules.ended(slot, lost, death)
        self._deaths[record.key] += not verdict.puts_back
        if verdict.puts_back:
            self._fill()
        elif not verdict.final and self._deaths[record.key] <= self._study.retries:
            slot.trial = None
            self._start(slot, self._ledger.retry(record, error, slot.seconds))
            self._fill()
        else:
            self._on_result(slot, failures.failed(record, error, "died", self._folder))
