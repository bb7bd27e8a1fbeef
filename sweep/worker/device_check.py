"""A program that computes on one device, for `sweep doctor`: a convolution and its gradient, compared with the CPU's in float64.

    python device_check.py cpu|cuda

It prints what it found as JSON; which GPU `cuda` is says CUDA_VISIBLE_DEVICES. On a GPU it has not run yet.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

_TIMES = 5
_TOLERANCE = 1e-2  # TF32 has 10 bits


def check(device: str) -> dict[str, Any]:
    """Return the versions of torch and torchvision, what torch is built for, and how the computation went."""
    import torch

    flags = getattr(torch._C, "_cuda_getArchFlags", str)() or ""  # `get_arch_list` is empty where CUDA does not start
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}
    found["architectures"] = flags.split()
    try:
        found |= _torchvision(torch) if device == "cpu" else {}
        found |= _computed(torch, device)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        found["error"] = f"{type(error).__name__}: {lines[0]}"
    return found


def _torchvision(torch: Any) -> dict[str, Any]:
    try:
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        fits = torchvision.ops.nms(boxes, torch.ones(1), 0.5).tolist() == [0]
    except Exception as error:
        return {"torchvision_error": f"{type(error).__name__}: {error}"}
    return {"torchvision": torchvision.__version__, "fit": fits}


def _computed(torch: Any, device: str) -> dict[str, Any]:
    layer, images = torch.nn.Conv2d(8, 16, 3), torch.randn(16, 8, 32, 32)
    expected = _gradient(layer.double(), images.double())
    layer, images = layer.float().to(device), images.to(device)
    times = []
    for _ in range(1 + _TIMES):
        began = time.perf_counter()
        gradient = _gradient(layer, images).cpu()  # waits for the device
        times.append(time.perf_counter() - began)
    close = torch.allclose(gradient.double(), expected, rtol=_TOLERANCE, atol=_TOLERANCE * float(expected.abs().max()))
    return {"first_s": times[0], "seconds": min(times[1:]), "right": bool(close)}


def _gradient(layer: Any, images: Any) -> Any:
    layer.zero_grad()
    layer(images).square().mean().backward()
    return layer.weight.grad.clone()


if __name__ == "__main__":
    print(json.dumps(check(sys.argv[1])))
