"""A program that asks CUDA itself which GPUs there are, in CUDA's order; `sweep.worker.visible` runs it.

It loads the driver's library alone, neither torch nor this package. It makes no context, so it takes no GPU's memory, and compute
modes do not matter. It has not run on a GPU yet.
"""

from __future__ import annotations

import ctypes
import json
import uuid
from typing import Any

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_COMPUTE_MODE = 20  # CU_DEVICE_ATTRIBUTE_COMPUTE_MODE


def listed() -> dict[str, Any]:
    """Return `gpus`, or the `error` with which CUDA does not start; without its library there are none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"gpus": []}
    if code := cuda.cuInit(0):
        name = ctypes.c_char_p()
        cuda.cuGetErrorName(code, ctypes.byref(name))
        return {"gpus": []} if code == _NO_DEVICE else {"error": f"{(name.value or b'error').decode()} ({code})"}
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return {"gpus": [_gpu(cuda, ordinal) for ordinal in range(count.value)]}


def _gpu(cuda: Any, ordinal: int) -> dict[str, Any]:
    device, mode, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name, data = ctypes.create_string_buffer(256), ctypes.create_string_buffer(16)
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    cuda.cuDeviceGetName(name, 256, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    cuda.cuDeviceGetAttribute(ctypes.byref(mode), _COMPUTE_MODE, device)
    # Where a GPU has no UUID, CUDA_VISIBLE_DEVICES takes its number.
    known = cuda.cuDeviceGetUuid(data, device) == 0 and any(data.raw)
    token = f"GPU-{uuid.UUID(bytes=data.raw)}" if known else str(ordinal)
    return {"uuid": token, "name": name.value.decode(errors="replace"), "memory": memory.value, "mode": mode.value}


if __name__ == "__main__":
    print(json.dumps(listed()))
