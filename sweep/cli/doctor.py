"""`sweep doctor`: what this machine has, tested by using it.

Imports and computations run in processes of their own, one for each device and all at once: one that crashes or hangs stops no
other. On a GPU it has not run yet; with a driver that answers as a file says, it has.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sweep.cli.gpu_trouble import Driver, trouble
from sweep.objectives import datasets
from sweep.worker.devices import cpu_cores
from sweep.worker.gpus import Gpu, Note, driver_versions
from sweep.worker.probe import ProbeFailed, run_probe
from sweep.worker.torch_build import unused_accelerator
from sweep.worker.versions import version
from sweep.worker.visible import VARIABLE, gpu_notes, prohibition, visible_gpus

_CHECK_S = 120.0  # importing torch from a slow disk takes most of it
_REINSTALL = "pip install --force-reinstall torch torchvision"


def examine() -> bool:
    """Check devices, torch, torchvision, the data set, TensorBoard and the disk; print the results, return whether all are ok."""
    gpus, notes, driver = visible_gpus(), gpu_notes(), driver_versions()
    usable = [gpu for gpu in gpus if not gpu.prohibited]
    with ThreadPoolExecutor(max_workers=1 + len(usable)) as processes:
        asked = [processes.submit(_checked, "cpu", ""), *(processes.submit(_checked, "cuda", gpu.uuid) for gpu in usable)]
        print_result("python", f"{sys.version.split()[0]} at {sys.executable}")
        found, *computed = (one.result() for one in asked)
    results = iter(computed)
    all_ok = _check_cpu(found)
    all_ok &= _check_gpus([(gpu, None if gpu.prohibited else next(results)) for gpu in gpus], notes, driver)
    all_ok &= _check_torch(found)
    print_result("data", datasets.data_text())
    installed = version("tensorboard")
    all_ok &= print_result("tensorboard", installed or "not installed", "" if installed else "pip install tensorboard")
    free = shutil.disk_usage(".").free / 2**30
    return all_ok & print_result("disk", f"{free:.1f} GiB free here", "" if free > 1 else "make some room")


def print_result(subject: str, text: str, do: str = "") -> bool:
    """Print a result, and what to do if the check failed; return whether it is ok."""
    first, *more = text.splitlines()
    print(f"{'BAD' if do else 'ok '}  {subject:12}{first}")
    for line in [*more, *(f"do: {do}".splitlines() if do else [])]:
        print(f"{'':17}{line}", flush=True)
    return not do


def _checked(device: str, token: str) -> dict[str, Any]:
    """Return what a process with one visible device, or none, finds out."""
    try:
        found: dict[str, Any] = run_probe("device_check", device, env={**os.environ, VARIABLE: token}, seconds=_CHECK_S)
    except ProbeFailed as error:
        return {"error": str(error)}
    return found


def _check_cpu(found: dict[str, Any]) -> bool:
    cores = f"{cpu_cores()} cores"
    if "torch" not in found:
        return print_result("cpu", cores)  # torch's line says why nothing was computed
    if "error" in found or not found["right"]:
        return print_result("cpu", f"{cores}; {found.get('error', 'torch computed wrong numbers')}", _REINSTALL)
    return print_result("cpu", f"{cores}; {_times_text(found)}")


def _check_gpus(checked: Sequence[tuple[Gpu, dict[str, Any] | None]], notes: Sequence[Note], driver: Driver) -> bool:
    all_ok = True
    if driver is not None:
        print_result("driver", f"{driver[0]}, for CUDA up to {'.'.join(map(str, driver[1]))}")
    hidden = f"{VARIABLE}={os.environ[VARIABLE]}" if VARIABLE in os.environ else ""
    if not checked:
        print_result("gpu", f"none visible; trials run on the CPU{f' ({hidden})' if hidden else ''}")
    elif hidden:
        print_result("gpu", f"only those of {hidden}")
    for gpu, found in checked:
        mode = "PROHIBITED" if gpu.prohibited else "EXCLUSIVE_PROCESS" if gpu.exclusive else "DEFAULT"
        sm = f", sm_{gpu.capability[0]}{gpu.capability[1]}" if gpu.capability else ""
        what = f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB{sm}, compute mode {mode}\n{gpu.uuid}"
        if found is None:
            what, do = f"{what}\nit is not used: its compute mode lets no process in", prohibition(gpu).do
        elif found.get("right"):
            what, do = f"{what}\n{_times_text(found)}", ""
        else:
            reason, do = trouble(gpu, found, driver)
            what = f"{what}\n{reason}"
        all_ok &= print_result(f"gpu {gpu.index}", what, do)
    told = [prohibition(gpu) for gpu, found in checked if found is None]
    for note in notes:
        all_ok &= note in told or print_result("gpu", note.what, note.do)
    if other := unused_accelerator():
        print_result("gpu", other)
    return all_ok


def _times_text(found: dict[str, Any]) -> str:
    return f"a convolution and its gradient in {1000 * found['seconds']:.1f} ms, the first in {1000 * found['first_s']:.1f} ms"


def _check_torch(found: dict[str, Any]) -> bool:
    if "torch" not in found:
        return print_result("torch", found["error"], _REINSTALL)
    built = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}" if found["hip"] else "the CPU"
    names = [name for name in found["architectures"] if name.startswith("sm_")]
    span = f" ({' to '.join(dict.fromkeys((names[0], names[-1])))})" if names else ""
    ok = print_result("torch", f"{found['torch']}, built for {built}{span}")
    if found.get("fit"):
        return print_result("torchvision", f"{found['torchvision']} fits torch") and ok
    return print_result("torchvision", found.get("torchvision_error", "does not fit torch"), _REINSTALL)
