"""How the GPUs and CPU cores of this machine are cut into slots; a slot is a share of a device, used by one worker process."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.errors import SweepError
from sweep.worker.gpus import Gpu
from sweep.worker.torch_build import unused_accelerator
from sweep.worker.visible import gpu_notes, place_of, prohibition, visible_gpus

# torch reads the first two, NumPy's BLAS one of the others.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# With this, `torch.cuda.is_available()` looks for GPUs without initialising CUDA (`cuInit`), which takes time and forbids forks.
GPU_CHECK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
# Twice the memory that a worker has for itself while it trains the built-in study: other models are larger.
_CPU_WORKER_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place where one trial runs at a time.

    Attributes:
        index: 0, 1, ... over all devices.
        device: its name in tables: `cpu`, `gpu 4` or `gpu 4,5`.
        torch_device: its name for `torch.device` in the worker; the first of several GPUs.
        threads: compute threads of the worker, and of each process that computes for the trial on a GPU of its own.
        env: variables that the worker's process starts with.
        gpus: those that it computes on; empty for the CPU.
        seat, seats: which of the slots of its worker it is, and how many there are; several train trials together.
    """

    index: int
    device: str
    torch_device: str
    threads: int
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    seat: int = 0
    seats: int = 1


def cpu_cores() -> int:
    """Return how many cores this process may use: its affinity, limited by the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # without cgroup v2, or with the quota `max`
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def free_memory() -> int | None:
    """Return how many bytes are free: the machine's, limited by the container's; None if neither is known."""
    free = None
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError):  # without cgroup v2, or without a limit
        limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(limit - used, free or limit)
    return free


def plan_slots(
    devices: str | tuple[int, ...],
    per_device: int | None,
    threads: int | None,
    gpus: list[Gpu] | None = None,
    cores: int | None = None,
    memory: int | None = None,
    devices_per_trial: int = 1,
) -> list[Slot]:
    """Cut the devices into slots.

    Args:
        devices: `auto` (every visible GPU, else the CPU), `cpu`, or indices into the visible GPUs.
        per_device: slots on each; None for 1 on a GPU (more may be added), and on a CPU one per core if the memory suffices.
        threads: compute threads of each; None for 1 on a CPU (fastest for small models, and the number of threads
            changes the last bits of a sum), a share of the cores beside a GPU.
        gpus, cores, memory: what the machine has (memory in free bytes); None to find out.
        devices_per_trial: GPUs of each slot, or cores on a CPU.

    Raises:
        SweepError: a GPU is asked for that is not visible, or that cannot be used so.
    """
    gpus = visible_gpus() if gpus is None else gpus
    cores = cpu_cores() if cores is None else cores
    chosen = _chosen(devices, gpus)
    if not chosen:
        memory = memory or free_memory() or cores * _CPU_WORKER_BYTES
        fit = min(cores, memory // _CPU_WORKER_BYTES) // devices_per_trial
        return [_slot(i, (), threads or 1) for i in range(per_device or max(1, fit))]
    _check_use(chosen, per_device, devices_per_trial)
    whole = len(chosen) - len(chosen) % devices_per_trial
    groups = [tuple(chosen[first : first + devices_per_trial]) for first in range(0, whole, devices_per_trial)]
    beside = threads or max(1, cores // ((per_device or 1) * whole))
    # Device by device in turn, so that the first trials spread over all of them.
    return [_slot(i, group, beside) for i, group in enumerate(groups * (per_device or 1))]


def device_notes(devices: str | tuple[int, ...], slots: Sequence[Slot]) -> list[str]:
    """Return what is wrong with GPUs that are visible and not used, or why there are none; one line each."""
    if devices == "cpu":
        return []
    used = {gpu.uuid for slot in slots for gpu in slot.gpus}
    if not used:
        other = unused_accelerator()
        return [*map(str, gpu_notes()), *([f"{other}: trials run on the CPU"] if other else [])]
    left = [gpu.index for gpu in _chosen(devices, visible_gpus()) if gpu.uuid not in used]
    each = len(slots[0].gpus)
    rest = f"GPU {', '.join(left)} is not used: each trial has {each} GPUs, and {len(used) + len(left)} is no multiple of that"
    return [*map(str, gpu_notes()), *([rest] if 0 < len(left) < each else [])]  # there are more where trials run inline


def in_this_process(slot: Slot) -> Slot:
    """Return the slot as a process sees it that has this one's environment: its first GPU is one of all that are visible."""
    place = place_of(slot.gpus[0]) if slot.gpus else 0
    return replace(slot, torch_device=f"{slot.torch_device}:{place}") if place else slot


def _chosen(devices: str | tuple[int, ...], gpus: list[Gpu]) -> list[Gpu]:
    if not isinstance(devices, tuple):
        return [gpu for gpu in gpus if not gpu.prohibited] if devices == "auto" else []
    missing = [index for index in devices if index >= len(gpus)]
    if missing:
        raise SweepError(
            "no-such-gpu",
            f"workers.devices asks for GPU {', '.join(map(str, missing))}, but {_count(gpus)} visible here",
            why="indices count the GPUs that CUDA_VISIBLE_DEVICES lets through, from 0",
            do="sweep doctor          shows the devices\nworkers.devices=auto  takes what there is",
        )
    chosen = [gpus[index] for index in devices]
    if refused := next((prohibition(gpu) for gpu in chosen if gpu.prohibited), None):
        do = f"{refused.do}\nworkers.devices=auto takes the others"
        raise SweepError("gpu-prohibited", "workers.devices asks for a GPU that no process may use", why=refused.what, do=do)
    return chosen


def _check_use(chosen: list[Gpu], per_device: int | None, devices_per_trial: int) -> None:
    if devices_per_trial > len(chosen):
        raise SweepError(
            "too-few-gpus",
            f"workers.devices_per_trial asks for {devices_per_trial} GPUs for each trial, but there {_are(len(chosen))}",
            do=f"sweep doctor                                shows the devices\nworkers.devices_per_trial={len(chosen)}"
            "                 fewer GPUs for each\nworkers.devices=cpu                         trains on the CPU",
        )
    parts = [gpu for gpu in chosen if gpu.uuid.startswith("MIG-")]
    if devices_per_trial > 1 and parts:
        raise SweepError(
            "gpu-divided",
            f"workers.devices_per_trial asks for {devices_per_trial} GPUs for each trial, but they are parts of a GPU (MIG)",
            why="CUDA lets a process use one part only",
            do="workers.devices_per_trial=1",
        )
    alone = [gpu for gpu in chosen if gpu.exclusive]
    if (per_device or 1) > 1 and alone:
        names, ids = ", ".join(gpu.index for gpu in alone), ",".join(gpu.uuid for gpu in alone)
        raise SweepError(
            "gpu-exclusive",
            f"workers.per_device asks for {per_device} trials at a time on GPU {names}, which lets in one process",
            why="its compute mode is EXCLUSIVE_PROCESS",
            do=f"workers.per_device=auto           one trial at a time\nsudo nvidia-smi -i {ids} -c DEFAULT  lets several in",
        )


def another_slot(beside: Slot, index: int, threads: int) -> Slot:
    """Return one more slot on the device of another."""
    added = _slot(index, beside.gpus, max(1, threads))
    return replace(added, env={**beside.env, **added.env})


def _slot(index: int, gpus: tuple[Gpu, ...], threads: int) -> Slot:
    env = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)} | dict.fromkeys(THREAD_VARIABLES, str(threads))
    env |= {} if gpus else GPU_CHECK
    device = f"gpu {','.join(gpu.index for gpu in gpus)}" if gpus else "cpu"
    return Slot(index=index, device=device, torch_device="cuda" if gpus else "cpu", threads=threads, env=env, gpus=gpus)


def _count(gpus: list[Gpu]) -> str:
    return "none is" if not gpus else "only GPU 0 is" if len(gpus) == 1 else f"only GPUs 0 to {len(gpus) - 1} are"


def _are(count: int) -> str:
    return f"are {count}" if count > 1 else "is one"
