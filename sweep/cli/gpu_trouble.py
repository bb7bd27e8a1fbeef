"""Why a GPU does not compute, and what to type: from what torch said, what it is built for, and what the driver is."""

from __future__ import annotations

import re
from typing import Any

from sweep.worker.gpus import Gpu

Driver = tuple[str, tuple[int, int]] | None
# The oldest driver on Linux for each CUDA, by NVIDIA's release notes; any minor version of a CUDA runs on it.
_OLDEST_DRIVERS = {11: "450.80", 12: "525.60", 13: "580.65"}
_INSTALL = "https://pytorch.org/get-started/locally"
_SMI = "nvidia-smi shows the GPU's state, sudo dmesg | grep -i xid what the driver reported"


def trouble(gpu: Gpu, found: dict[str, Any], driver: Driver) -> tuple[str, str]:
    """Return why the check of a GPU failed, and what to do.

    Args:
        gpu: which.
        found: what `sweep.worker.device_check` printed, or its `error` alone.
        driver: its version and the newest CUDA that it runs; None if it is not known.
    """
    said = str(found.get("error", "it computed wrong numbers"))
    cuda, architectures = found.get("cuda"), found.get("architectures") or []
    if found.get("hip"):
        return "torch is built for AMD's GPUs (ROCm)", f"install a torch that is built for CUDA: {_INSTALL}"
    if "torch" in found and not cuda:
        return "torch is built for the CPU alone", f"install a torch that is built for CUDA: {_INSTALL}"
    if cuda and driver and driver[1][0] < (needed := int(str(cuda).partition(".")[0])):
        runs = ".".join(map(str, driver[1]))
        oldest = f" to {_OLDEST_DRIVERS[needed]} or newer" if needed in _OLDEST_DRIVERS else ""
        return (
            f"the driver {driver[0]} runs CUDA {runs} at most, and torch is built for CUDA {cuda}",
            f"update the NVIDIA driver{oldest}, or install a torch for CUDA {driver[1][0]}: {_INSTALL}",
        )
    if gpu.capability and architectures and not _fits(gpu.capability, architectures):
        return _architecture(gpu.capability, architectures)
    if "busy or unavailable" in said or (gpu.exclusive and "out of memory" in said):
        why = "; it lets in one process, and another one uses it" if gpu.exclusive else ""
        return f"{said}{why}", "nvidia-smi shows which processes use it"
    if "no answer" in said:
        return f"the computation does not end: {said}", f"{_SMI}; a restart of the machine often helps"
    if "ModuleNotFoundError" in said or "ImportError" in said:
        return said, "pip install --force-reinstall torch torchvision"
    return said, _SMI


def _numbers(architectures: list[str], kind: str) -> list[tuple[int, int]]:
    """Return the capabilities in names such as `sm_90a` or `compute_120`."""
    found = [match[1] for name in architectures if (match := re.match(rf"{kind}_(\d+)", name))]
    return sorted((int(digits[:-1]), int(digits[-1])) for digits in found)


def _fits(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Return whether torch has code for a GPU: machine code of the same major version, or intermediate code that is not newer."""
    major, minor = capability
    machine = any(one == major and other <= minor for one, other in _numbers(architectures, "sm"))
    return machine or any(one <= (major, minor) for one in _numbers(architectures, "compute"))


def _architecture(capability: tuple[int, int], architectures: list[str]) -> tuple[str, str]:
    known = _numbers(architectures, "sm") or _numbers(architectures, "compute")
    span = " to ".join(dict.fromkeys(f"sm_{one}{other}" for one, other in (known[0], known[-1])))
    reason = f"this torch is built for {span}, and the GPU is sm_{capability[0]}{capability[1]}"
    if tuple(capability) > known[-1]:
        return reason, f"the GPU is too new for it; install a newer torch: pip install --upgrade torch torchvision ({_INSTALL})"
    if tuple(capability) < known[0]:
        older = "https://pytorch.org/get-started/previous-versions"
        return reason, f"the GPU is too old for it; install a torch for an older CUDA, or an older torch: {older}"
    return reason, f"install another build of torch: {_INSTALL}"
