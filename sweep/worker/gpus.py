"""The GPUs of this machine, as NVIDIA's driver lists them, without importing torch or initialising CUDA.

Visible are those of the inherited CUDA_VISIBLE_DEVICES (with `4,5` the first is GPU 4), else all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A visible GPU, or a part of one (MIG).

    Attributes:
        uuid: its name in CUDA_VISIBLE_DEVICES.
        index: its number for people: CUDA's number among all GPUs of this machine.
        name: its model.
        memory_bytes: 0 if it is not known.
        exclusive: whether it lets in one process only (compute mode EXCLUSIVE_PROCESS).
    """

    uuid: str
    index: str
    name: str = "GPU"
    memory_bytes: int = 0
    exclusive: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """The load of a GPU: the share of the last moments in which it computed (0 to 1), and its memory in bytes."""

    busy: float
    used_bytes: int
    total_bytes: int


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
            gpus.append(Gpu(uuid=token, index=token))
        else:
            break
    return gpus


def read_gpu(gpu: Gpu) -> GpuReading | None:
    """Return the load of a GPU, None if NVIDIA's driver does not say."""
    token = gpu.uuid

    def read(nvml: Any) -> GpuReading:
        handle = nvml.nvmlDeviceGetHandleByIndex(int(token)) if token.isdigit() else nvml.nvmlDeviceGetHandleByUUID(token)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        return GpuReading(busy=busy, used_bytes=int(memory.used), total_bytes=int(memory.total))

    return _of_the_driver(read)  # some devices do not say, such as parts of a GPU (MIG)


def _driver_gpus() -> list[Gpu]:
    def found(nvml: Any) -> list[Gpu]:
        gpus = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle, memory = nvml.nvmlDeviceGetHandleByIndex(index), 0
            with contextlib.suppress(nvml.NVMLError):  # some devices do not say; they can be used all the same
                memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            gpus.append(Gpu(uuid=str(index), index=str(index), name=str(nvml.nvmlDeviceGetName(handle)), memory_bytes=memory))
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
