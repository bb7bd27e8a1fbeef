"""Apply to the slots of a session what measurements (`gpu_sharing`) and failures (`slot_health`) decide."""

from __future__ import annotations

from collections import Counter

from sweep.runner.engine import Engine
from sweep.runner.fusing import Fusing
from sweep.runner.gpu_sharing import Change, GpuSharing
from sweep.runner.ledger import Ledger
from sweep.runner.slot_health import KILLED, SlotHealth, Verdict
from sweep.runner.slot_notes import SlotNotes
from sweep.runner.slot_state import SlotState
from sweep.runner.slots import Slots
from sweep.study.record import TrialRecord
from sweep.study.trial import GroupSpec, TrialResult, TrialState
from sweep.worker.protocol import Died, Loaded

_MOST_LOSSES = 5  # of a trial without a report in between: more are not the machines' fault


class SlotRules:
    """Open and close slots, and decide what may start in them.

    Args:
        slots, ledger, notes: the session's.
        sharing: measures the trials on its GPUs.
        engine: may have room for more slots.
        fusing: knows which trials are trained together.
    """

    def __init__(
        self, slots: Slots, ledger: Ledger, notes: SlotNotes, sharing: GpuSharing, engine: Engine, fusing: Fusing
    ) -> None:
        self._fusing = fusing
        self._failing: GroupSpec | None = None
        self._slots, self._ledger, self._notes, self._sharing, self._engine = slots, ledger, notes, sharing, engine
        self._losses: Counter[tuple[int, int]] = Counter()
        self._health = SlotHealth(slots)
        self._waiting = 0

    def loaded(self, event: Loaded) -> None:
        """Note what an objective can that a worker has imported."""
        if text := self._fusing.loaded(event.varies):
            self._notes.say(text)

    def next(self, slot: SlotState) -> list[tuple[SlotState, TrialRecord]]:
        """Return the runs to start next: in a slot, or in the seats of its worker; none if it has to wait, or nothing is left."""
        alone = slot.place.seats == 1
        if not self._sharing.may_start(slot.place) or not (alone or self._seats_are_free(slot)):
            return []
        first = self._ledger.next(self._health.not_for(slot.place))
        return [] if first is None else self._fusing.seated([slot] if alone else self._slots.seats(slot), first)

    def _seats_are_free(self, slot: SlotState) -> bool:
        """Return whether a slot is the first seat of its worker, and a group may start in all of them."""
        idle = self._slots.idle
        # Those of a group that fails are put back one after the other: none starts before its fellows are here.
        failing = any(one.trial and one.group is self._failing for one in self._slots if self._failing)
        return slot.place.seat == 0 and not failing and all(one in idle for one in self._slots.seats(slot))

    def fails_together(self, slot: SlotState, result: TrialResult) -> bool:
        """Put back the trial in a slot that has failed together with others; return False if it was alone."""
        if slot.trial is None or slot.group is None:
            return False
        self._failing = slot.group
        self._fusing.failed(slot.trial.key, len(slot.group.members), result.cause)
        self._sharing.ended(slot.place)
        self._ledger.put_back(slot.trial, result.error or "", slot.seconds)
        slot.trial = None
        return True

    @property
    def goes_on(self) -> bool:
        """Return whether the session is not over; where slots wait for room, it is over without them if nothing is left."""
        if not self._engine.grows:
            return self._slots.busy
        return any(slot.trial or slot.queued for slot in self._slots) or not self._ledger.nothing_left

    def began(self, slot: SlotState) -> None:
        """Note that a trial has been given to a slot."""
        self._sharing.began(slot.place)

    def reported(self, slot: SlotState, step: int) -> None:
        """Note a report of the trial in a slot."""
        self._sharing.reported(slot.place, step)
        if slot.trial is not None:
            self._losses.pop(slot.trial.key, None)

    def ended(self, slot: SlotState, result: TrialResult, death: Died | None = None) -> Verdict:
        """Act on how the trial in a slot ended, and say what else follows: nothing if it was put back.

        Args:
            slot: where.
            result: what it will be if nothing else is decided.
            death: how its worker died, if it did.
        """
        assert slot.trial is not None
        if death is not None and self.fails_together(slot, result):
            return Verdict(puts_back=True)
        self._sharing.ended(slot.place)
        if slot.place.seats > 1:  # a slot whose worker has several seats is never closed
            return Verdict()
        if death is not None and not death.killed:
            return Verdict()
        cause = None if slot.timed_out else KILLED if death is not None else result.cause
        completed = result.state in (TrialState.COMPLETE, TrialState.PRUNED)
        verdict = self._health.judge(slot, slot.trial.key, cause, completed=completed)
        if verdict.text:
            self._notes.add(verdict.text)
        for place in verdict.reopens:
            self._slots.open(place)
        if verdict.puts_back:
            self._ledger.put_back(slot.trial, result.error or "", slot.seconds)
            slot.trial = None
        if verdict.closes:
            self._sharing.closed(slot.place)
            self._slots.close(slot)
        return verdict

    def lost(self, slot: SlotState, death: Died) -> bool:
        """Put back the trial of a slot whose machine is gone; return False where a trial loses one machine after another."""
        self._notes.say(f"{death.reason}; its slot waits for room")
        if slot.trial is not None:
            self._losses[slot.trial.key] += 1
            if self._losses[slot.trial.key] > _MOST_LOSSES:
                return False
            self._sharing.ended(slot.place)
            self._ledger.put_back(slot.trial, death.reason, slot.seconds)
            slot.trial = None
        if slot.queued is not None:
            self._ledger.put_back(slot.queued, death.reason, slot.queued.duration_s or 0.0)
            slot.queued = None
        return True

    def look(self) -> bool:
        """Open and close slots as the measurements say; return whether an idle slot may have something to do now."""
        # Asked only where it is used: it may end the search, which on one machine depends on results alone, and not on the time.
        left = self._ledger.runs_left if self._engine.grows or self._sharing.measures else None
        changes: list[Change] = []
        if self._sharing.measures:
            pids = {slot.place.index: getattr(slot.worker, "pid", None) for slot in self._slots}  # threads have no process
            changes += self._sharing.look(pids, left)
        for change in changes:
            for place in change.opens:
                self._slots.open(place)
            self._slots.retire(change.closes)
            if change.figures:
                self._notes.add(change.text, **change.figures)
            else:
                self._notes.say(change.text)
        if self._engine.grows:
            self._tell_waiting()
        running = sum(slot.trial is not None or slot.queued is not None for slot in self._slots)
        added, texts = self._engine.look(len(self._slots), None if left is None else running + left)
        for place in added:
            self._slots.open(place)
        for text in texts:
            self._notes.say(text)
        # A slot that has waited for a comparison may start now, though no trial has ended.
        return bool(changes) or any(slot.place.gpus for slot in self._slots.idle)

    def _tell_waiting(self) -> None:
        waiting = sum(getattr(slot.worker, "waits", False) for slot in self._slots)
        if waiting != self._waiting:
            self._waiting = waiting
            self._notes.waiting(waiting)

    def end(self) -> tuple[str, ...]:
        """Return what was decided in this session, a line each, and what could not be."""
        for text in self._sharing.undecided():
            self._notes.add(text)
        return self._notes.texts
