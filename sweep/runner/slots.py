"""The open slots of a session: opened and closed while it runs, each with a worker that is asked one thing at a time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from sweep.runner.slot_state import SlotState
from sweep.runner.timers import SessionTimer
from sweep.worker import protocol
from sweep.worker.devices import Slot

_AT_A_TIME = 64


class Slots:
    """Open and close slots, and pass commands to their workers and events back.

    Args:
        make_worker: makes the worker of a slot.
        timer: the session's, which counts each slot's time.
    """

    def __init__(self, make_worker: Callable[[Slot], protocol.Worker], timer: SessionTimer) -> None:
        self._make_worker, self._timer = make_worker, timer
        self._open: list[SlotState] = []
        self._asked: set[SlotState] = set()  # whose workers owe an answer
        self._answers: queue.SimpleQueue[tuple[SlotState, Future[protocol.Event]]] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[SlotState]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> bool:
        """Return whether any worker owes an answer."""
        return bool(self._asked)

    @property
    def idle(self) -> list[SlotState]:
        """Return the slots that could start a trial now."""
        return [slot for slot in self._open if slot not in self._asked and slot.trial is None and slot.queued is None]

    def seats(self, slot: SlotState) -> list[SlotState]:
        """Return all slots of a slot's worker, itself included, in order."""
        first = slot.place.index - slot.place.seat
        return [one for one in self._open if first <= one.place.index < first + one.place.seats]

    def gone(self, slot: SlotState) -> None:
        """Note that the process of a slot's worker is gone: whatever starts next in any of its seats must load first."""
        for one in self.seats(slot):
            one.loaded = False

    def open(self, place: Slot, *, from_start: bool = False) -> None:
        """Open a slot, whose worker begins to load; one of the first slots has been starting since the session began."""
        slot = SlotState(place=place, worker=self._make_worker(place), timer=self._timer.add_slot(from_start=from_start))
        self._open.append(slot)
        self.send(slot, protocol.Load())

    def send(self, slot: SlotState, command: protocol.Command) -> None:
        """Give a slot's worker a command."""
        self._asked.add(slot)
        slot.worker.next_event(command).add_done_callback(lambda answer: self._answers.put((slot, answer)))

    def events(self, timeout_s: float) -> Iterator[tuple[SlotState, protocol.Event]]:
        """Wait for any worker's answer, and iterate over those that have come."""
        # A queue, since waiting for 1,000 futures takes longer the more there are.
        with contextlib.suppress(queue.Empty):
            found = [self._answers.get(timeout=timeout_s)]
            found += [self._answers.get_nowait() for _ in range(self._answers.qsize())]
            for slot, answer in found:
                self._asked.discard(slot)
                yield slot, answer.result()

    def beside(self, place: Slot) -> list[SlotState]:
        """Return the other open slots that compute on a GPU of this one."""
        return [slot for slot in self._open if slot.place.index != place.index and share_gpu(slot.place, place)]

    def retire(self, indices: Iterable[int]) -> None:
        """Close slots once their trials have ended; those that run none are closed now."""
        for slot in [slot for slot in self._open if slot.place.index in set(indices)]:
            slot.closing = True
        for slot in [slot for slot in self.idle if slot.closing]:
            self.close(slot)

    def close(self, slot: SlotState) -> None:
        """Close a slot whose worker owes no answer, and stop counting its time. The last one on a GPU stays open."""
        slot.worker.close()
        slot.timer.turn_to(None)
        self._open.remove(slot)
        beside = self.beside(slot.place)
        if beside and all(other.closing for other in beside):
            beside[0].closing = False

    def end(self) -> None:
        """End all workers at once."""
        for slot in self._open:
            slot.worker.kill()
        # Side by side: of a machine that does not answer, each is waited for.
        with ThreadPoolExecutor(max_workers=_AT_A_TIME) as threads:
            for closed in [threads.submit(slot.worker.close) for slot in self._open]:
                closed.result()


def share_gpu(one: Slot, other: Slot) -> bool:
    """Return whether two slots compute on the same GPU."""
    return not set(one.gpus).isdisjoint(other.gpus)
