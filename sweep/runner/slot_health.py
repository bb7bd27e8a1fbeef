"""Whether a failure on a GPU is the trial's or the slot's, so that a broken GPU, or a full one, does not fail the study.

**Errors of the device.** A slot is closed after two in a row if another slot has completed a trial since the first one: the
GPU is lost, broken, or gone for this process. The process is a new one after the first, so it is not to blame. The trial is put
back, and is no failed one. If it then fails in the same way on another slot, it was the trial: it fails there, and the slot
is opened again. Errors that CUDA reports count, and workers that are killed by a signal; the exceptions of an objective do not.

**Memory.** A trial that runs out of it beside others is put back, and its slot is closed, so that fewer share the GPU; with
each such failure there is one less. Alone it fails, and what was closed for it is opened again. If processes of others
hold memory, it is put back once for each GPU, and nothing is closed.

The last slot of a session is never closed, nor the last one on a GPU for memory. A trial that is put back waits for a slot on
another GPU, if there is an open one. Nothing of this has run on a GPU yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sweep.runner.gpu_trouble import trouble
from sweep.runner.slot_state import SlotState
from sweep.runner.slots import Slots, share_gpu
from sweep.study.trial import DEVICE_ERROR, OUT_OF_MEMORY
from sweep.worker.devices import Slot
from sweep.worker.gpus import Gpu, GpuReading, read_gpu

KILLED = "killed"  # the cause of a worker that was killed by a signal
_IN_A_ROW = 2
_OTHERS = 0.05  # of a GPU's memory: less is the driver's own, or a desktop's
_Run = tuple[int, int]  # a run's key


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What follows from how a trial ended.

    Attributes:
        puts_back, closes: the trial waits for another slot; its slot is closed.
        final: the trial fails, whatever is left of its retries.
        reopens: slots that were closed for this trial.
        text: what to say about it; empty if there is nothing to say.
    """

    puts_back: bool = False
    closes: bool = False
    final: bool = False
    reopens: tuple[Slot, ...] = ()
    text: str = ""


class SlotHealth:
    """Know the failures on each slot of a session.

    Args:
        slots: the session's.
        read: returns what a GPU is doing, None if that is not known.
        ask: returns what is known to be wrong with a GPU.
    """

    def __init__(
        self,
        slots: Slots,
        read: Callable[[Gpu], GpuReading | None] = read_gpu,
        ask: Callable[[Gpu], str] = trouble,
    ) -> None:
        self._slots, self._read, self._ask = slots, read, ask
        self._completed: Counter[int] = Counter()  # trials, by slot
        self._rows: dict[int, tuple[int, int]] = {}  # errors of the device in a row, and how many others had completed before
        self._waiting: dict[_Run, tuple[str, list[Slot]]] = {}  # why a run was put back, and the slots where it failed
        self._closed: dict[_Run, list[Slot]] = {}  # the slots that were closed for a run

    def judge(self, slot: SlotState, run: _Run, cause: str | None, *, completed: bool = False) -> Verdict:
        """Say what follows from how a run ended on a slot.

        Args:
            slot, run: where, and which.
            cause: as in `TrialResult.cause`, or KILLED.
            completed: it is complete, or pruned.
        """
        place = slot.place
        if cause in (DEVICE_ERROR, KILLED) and place.gpus:
            return self._device_failed(slot, run)
        self._rows.pop(place.index, None)
        self._completed[place.index] += completed
        if cause == OUT_OF_MEMORY and place.gpus:
            return self._memory_ran_out(slot, run)
        self._waiting.pop(run, None)
        self._closed.pop(run, None)
        return Verdict()

    def not_for(self, place: Slot) -> set[_Run]:
        """Return the runs that wait for a slot elsewhere than here."""
        return {run for run, (_, failed) in self._waiting.items() if self._elsewhere(failed) and _among(place, failed)}

    def _device_failed(self, slot: SlotState, run: _Run) -> Verdict:
        place = slot.place
        why, _ = self._waiting.pop(run, ("", []))
        if why == DEVICE_ERROR:
            return self._blame(run, f"trial {run[0]} fails on {place.device} in the same way, so it was the trial")
        others = self._completed.total() - self._completed[place.index]
        count, before = self._rows.get(place.index, (0, others))
        self._rows[place.index] = count + 1, before
        if count + 1 < _IN_A_ROW or others == before or not any(not one.closing for one in self._slots if one is not slot):
            return Verdict()
        del self._rows[place.index]
        self._waiting[run] = DEVICE_ERROR, [place]
        self._closed.setdefault(run, []).append(place)
        told = ", ".join(filter(None, map(self._ask, place.gpus)))
        text = (
            f"{place.device}: {count + 1} trials in a row failed on slot {place.index} with errors of the device, each in a new"
            f" process, while other slots went on. The slot is closed, and trial {run[0]} waits for another one"
        )
        return Verdict(puts_back=True, closes=True, text=f"{text} ({told})" if told else text)

    def _memory_ran_out(self, slot: SlotState, run: _Run) -> Verdict:
        place, beside = slot.place, len(self._slots.beside(slot.place))
        _, failed = self._waiting.pop(run, ("", []))
        if beside:
            self._closed.setdefault(run, []).append(place)
            self._waiting[run] = OUT_OF_MEMORY, failed
            others = f"{beside} other slot{'s' * (beside > 1)}"
            text = f"{place.device}: trial {run[0]} ran out of memory beside {others}. Slot {place.index} is closed,"
            return Verdict(puts_back=True, closes=True, text=f"{text} and the trial waits for another one")
        held = [text for gpu in place.gpus if (text := self._held_by_others(gpu))]
        if held and not _among(place, failed):
            self._waiting[run] = OUT_OF_MEMORY, [*failed, place]
            text = f"{place.device}: trial {run[0]} ran out of memory while others hold {', '.join(held)}. It is tried once more"
            return Verdict(puts_back=True, text=text)
        return self._blame(run, f"{place.device}: trial {run[0]} runs out of memory alone, too, and fails")

    def _blame(self, run: _Run, why: str) -> Verdict:
        """Let a trial fail for good, and open again what was closed for it."""
        closed = tuple(self._closed.pop(run, ()))
        names = ", ".join(f"slot {one.index} on {one.device}" for one in closed)
        return Verdict(final=True, reopens=closed, text=f"{why}. Open again: {names}" if closed else "")

    def _held_by_others(self, gpu: Gpu) -> str:
        """Return how much of a GPU's memory others hold, now that the trial's process is gone; empty if little, or unknown."""
        reading = self._read(gpu)
        if reading is None or reading.used_bytes < _OTHERS * reading.total_bytes:
            return ""
        return f"{reading.used_bytes / 2**30:.1f} of {reading.total_bytes / 2**30:.1f} GiB"

    def _elsewhere(self, failed: list[Slot]) -> bool:
        """Return whether there is an open slot on other GPUs than where a run has failed."""
        return any(not slot.closing and not _among(slot.place, failed) for slot in self._slots)


def _among(place: Slot, others: list[Slot]) -> bool:
    return any(share_gpu(place, other) for other in others)
