"""How the GPUs and CPU cores of this machine are cut into slots; a slot is a share of a device, used by one worker process."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.errors import SweepError
from sweep.worker.gpus import Gpu, visible_gpus

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
        device: its name in tables: `cpu` or `gpu 4`.
        torch_device: its name for `torch.device` in the worker.
        threads: compute threads of the worker.
        env: variables that the worker's process starts with.
        gpus: those that it computes on; empty for the CPU.
    """

    index: int
    device: str
    torch_device: str
    threads: int
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()


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
) -> list[Slot]:
    """Cut the devices into slots.

    Args:
        devices: `auto` (every visible GPU, else the CPU), `cpu`, or indices into the visible GPUs.
        per_device: slots on each; None for 1 on a GPU (more may be added), and on a CPU one per core if the memory suffices.
        threads: compute threads of each; None for 1 on a CPU (fastest for small models, and the number of threads
            changes the last bits of a sum), cores / slots beside a GPU.
        gpus, cores, memory: what the machine has (memory in free bytes); None to find out.

    Raises:
        SweepError: a GPU is asked for that is not visible.
    """
    gpus = visible_gpus() if gpus is None else gpus
    cores = cpu_cores() if cores is None else cores
    if isinstance(devices, tuple):
        missing = [index for index in devices if index >= len(gpus)]
        if missing:
            raise SweepError(
                "no-such-gpu",
                f"workers.devices asks for GPU {', '.join(map(str, missing))}, but {_count(gpus)} visible here",
                why="indices count the GPUs that CUDA_VISIBLE_DEVICES lets through, from 0",
                do="sweep doctor          shows the devices\nworkers.devices=auto  takes what there is",
            )
        chosen = [gpus[index] for index in devices]
    else:
        chosen = gpus if devices == "auto" else []
    if not chosen:
        memory = memory or free_memory() or cores * _CPU_WORKER_BYTES
        count = per_device or min(cores, max(1, memory // _CPU_WORKER_BYTES))
        return [_slot(i, "cpu", (), threads or 1) for i in range(count)]
    each = per_device or 1
    beside = threads or max(1, cores // (each * len(chosen)))
    slots: list[Slot] = []
    # Device by device in turn, so that the first trials spread over all of them.
    for _ in range(each):
        slots += [_slot(len(slots) + i, f"gpu {gpu.index}", (gpu,), beside) for i, gpu in enumerate(chosen)]
    return slots


def another_slot(beside: Slot, index: int, threads: int) -> Slot:
    """Return one more slot on the device of another."""
    added = _slot(index, beside.device, beside.gpus, max(1, threads))
    return replace(added, env={**beside.env, **added.env})


def _slot(index: int, device: str, gpus: tuple[Gpu, ...], threads: int) -> Slot:
    env = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)} | dict.fromkeys(THREAD_VARIABLES, str(threads))
    env |= {} if gpus else GPU_CHECK
    return Slot(index=index, device=device, torch_device="cuda" if gpus else "cpu", threads=threads, env=env, gpus=gpus)


def _count(gpus: list[Gpu]) -> str:
    return "none is" if not gpus else "only GPU 0 is" if len(gpus) == 1 else f"only GPUs 0 to {len(gpus) - 1} are"
