"""CUDA as torch sees it around its initialisation, on a machine without one: the generators of its GPUs compute on the CPU.

What waits for the initialisation, and in which order it then runs, is up to torch's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.cuda
from torch._utils import _LazySeedTracker


def simulate(gpus: int = 1, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make this process one that has GPUs and has not used them yet; `torch.cuda.init()` is what their first use is.

    Args:
        gpus: how many.
        replace: sets an attribute; `monkeypatch.setattr` undoes it in the end.
    """

    def begin() -> None:
        torch.cuda.default_generators = tuple(torch.Generator() for _ in range(gpus))  # type: ignore[assignment]  # typed as one

    replace(torch._C, "_cuda_init", begin)
    for name, value in {
        "default_generators": (),
        "_initialized": False,
        "_queued_calls": [],
        "_lazy_seed_tracker": _LazySeedTracker(),  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        "_is_in_bad_fork": lambda: False,
        "is_available": lambda: gpus > 0,
        "device_count": lambda: gpus,
        "reset_peak_memory_stats": lambda: None,
    }.items():
        replace(torch.cuda, name, value)
    for name in ("device_count", "current_device"):
        replace(torch.cuda.random, name, (lambda: gpus) if name == "device_count" else lambda: 0)


def drawn_on_gpu(gpu: int = 0) -> float:
    """Draw a number from the generator of a GPU; the first call initialises CUDA."""
    torch.cuda.init()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return torch.rand((), generator=torch.cuda.default_generators[gpu]).item()
