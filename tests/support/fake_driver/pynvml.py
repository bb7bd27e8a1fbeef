# ruff: noqa: N802  # NVIDIA's names
"""What sweep uses of nvidia-ml-py, on the machine that a JSON file describes.

Keys of the file: `driver` and `cuda` (versions), `init` (the error with which the library refuses to start), and `gpus` in the
order of the PCI bus. Keys of a GPU: `uuid`, `name`, `memory` (used and total bytes), `mode` (compute mode), `capability`,
`pci` (its address), `ecc` (uncorrected errors), `pending` (of retired pages), `rows` (remapped rows), `mig` (a list of parts with
`uuid`, `instance` and `memory`; without the key the GPU cannot be divided), and `fails`: the error of each function, or of all
with `*`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

NVML_COMPUTEMODE_DEFAULT = 0
NVML_COMPUTEMODE_PROHIBITED = 2
NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
NVML_DEVICE_MIG_ENABLE = 1
NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
NVML_VOLATILE_ECC = 0
NVML_FEATURE_ENABLED = 1
NVML_ERROR_UNINITIALIZED = 1
NVML_ERROR_INVALID_ARGUMENT = 2
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_RESET_REQUIRED = 16
NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
NVML_ERROR_UNKNOWN = 999

_TEXTS = {
    NVML_ERROR_UNINITIALIZED: "Uninitialized",
    NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument",
    NVML_ERROR_NOT_SUPPORTED: "Not Supported",
    NVML_ERROR_NO_PERMISSION: "Insufficient Permissions",
    NVML_ERROR_NOT_FOUND: "Not Found",
    NVML_ERROR_DRIVER_NOT_LOADED: "Driver Not Loaded",
    NVML_ERROR_LIBRARY_NOT_FOUND: "NVML Shared Library Not Found",
    NVML_ERROR_GPU_IS_LOST: "GPU is lost",
    NVML_ERROR_RESET_REQUIRED: "GPU requires restart",
    NVML_ERROR_LIB_RM_VERSION_MISMATCH: "RM has detected an NVML/RM version mismatch.",
    NVML_ERROR_UNKNOWN: "Unknown Error",
}
_state: dict[str, Any] = {"users": 0}
_Answer = TypeVar("_Answer")


class NVMLError(Exception):
    """An error of the library; `value` is its number."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        """Return the library's words for it."""
        return _TEXTS.get(self.value, f"NVML Error with code {self.value}")


def nvmlInit() -> None:
    path = os.environ.get("SWEEP_FAKE_DRIVER")
    machine = json.loads(Path(path).read_text(encoding="utf-8")) if path else {"init": NVML_ERROR_LIBRARY_NOT_FOUND}
    if machine.get("init"):
        raise NVMLError(machine["init"])
    _state.update(machine=machine, users=_state["users"] + 1)


def nvmlShutdown() -> None:
    _machine()
    _state["users"] -= 1


def _machine() -> dict[str, Any]:
    if not _state["users"]:
        raise NVMLError(NVML_ERROR_UNINITIALIZED)
    return dict(_state["machine"])


def _asked(function: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Let a function that asks a GPU fail as the machine says; what it does not tell is not supported."""

    @functools.wraps(function)
    def ask(gpu: dict[str, Any], *args: Any) -> _Answer:
        _machine()
        fails = gpu.get("fails", {})
        if error := fails.get(function.__name__, fails.get("*")):
            raise NVMLError(error)
        try:
            return function(gpu, *args)
        except KeyError:
            raise NVMLError(NVML_ERROR_NOT_SUPPORTED) from None

    return ask


def nvmlSystemGetDriverVersion() -> str:
    return str(_machine()["driver"])


def nvmlSystemGetCudaDriverVersion() -> int:
    return int(_machine()["cuda"])


def nvmlDeviceGetCount() -> int:
    return len(_machine()["gpus"])


def nvmlDeviceGetHandleByIndex(index: int) -> dict[str, Any]:
    gpu = _machine()["gpus"][index]
    if error := gpu.get("fails", {}).get("nvmlDeviceGetHandleByIndex"):
        raise NVMLError(error)
    return dict(gpu)


def nvmlDeviceGetHandleByUUID(uuid: str) -> dict[str, Any]:
    for gpu in _machine()["gpus"]:
        for device in (gpu, *gpu.get("mig", ())):
            if device["uuid"] == uuid:
                return {"fails": gpu.get("fails", {}), **device}
    raise NVMLError(NVML_ERROR_NOT_FOUND)


@_asked
def nvmlDeviceGetUUID(gpu: dict[str, Any]) -> str:
    return str(gpu["uuid"])


@_asked
def nvmlDeviceGetName(gpu: dict[str, Any]) -> str:
    return str(gpu["name"])


@_asked
def nvmlDeviceGetMemoryInfo(gpu: dict[str, Any]) -> SimpleNamespace:
    used, total = gpu["memory"]
    return SimpleNamespace(used=used, total=total, free=total - used)


@_asked
def nvmlDeviceGetPciInfo(gpu: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(busId=gpu["pci"])


@_asked
def nvmlDeviceGetComputeMode(gpu: dict[str, Any]) -> int:
    return int(gpu.get("mode", NVML_COMPUTEMODE_DEFAULT))


@_asked
def nvmlDeviceGetCudaComputeCapability(gpu: dict[str, Any]) -> tuple[int, int]:
    major, minor = gpu["capability"]
    return major, minor


@_asked
def nvmlDeviceGetTotalEccErrors(gpu: dict[str, Any], kind: int, counter: int) -> int:
    return int(gpu["ecc"]) if (kind, counter) == (NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC) else 0


@_asked
def nvmlDeviceGetRetiredPagesPendingStatus(gpu: dict[str, Any]) -> int:
    return int(gpu["pending"])


@_asked
def nvmlDeviceGetRemappedRows(gpu: dict[str, Any]) -> tuple[int, int, int, int]:
    corrected, uncorrected, pending, failed = gpu["rows"]
    return corrected, uncorrected, pending, failed


@_asked
def nvmlDeviceGetMigMode(gpu: dict[str, Any]) -> list[int]:
    return [int(gpu["mig"] is not None)] * 2


@_asked
def nvmlDeviceGetMaxMigDeviceCount(gpu: dict[str, Any]) -> int:
    return 7 if gpu["mig"] is not None else 0


@_asked
def nvmlDeviceGetMigDeviceHandleByIndex(gpu: dict[str, Any], index: int) -> dict[str, Any]:
    if index >= len(gpu["mig"]):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return {"name": f"{gpu['name']} MIG 1g.10gb", **gpu["mig"][index]}


@_asked
def nvmlDeviceGetGpuInstanceId(gpu: dict[str, Any]) -> int:
    return int(gpu["instance"][0])


@_asked
def nvmlDeviceGetComputeInstanceId(gpu: dict[str, Any]) -> int:
    return int(gpu["instance"][1])
