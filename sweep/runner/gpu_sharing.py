"""How many trials run on a GPU at a time where the study file leaves that open: measured, while they train.

A GPU begins with one slot. As soon as a trial on it has been measured, its slots are doubled. They stay if all trials together
make at least 15 % more steps a second, and are doubled again; else those that were added are closed when their trials end.

Trials differ (a batch of 32 against one of 512), so that steps of different trials cannot be compared. Each is compared with
itself (`step_rates`): r is its rate with the greater number of trials divided by that with the smaller one, and all together
make (number after / number before) x the mean of r times as many steps a second.

A trial must therefore be long enough to report with both numbers. If none of those that ran at the doubling was, an added slot
whose trial has ended waits until a trial beside it has been measured without it. If that does not help either, because trials
report too seldom, the added slots are closed again after some trials, and that is said.

There are no more slots than there is room for: in the memory of the GPU (what a trial takes, times 1.2 for later ones), in
the machine's memory (what a worker has, without the processes that it starts), on its cores, and 16. A GPU that lets in a
single process only, and trials that take several GPUs, keep one slot. In a container the driver's process ids are useless, so
the memory of trials is what was taken since the session began.

The driver's `utilization` is of no use here: it is the share of time with any kernel on the device, and one that is 90 % busy
may be half idle. NVIDIA's MPS, through which processes compute at the same time and not in turns, is used if it runs, and
never started. Nothing of this has run on a GPU yet: the rule is tested on clocks that are made up, and on trials on a CPU.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.runner.step_rates import StepRates
from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot, another_slot, free_memory, plan_slots
from sweep.worker.gpus import Gpu, GpuReading, read_gpu

_GAIN = 1.15
_FULL = 0.95  # of a memory
_LATER_TRIALS = 1.2  # they may be larger than those that were seen
_MOST = 16
_PATIENCE = 4  # trials for each slot that end without a comparison
_ENOUGH = 3  # comparisons; the others are not waited for
_MPS_PIPES = "CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"  # noqa: S108  # the variable, and where they are without it


@dataclass(frozen=True, kw_only=True)
class Change:
    """Slots to open, and the indices of those to close; why; and the figures, if something was decided."""

    opens: tuple[Slot, ...] = ()
    closes: tuple[int, ...] = ()
    text: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class _Shared:
    """A GPU that is not decided yet: its slots, its memory before the session, and how many slots it had before a doubling."""

    slots: list[Slot]
    used_before: int
    rates: StepRates
    before: int = 0
    ended_before: int = 0

    @property
    def added(self) -> list[Slot]:
        return self.slots[self.before :] if self.before else []


def slots_for(workers: WorkersSpec) -> list[Slot]:
    """Return the slots that a session begins with; a cluster's come later.

    Raises:
        SweepError: a GPU is asked for that is not visible, or that cannot be used so.
    """
    if workers.engine != "local":
        return []
    return plan_slots(workers.devices, workers.per_device, workers.threads, devices_per_trial=workers.devices_per_trial)


def may_grow(workers: WorkersSpec, slots: Sequence[Slot]) -> bool:
    """Return whether slots may be added to those that a session begins with."""
    return workers.per_device is None and any(map(_may_share, slots))


def mps_text(slots: Sequence[Slot], environ: Mapping[str, str] = os.environ) -> str | None:
    """Return a line if NVIDIA's Multi-Process Service runs, which these slots then use."""
    control = Path(environ.get(_MPS_PIPES[0]) or _MPS_PIPES[1], "control")
    if not any(slot.gpus for slot in slots) or not control.exists():
        return None
    return f"NVIDIA's MPS runs ({control.parent}): trials that share a GPU compute at the same time"


def own_memory(pid: int) -> int | None:
    """Return how many bytes a process has for itself, without what it shares; None where that is not known."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


class GpuSharing:
    """Measure the trials on the GPUs of a session, and decide which slots to open and to close.

    Args:
        slots: those that the session begins with; one that cannot share its GPU is left as it is.
        cores: the number of this machine's cores.
        now: the session's clock.
        threads: of each slot; None for an equal share of the cores.
        read: returns what a GPU is doing, None where the driver does not say.
        free: returns how much of the machine's memory is free, None if that is not known.
        own: returns how much of it a process has for itself.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        cores: int,
        now: Callable[[], float],
        *,
        threads: int | None = None,
        read: Callable[[Gpu], GpuReading | None] = read_gpu,
        free: Callable[[], int | None] = free_memory,
        own: Callable[[int], int | None] = own_memory,
    ) -> None:
        self._cores, self._threads, self._read, self._free, self._own = cores, threads, read, free, own
        self._next_index = max((slot.index for slot in slots), default=-1) + 1
        self._gpus = len({slot.gpus for slot in slots})
        self._open: list[_Shared] = []
        for slot in filter(_may_share, slots):
            if (reading := read(slot.gpus[0])) is not None:
                self._open.append(_Shared(slots=[slot], used_before=reading.used_bytes, rates=StepRates(now)))

    @property
    def measures(self) -> bool:
        """Return whether the number of slots of a GPU is still open."""
        return bool(self._open)

    def began(self, place: Slot) -> None:
        """Note that a trial begins in a slot."""
        if (gpu := self._of(place)) is not None:
            gpu.rates.begin(place.index)

    def reported(self, place: Slot, step: int) -> None:
        """Note that the trial in a slot has done this many steps."""
        if (gpu := self._of(place)) is not None:
            gpu.rates.report(place.index, step)

    def ended(self, place: Slot) -> None:
        """Note that the trial in a slot has ended."""
        if (gpu := self._of(place)) is not None:
            gpu.rates.end(place.index)

    def closed(self, place: Slot) -> None:
        """Note that a slot was closed for another reason: its GPU keeps what it has."""
        if (gpu := self._of(place)) is not None:
            self._open.remove(gpu)

    def may_start(self, place: Slot) -> bool:
        """Return whether a trial may start in a slot; an added one may have to wait for a comparison."""
        gpu = self._of(place)
        if gpu is None or place not in gpu.added or gpu.rates.ratios(gpu.before, len(gpu.slots)):
            return True
        return not gpu.rates.lacks(gpu.before, len(gpu.slots))

    def look(self, pids: Mapping[int, int | None], left: int | None) -> Iterator[Change]:
        """Decide what can be decided now.

        Args:
            pids: the worker's process of each slot, by index.
            left: how many trials are still to start; None where that is open.
        """
        for gpu in list(self._open):
            change = self._compare(gpu) if gpu.before else self._grow(gpu, pids, left)
            if change is not None:
                yield change

    def undecided(self) -> Iterator[str]:
        """Yield a line for each GPU on which enough trials have ended, but none could be measured."""
        for gpu in self._open:
            if gpu.rates.trials >= _PATIENCE:
                with_both = f" both with {gpu.before} and with {len(gpu.slots)} at a time" if gpu.before else ""
                why = f"no trial reported often enough to measure its steps a second{with_both}"
                yield f"{gpu.slots[0].device}: {why}; {_at_a_time(len(gpu.slots))}"

    def _of(self, place: Slot) -> _Shared | None:
        return next((gpu for gpu in self._open if any(slot.index == place.index for slot in gpu.slots)), None)

    def _grow(self, gpu: _Shared, pids: Mapping[int, int | None], left: int | None) -> Change | None:
        """Double a GPU's slots if a trial has been measured beside the others, and there is room."""
        count, first = len(gpu.slots), gpu.slots[0]
        ready = left != 0 and gpu.rates.known(count) and gpu.rates.computing == count
        reading = self._read(first.gpus[0]) if ready else None
        if reading is None:
            return None
        limits, taken = self._limits(gpu, reading, pids)
        wanted = min(2 * count, *limits.values())
        if wanted <= count:
            self._open.remove(gpu)
            tightest = min(limits, key=lambda name: limits[name])
            text = f"{first.device}: {_at_a_time(count)}; {tightest} leaves no room for more ({taken})"
            return Change(text=text, figures={"device": first.device, "slots": count})
        if left is not None and left < wanted - count:
            return None
        threads = self._threads or self._cores // (wanted * self._gpus)
        new = [another_slot(first, self._next_index + place, threads) for place in range(wanted - count)]
        self._next_index += len(new)
        gpu.before, gpu.ended_before = count, gpu.rates.trials
        gpu.slots += new
        return Change(opens=tuple(new), text=f"{first.device}: trying {wanted} trials at a time ({taken})")

    def _limits(self, gpu: _Shared, reading: GpuReading, pids: Mapping[int, int | None]) -> tuple[dict[str, int], str]:
        """Return how many trials each resource has room for, and what one takes."""
        count = len(gpu.slots)
        each = max(1.0, (reading.used_bytes - gpu.used_before) / count)
        limits = {
            "its memory": int((_FULL * reading.total_bytes - gpu.used_before) / (_LATER_TRIALS * each)),
            "the number of cores": self._cores // self._gpus,
            f"the limit of {_MOST} trials": _MOST,
        }
        taken, free = f"each takes {each / 2**30:.1f} GiB", self._free()
        own = max((self._own(pid) or 0 for slot in gpu.slots if (pid := pids.get(slot.index)) is not None), default=0)
        if free is not None and own:
            limits["the machine's memory"] = count + int(free / (_LATER_TRIALS * own * self._gpus))
            taken += f", and {own / 2**30:.1f} GiB of the machine's memory"
        return limits, taken

    def _compare(self, gpu: _Shared) -> Change | None:
        """Keep or close the slots that were added to a GPU, once trials have been compared with themselves."""
        before, after, device = gpu.before, len(gpu.slots), gpu.slots[0].device
        ratios = gpu.rates.ratios(before, after)
        if not ratios:
            tried = gpu.rates.trials - gpu.ended_before
            if tried < _PATIENCE * after:
                return None
            why = f"no trial reported often enough to compare its steps a second with {before} and with {after} at a time"
            return self._undo(gpu, f"{device}: {why}: {_at_a_time(before)}", {"device": device, "slots": before})
        if len(ratios) < _ENOUGH and gpu.rates.lacks(after, before):
            return None
        gain = after / before * statistics.mean(ratios)
        figures = {"device": device, "before": before, "after": after, "gain": round(gain, 3), "compared": len(ratios)}
        compared = f"{len(ratios)} trial{'s' * (len(ratios) > 1)} compared"
        text = f"{device}: {after} trials at a time make {gain:.2f} times the steps a second of {before} ({compared})"
        if gain < _GAIN:
            return self._undo(gpu, f"{text}: {_at_a_time(before)}", figures | {"slots": before})
        gpu.before = 0
        return Change(text=f"{text}: {_at_a_time(after)}", figures=figures | {"slots": after})

    def _undo(self, gpu: _Shared, text: str, figures: Mapping[str, Any]) -> Change:
        self._open.remove(gpu)
        return Change(closes=tuple(slot.index for slot in gpu.added), text=text, figures=figures)


def _may_share(slot: Slot) -> bool:
    return len(slot.gpus) == 1 and not slot.gpus[0].exclusive


def _at_a_time(count: int) -> str:
    return f"{count} run{'s' * (count == 1)} at a time"
