"""How many trials run on a GPU at a time where the study file leaves that open: measured while the first one trains.

A GPU that is busy a third of the time has room for two more such trials, if its memory and the machine's cores have room, too.
More trials gain nothing, because processes take turns on a GPU. (Fusing trials gains more: HFTA, MLSys 2021.) Time and memory
are read from NVIDIA's driver. Memory counts from the start of the session: in a container the driver's process ids are useless.

This was written without a GPU: the rule is tested on readings, not on a device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot, another_slot, plan_slots
from sweep.worker.gpus import Gpu, GpuReading, read_gpu

_READINGS = 15
_FULL = 0.95  # of its time and of its memory
_LATER_TRIALS = 1.2  # they may be larger than the first
_MOST = 16


@dataclass(kw_only=True)
class _Watched:
    slot: Slot
    used_before: int
    busy: list[float] = field(default_factory=list)
    used: int = 0


def slots_for(workers: WorkersSpec) -> list[Slot]:
    """Return the slots that a session begins with.

    Raises:
        SweepError: a GPU is asked for that is not visible, or that cannot be used so.
    """
    return plan_slots(workers.devices, workers.per_device, workers.threads, devices_per_trial=workers.devices_per_trial or 1)


def may_grow(workers: WorkersSpec, slots: Sequence[Slot]) -> bool:
    """Return whether slots may be added to those that a session begins with."""
    return workers.per_device is None and len(slots[0].gpus) == 1


class GpuSharing:
    """Watch the GPUs of a session, and decide which slots to add.

    Args:
        slots: those that the session begins with, one on each GPU.
        cores: the number of this machine's cores.
        read: returns what a GPU is doing, None where the driver does not report it.
        threads: of each slot; None for an equal share of the cores.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        cores: int,
        read: Callable[[Gpu], GpuReading | None] = read_gpu,
        *,
        threads: int | None = None,
    ) -> None:
        self._cores, self._read, self._threads = cores, read, threads
        before = [(slot, read(slot.gpus[0])) for slot in slots]
        self._open = [_Watched(slot=slot, used_before=reading.used_bytes) for slot, reading in before if reading is not None]
        self._gpus = self._next_index = len(before)

    def look(self, training: Collection[int]) -> tuple[list[Slot], str]:
        """Read each GPU that is not decided yet; when one can be decided, return the slots to add, and the reason.

        A trial must have reported on its slot: `training` are the indices of these slots.
        """
        for gpu in [gpu for gpu in self._open if gpu.slot.index in training]:
            reading = self._read(gpu.slot.gpus[0])
            if reading is None:
                self._open.remove(gpu)
                continue
            gpu.busy.append(reading.busy)
            gpu.used = max(gpu.used, reading.used_bytes - gpu.used_before)
            if len(gpu.busy) >= _READINGS:
                self._open.remove(gpu)
                return self._decide(gpu, reading.total_bytes)
        return [], ""

    def _decide(self, gpu: _Watched, total: int) -> tuple[list[Slot], str]:
        busy = statistics.mean(gpu.busy)
        limits = {
            "its time": int(_FULL / max(busy, _FULL / _MOST)),
            "its memory": int((_FULL * total - gpu.used_before) / max(1.0, _LATER_TRIALS * gpu.used)),
            "the number of cores": self._cores // self._gpus,
        }
        count = max(1, min(limits.values()))
        threads = self._threads or self._cores // (count * self._gpus)
        added = [another_slot(gpu.slot, self._next_index + i, threads) for i in range(count - 1)]
        self._next_index += len(added)
        took = f"{gpu.slot.device}: a trial keeps it busy {busy:.0%} of the time and takes {gpu.used / 2**30:.1f} GiB"
        if not added:
            tightest = min(limits, key=lambda name: limits[name])
            return [], f"{took}; {tightest} leaves no room for another beside it"
        return added, f"{took}; {len(added)} more run{'s' * (len(added) == 1)} beside it"
