"""The GPUs of this machine as NVIDIA's management library (NVML) lists them, without importing torch or initialising CUDA.

A GPU has one name that CUDA, NVML and `nvidia-smi` understand alike, its UUID (`GPU-8932f937-…`, `MIG-…` for a part), and a
number for people. Which GPUs may be used, and in which order CUDA counts them, is known to `sweep.worker.visible`.

This was written without a GPU: it is tested with a library that answers as a file says, not on a device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or a part of one (MIG).

    Attributes:
        uuid: its name in CUDA_VISIBLE_DEVICES.
        index: its number for people: CUDA's number among all GPUs of this machine; `0:1` is the second part of GPU 0.
        name: its model.
        memory_bytes: 0 if it is not known.
        exclusive: whether it lets in one process only (compute mode EXCLUSIVE_PROCESS).
        prohibited: whether it lets in none (compute mode PROHIBITED).
        capability: what it can do by CUDA's count, such as (9, 0); None if it is not known.
    """

    uuid: str
    index: str
    name: str = "GPU"
    memory_bytes: int = 0
    exclusive: bool = False
    prohibited: bool = False
    capability: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is wrong with a GPU, and what to do; both for people."""

    what: str
    do: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.what}; {self.do}"


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A GPU with its parts.

    Attributes:
        gpu: as one.
        parts: by their numbers; None if it is not divided.
        former: the names of the parts that older drivers gave them, in the same order.
    """

    gpu: Gpu
    parts: tuple[Gpu, ...] | None = None
    former: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[Gpu, ...]:
        """Return what a process can compute on."""
        return (self.gpu,) if self.parts is None else self.parts

    def at(self, index: int) -> Whole:
        """Return it under another number."""
        parts = self.parts and tuple(replace(part, index=f"{index}:{place}") for place, part in enumerate(self.parts))
        return replace(self, gpu=replace(self.gpu, index=str(index)), parts=parts)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What the management library lists.

    Attributes:
        wholes: the GPUs in the order of the PCI bus.
        notes: what is wrong with others.
        lost: whether there is one that does not answer, so that CUDA may count differently.
    """

    wholes: list[Whole] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """The memory of a GPU in bytes."""

    used_bytes: int
    total_bytes: int


def read_gpu(gpu: Gpu) -> GpuReading | None:
    """Return how much of a GPU's memory is used, None if NVIDIA's driver does not say."""

    def read(nvml: Any) -> GpuReading:
        handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return GpuReading(used_bytes=int(memory.used), total_bytes=int(memory.total))

    return of_the_driver(read, lambda _: None)


def driver_versions() -> tuple[str, tuple[int, int]] | None:
    """Return the driver's version and the newest CUDA that it runs, None if there is no driver that says."""

    def read(nvml: Any) -> tuple[str, tuple[int, int]]:
        number = int(nvml.nvmlSystemGetCudaDriverVersion())  # 12040 is 12.4
        return str(nvml.nvmlSystemGetDriverVersion()), (number // 1000, number % 1000 // 10)

    return of_the_driver(read, lambda _: None)


def list_gpus() -> Listing:
    """Return the GPUs of this machine that answer, and what is wrong with the others."""
    return of_the_driver(_listing, _no_listing)


def _no_listing(error: Any) -> Listing:
    import pynvml

    if error.value in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
        return Listing()
    updated = error.value == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    do = "the driver was updated: restart the machine" if updated else "nvidia-smi shows more"
    return Listing(notes=[Note(what=f"NVIDIA's driver does not list the GPUs: {str(error).rstrip('.')}", do=do)])


def _listing(nvml: Any) -> Listing:
    wholes: list[Whole] = []
    notes: list[Note] = []
    for number in range(nvml.nvmlDeviceGetCount()):
        try:
            wholes.append(_Asked(nvml, nvml.nvmlDeviceGetHandleByIndex(number)).whole(number).at(len(wholes)))
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_NO_PERMISSION:  # else it is another user's
                what = f"GPU {number} by the PCI bus is not used, since the driver says: {error}"
                notes.append(Note(what=what, do="nvidia-smi shows more, and a restart of the machine often helps"))
    return Listing(wholes=wholes, notes=notes, lost=bool(notes))


def say(nvml: Any, handle: Any, function: str, default: Any, *args: Any) -> Any:
    """Return what the management library says of a device, or the default if it does not.

    Raises:
        NVMLError: the device is lost.
    """
    try:
        return getattr(nvml, function)(handle, *args)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise
        return default


class _Asked:
    """A device of the management library, with questions about it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def _say(self, function: str, default: Any, *args: Any) -> Any:
        return say(self._nvml, self._handle, function, default, *args)

    def whole(self, number: int) -> Whole:
        """Return the GPU; `number` is its name where it has no UUID.

        Raises:
            NVMLError: it is lost.
        """
        nvml = self._nvml
        mode = self._say("nvmlDeviceGetComputeMode", None)
        gpu = replace(
            self._device(str(number)),
            exclusive=mode == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
            prohibited=mode == nvml.NVML_COMPUTEMODE_PROHIBITED,
            capability=self._say("nvmlDeviceGetCudaComputeCapability", None),
        )
        if self._say("nvmlDeviceGetMigMode", [0])[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return Whole(gpu=gpu)
        parts: list[Gpu] = []
        former: list[str] = []
        for place in range(self._say("nvmlDeviceGetMaxMigDeviceCount", 0)):
            if (handle := self._say("nvmlDeviceGetMigDeviceHandleByIndex", None, place)) is None:
                continue  # there may be fewer than the most
            asked = _Asked(nvml, handle)
            if (part := asked._device("")).uuid:
                parts.append(replace(gpu, uuid=part.uuid, name=part.name, memory_bytes=part.memory_bytes))
                instances = (str(asked._say(f"nvmlDeviceGet{kind}InstanceId", "")) for kind in ("Gpu", "Compute"))
                former.append("/".join((f"MIG-{gpu.uuid}", *instances)))
        return Whole(gpu=gpu, parts=tuple(parts), former=tuple(former))

    def _device(self, otherwise: str) -> Gpu:
        memory = self._say("nvmlDeviceGetMemoryInfo", None)
        return Gpu(
            uuid=str(self._say("nvmlDeviceGetUUID", otherwise)),
            index=otherwise,
            name=str(self._say("nvmlDeviceGetName", Gpu.name)),
            memory_bytes=int(memory.total) if memory else 0,
        )


def of_the_driver(ask: Callable[[Any], _Answer], otherwise: Callable[[Any], _Answer]) -> _Answer:
    """Return what NVIDIA's driver answers, or what is made of its error: there is no driver, or it does not say."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return ask(pynvml)
        finally:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return otherwise(error)
