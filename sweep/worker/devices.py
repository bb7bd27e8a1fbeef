"""The GPUs and CPU cores of this machine, and how they are cut into slots, without importing torch.

GPUs are those of the inherited CUDA_VISIBLE_DEVICES (with `4,5` the first is GPU 4), else all that NVIDIA's driver lists
through NVML. A slot is a share of a device, used by one worker process.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sweep.errors import SweepError

_Answer = TypeVar("_Answer")
# torch reads the first two, NumPy's BLAS one of the others.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Twice the memory that a worker has for itself while it trains the built-in study: other models are larger.
_CPU_WORKER_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A visible GPU: `cuda_id` is its name in CUDA_VISIBLE_DEVICES, `name` its model."""

    cuda_id: str
    name: str = "GPU"
    memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """The load of a GPU: the share of the last moments in which it computed (0 to 1), and its memory in bytes."""

    busy: float
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place where one trial runs at a time.

    Attributes:
        index: 0, 1, ... over all devices.
        device: its name in tables: `cpu` or `gpu 4`.
        torch_device: its name for `torch.device` in the worker.
        threads: compute threads of the worker.
        env: variables that the worker's process starts with.
    """

    index: int
    device: str
    torch_device: str
    threads: int
    env: Mapping[str, str] = field(default_factory=dict)


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that a process with this environment would see, in CUDA's order."""
    present = _driver_gpus()
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not present:
        return present
    gpus = []
    for token in (part.strip() for part in chosen.split(",")):
        if token.isdigit():
            if int(token) >= len(present):
                break  # as CUDA does: an invalid one hides all that follow
            gpus.append(present[int(token)])
        elif token.startswith(("GPU-", "MIG-")):
            gpus.append(Gpu(cuda_id=token))
        else:
            break
    return gpus


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
        return [_slot(i, "cpu", "cpu", threads or 1, "") for i in range(count)]
    each = per_device or 1
    beside = threads or max(1, cores // (each * len(chosen)))
    slots: list[Slot] = []
    # Device by device in turn, so that the first trials spread over all of them.
    for _ in range(each):
        slots += [_slot(len(slots) + i, f"gpu {gpu.cuda_id}", "cuda", beside, gpu.cuda_id) for i, gpu in enumerate(chosen)]
    return slots


def another_slot(beside: Slot, index: int, threads: int) -> Slot:
    """Return one more slot on the device of another."""
    added = _slot(index, beside.device, beside.torch_device, max(1, threads), beside.env["CUDA_VISIBLE_DEVICES"])
    return replace(added, env={**beside.env, **added.env})


def read_gpu(slot: Slot) -> GpuReading | None:
    """Return the load of a slot's GPU, None if NVIDIA's driver does not say."""
    token = slot.env["CUDA_VISIBLE_DEVICES"]

    def read(nvml: Any) -> GpuReading:
        handle = nvml.nvmlDeviceGetHandleByIndex(int(token)) if token.isdigit() else nvml.nvmlDeviceGetHandleByUUID(token)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        return GpuReading(busy=busy, used_bytes=int(memory.used), total_bytes=int(memory.total))

    return _of_the_driver(read)  # some devices do not say, such as parts of a GPU (MIG)


def _slot(index: int, device: str, torch_device: str, threads: int, token: str) -> Slot:
    env = {"CUDA_VISIBLE_DEVICES": token} | dict.fromkeys(THREAD_VARIABLES, str(threads))
    return Slot(index=index, device=device, torch_device=torch_device, threads=threads, env=env)


def _count(gpus: list[Gpu]) -> str:
    return "none is" if not gpus else "only GPU 0 is" if len(gpus) == 1 else f"only GPUs 0 to {len(gpus) - 1} are"


def _driver_gpus() -> list[Gpu]:
    def found(nvml: Any) -> list[Gpu]:
        gpus = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle, memory = nvml.nvmlDeviceGetHandleByIndex(index), 0
            with contextlib.suppress(nvml.NVMLError):  # some devices do not say; they can be used all the same
                memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            gpus.append(Gpu(cuda_id=str(index), name=str(nvml.nvmlDeviceGetName(handle)), memory_bytes=memory))
        return gpus

    return _of_the_driver(found) or []


def _of_the_driver(ask: Callable[[Any], _Answer]) -> _Answer | None:
    """Return what NVIDIA's driver answers; None if there is no driver, so no GPU to use, or if it does not say."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return ask(pynvml)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
