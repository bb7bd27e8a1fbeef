"""`sweep doctor`: what this machine has, tested by using it; imports run in a separate process, which may crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sweep.errors import SweepError
from sweep.objectives import datasets
from sweep.runner.environment import version
from sweep.worker.devices import cpu_cores
from sweep.worker.gpus import visible_gpus

_IMPORT_TIMEOUT_S = 120
_REINSTALL = "pip install --force-reinstall torch torchvision"
_PROBE = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "cuda_works": torch.cuda.is_available()}
try:
    import torchvision
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    found["torchvision"] = torchvision.__version__
    found["fit"] = torchvision.ops.nms(boxes, torch.ones(1), 0.5).tolist() == [0]
except Exception as error:
    found["torchvision_error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def examine() -> bool:
    """Check devices, torch, torchvision, the data set, TensorBoard and the disk; print the results, return whether all are ok."""
    gpus = visible_gpus()
    listed = ", ".join(f"{gpu.index}: {gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in gpus)
    hidden = f" (CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']})" if "CUDA_VISIBLE_DEVICES" in os.environ else ""
    _print("python", f"{sys.version.split()[0]} at {sys.executable}")
    _print("cpu", f"{cpu_cores()} cores")
    _print("gpu", (listed or "none visible; trials run on the CPU") + hidden)
    all_ok = _check_torch(bool(gpus))
    _print("data", _data_text())
    found = version("tensorboard")
    all_ok &= _print("tensorboard", found or "not installed", "" if found else "pip install tensorboard")
    free = shutil.disk_usage(".").free / 2**30
    return all_ok & _print("disk", f"{free:.1f} GiB free here", "" if free > 1 else "make some room")


def _print(subject: str, text: str, do: str = "") -> bool:
    """Print a result, and what to do if the check failed; return whether it is ok."""
    print(f"{'BAD' if do else 'ok '}  {subject:12}{text}", flush=True)
    if do:
        print(f"{'':17}do: {do}")
    return not do


def _check_torch(has_gpu: bool) -> bool:
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # it was deleted: torch does not find its own libraries there
        folder = Path(os.sep)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], cwd=folder, capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        trouble = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except (subprocess.TimeoutExpired, ValueError) as error:
        found, trouble = {}, f"importing it failed: {error}"
    if not found:
        return _print("torch", trouble, _REINSTALL)
    built = f"built for CUDA {found['cuda']}" if found["cuda"] else "built for the CPU"
    usable = not has_gpu or found["cuda_works"]
    unusable = "" if usable else "; a GPU is visible, but torch cannot use it"
    driver = "" if usable else "update the NVIDIA driver, or install the torch that is built for it"
    ok = _print("torch", f"{found['torch']}, {built}{unusable}", driver)
    if found.get("fit"):
        return _print("torchvision", f"{found['torchvision']} fits torch") and ok
    return _print("torchvision", found.get("torchvision_error", "does not fit torch"), _REINSTALL)


def _data_text() -> str:
    try:
        raw = datasets.raw_folder("fashion_mnist", datasets.cache_root())
    except SweepError as error:
        return f"{error.what}; SWEEP_DATA names one"
    if datasets.intact("fashion_mnist", raw):
        return f"FashionMNIST in {raw}, checked"
    if raw.exists():
        return f"FashionMNIST in {raw} is damaged; the next run fetches it again"
    return f"FashionMNIST is not in {raw} yet; the first run fetches it (31 MB)"
