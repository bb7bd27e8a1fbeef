# ruff: noqa: N802  # NVIDIA's names
"""Python imports this at its start: on the described machine `ctypes` finds a CUDA driver.

The key `libcuda` of the file has `uuids`, the GPUs in CUDA's order (without an entry: those of the key `gpus`), which may also be
`{"uuid": ..., "name": ..., "memory": ...}`; `init`, the number and name of the error with which it refuses to start; `hangs`, the
seconds that it takes to start. Without the key there is no such library. It does not look at CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

_REAL = ctypes.CDLL


class _Cuda:
    """The functions that sweep calls."""

    def __init__(self, machine: dict[str, Any]) -> None:
        told = machine["libcuda"]
        known = {gpu["uuid"]: gpu for gpu in machine.get("gpus", ())}
        listed = told.get("uuids", list(known))
        self._gpus = [one if isinstance(one, dict) else known[one] for one in listed]
        self._error, self._name = told.get("init", (0, ""))
        self._hangs = told.get("hangs", 0)

    def cuInit(self, _flags: int) -> int:
        time.sleep(self._hangs)
        return int(self._error)

    def cuGetErrorName(self, _error: int, text: Any) -> int:
        text._obj.value = self._name.encode()
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._gpus)
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, text: Any, size: int, device: Any) -> int:
        text.value = self._gpus[device.value].get("name", "GPU").encode()[: size - 1]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        size._obj.value = self._gpus[device.value].get("memory", [0, 0])[1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, _attribute: int, device: Any) -> int:
        value._obj.value = self._gpus[device.value].get("mode", 0)
        return 0

    def cuDeviceGetUuid(self, data: Any, device: Any) -> int:
        data.raw = uuid.UUID(self._gpus[device.value]["uuid"].removeprefix("GPU-")).bytes
        return 0


def _library(name: Any = None, *args: Any, **more: Any) -> Any:
    if name != "libcuda.so.1":
        return _REAL(name, *args, **more)
    machine = json.loads(Path(os.environ["SWEEP_FAKE_DRIVER"]).read_text(encoding="utf-8"))
    if "libcuda" not in machine:
        raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")
    return _Cuda(machine)


if "SWEEP_FAKE_DRIVER" in os.environ:
    ctypes.CDLL = _library  # type: ignore[assignment, misc]
