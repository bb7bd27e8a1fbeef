"""How many trials run on a GPU at a time where the study file leaves that open: found while the first one trains.

A GPU that is busy a third of the time has room for two more such trials, as long as its memory and the machine's cores have,
too. More than that gains nothing: processes take turns on a GPU. (Fusing trials gains more: HFTA, MLSys 2021.) Time and memory
are read from NVIDIA's driver, the memory as what has been added since the run began: in a container the driver counts by
process ids that mean nothing there.

This was written without a GPU at hand: the rule is tested on readings, not on a device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sweep.study.spec import WorkersSpec
from sweep.worker.devices import GpuReading, Slot, another_slot, read_gpu

_LOOKS = 15
_FULL = 0.95  # of its time and of its memory
_LATER_TRIALS = 1.2  # others may be larger than the first
_MOST = 16


@dataclass(kw_only=True)
class _Gpu:
    slot: Slot
    used_before: int
    busy: list[float] = field(default_factory=list)
    used: int = 0


def may_grow(workers: WorkersSpec, slots: Sequence[Slot]) -> bool:
    """Tell whether slots may be added to those that a run begins with."""
    return workers.per_device is None and slots[0].torch_device == "cuda"


class GpuSharing:
    """Watch the GPUs of a run, and say which slots are to be added.

    Args:
        slots: those that the run begins with, one on each GPU.
        cores: how many this machine has.
        threads: of each slot, if the study file says; else the slots of a GPU share its cores.
        read: returns what a GPU is doing, None where the driver does not tell.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        cores: int,
        read: Callable[[Slot], GpuReading | None] = read_gpu,
        *,
        threads: int | None = None,
    ) -> None:
        self._cores, self._read, self._threads = cores, read, threads
        before = [(slot, read(slot)) for slot in slots]
        self._open = [_Gpu(slot=slot, used_before=reading.used_bytes) for slot, reading in before if reading is not None]
        self._gpus = self._next_index = len(before)

    def look(self, training: Collection[int]) -> tuple[list[Slot], str]:
        """Take a look at each GPU that is still open; return slots to be added, and why, once one is decided.

        Args:
            training: the indices of the slots whose trials are well under way.
        """
        for gpu in [gpu for gpu in self._open if gpu.slot.index in training]:
            reading = self._read(gpu.slot)
            if reading is None:
                self._open.remove(gpu)
                continue
            gpu.busy.append(reading.busy)
            gpu.used = max(gpu.used, reading.used_bytes - gpu.used_before)
            if len(gpu.busy) >= _LOOKS:
                self._open.remove(gpu)
                return self._decide(gpu, reading.total_bytes)
        return [], ""

    def _decide(self, gpu: _Gpu, total: int) -> tuple[list[Slot], str]:
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
