"""The objective's `prepare(params)`: run once on each node, in one worker, before the node's first trial.

On one machine there is one node, whose name is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sweep.runner.slot_state import SlotState
from sweep.runner.slots import Slots
from sweep.study.trial import Params
from sweep.worker import protocol


class Preparation:
    """Know which nodes are prepared, and prepare the others.

    Args:
        slots: the session's.
        params: returns the parameters of the trial that starts next.
    """

    def __init__(self, slots: Slots, params: Callable[[], Params]) -> None:
        self._slots, self._params = slots, params
        self._ready: set[str] = set()
        self._under_way: dict[str, SlotState] = {}
        self._deaths: Counter[str] = Counter()  # of workers that were preparing, by node

    def ready(self, slot: SlotState) -> bool:
        """Return whether trials may start on a slot's node."""
        return slot.node in self._ready

    def loaded(self, slot: SlotState, *, needed: bool) -> None:
        """Prepare the node of a slot whose worker is loaded, unless that is done, under way, or not needed."""
        if not needed:
            self._ready.add(slot.node)
        elif slot.node not in self._ready and slot.node not in self._under_way:
            self._begin(slot)

    def done(self, slot: SlotState) -> None:
        """Note that a slot's node is prepared."""
        self._under_way.pop(slot.node, None)
        self._ready.add(slot.node)

    def died(self, slot: SlotState) -> None:
        """Let another slot of the node go on if this one, whose worker has died, was preparing it."""
        if self._under_way.get(slot.node) is slot:
            self._deaths[slot.node] = slot.deaths_at_start
            del self._under_way[slot.node]
            for other in self._slots.idle:
                if other.node == slot.node and other.loaded and other is not slot:
                    self._begin(other)
                    return

    def _begin(self, slot: SlotState) -> None:
        self._under_way[slot.node] = slot
        slot.deaths_at_start = max(slot.deaths_at_start, self._deaths[slot.node])  # whichever worker does it, they count together
        self._slots.send(slot, protocol.Prepare(params=dict(self._params())))
