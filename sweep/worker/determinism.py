"""What makes a trial's digits the same each time: settings of torch and cuBLAS, and knowing where a checkpoint was made.

On a GPU some kernels of cuDNN and cuBLAS add in an order that differs from run to run, and cuDNN's benchmark picks kernels by
their times. The study's key `determinism` says what is done about that:

- `default`: on a GPU, only kernels of cuDNN and cuBLAS that repeat their digits, and no benchmark. On a CPU nothing.
- `strict`: besides, `torch.use_deterministic_algorithms(True)`, also on a CPU: an operation without a deterministic
  implementation raises.
- `off`: torch's own defaults.

Which digits a GPU repeats has not been tried on one yet; that these settings are made is tested on a CPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from sweep.errors import one_line
from sweep.worker import torch_use
from sweep.worker.devices import Slot

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def environment(level: str, slot: Slot) -> contextlib.ExitStack:
    """Set what a study's `determinism` asks of a process's environment; closing the result undoes it."""
    undone = contextlib.ExitStack()  # it may be the user's own process
    if slot.gpus and level != "off" and _CUBLAS not in os.environ:
        os.environ[_CUBLAS] = ":4096:8"  # scripts inherit it
        undone.callback(os.environ.pop, _CUBLAS, None)
    return undone


def settings(level: str, slot: Slot) -> contextlib.ExitStack:
    """Set what it asks of torch, before it uses CUDA; closing the result undoes it."""
    import torch

    undone = contextlib.ExitStack()  # see above
    if slot.gpus and level != "off":
        undone.callback(_set_cudnn, torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
        _set_cudnn(True, False)
    if level == "strict":
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        undone.callback(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled(), warn_only=warn_only)
        torch.use_deterministic_algorithms(True)
    return undone


def _set_cudnn(deterministic: bool, benchmark: bool) -> None:
    import torch

    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark


def origin(slot: Slot) -> dict[str, str]:
    """Return what the digits of a trial in this process depend on: the device, and the versions of torch, if loaded, and CUDA."""
    found = {"device": ", ".join(gpu.name for gpu in slot.gpus) or "cpu"}
    torch = torch_use.loaded()
    if torch is None:
        return found
    found["torch"] = str(torch.__version__)
    return found | ({"CUDA": str(torch.version.cuda)} if slot.gpus else {})


def moved(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words how the origin of a checkpoint differs from this process's; empty where it does not, or is not known."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    return one_line("; ".join(f"{name}: was {before[name]:.100}, is now {now[name]}" for name in changed))
