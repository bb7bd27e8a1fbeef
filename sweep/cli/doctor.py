"""`sweep doctor`: what this machine has, tested by using it; imports run in a separate process, which may crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sweep.objectives import datasets
from sweep.runner.environment import version
from sweep.worker.devices import cpu_cores, visible_gpus

_IMPORT_TIMEOUT_S = 120
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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check, and what to do when it failed."""

    subject: str
    ok: bool
    text: str
    do: str = ""


def show_findings() -> bool:
    """Print each finding as soon as it is known; return whether everything is in order."""
    all_ok = True
    for finding in examine():
        all_ok &= finding.ok
        print(f"{'ok ' if finding.ok else 'BAD'}  {finding.subject:12}{finding.text}", flush=True)
        if finding.do:
            print(f"{'':17}do: {finding.do}")
    return all_ok


def examine() -> Iterator[Finding]:
    """Check devices, torch and torchvision, the data set, TensorBoard and the disk, one after another."""
    yield Finding(subject="python", ok=True, text=f"{sys.version.split()[0]} at {sys.executable}")
    yield Finding(subject="cpu", ok=True, text=f"{cpu_cores()} cores")
    gpus = visible_gpus()
    listed = ", ".join(f"{gpu.cuda_id}: {gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in gpus)
    hidden = f" (CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']})" if "CUDA_VISIBLE_DEVICES" in os.environ else ""
    yield Finding(subject="gpu", ok=True, text=(listed or "none visible; trials run on the CPU") + hidden)
    yield from _torch(bool(gpus))
    yield _data()
    found = version("tensorboard")
    yield Finding(
        subject="tensorboard", ok=found is not None, text=found or "not installed", do="" if found else "pip install tensorboard"
    )
    free = shutil.disk_usage(".").free / 2**30
    yield Finding(subject="disk", ok=free > 1, text=f"{free:.1f} GiB free here", do="" if free > 1 else "make some room")


def _torch(has_gpu: bool) -> Iterator[Finding]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        trouble = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except (subprocess.TimeoutExpired, ValueError) as error:
        found, trouble = {}, f"importing it failed: {error}"
    if not found:
        yield Finding(subject="torch", ok=False, text=trouble, do="pip install --force-reinstall torch torchvision")
        return
    built = f"built for CUDA {found['cuda']}" if found["cuda"] else "built for the CPU"
    usable = not has_gpu or found["cuda_works"]
    yield Finding(
        subject="torch",
        ok=usable,
        text=f"{found['torch']}, {built}" + ("" if usable else "; a GPU is visible, but torch cannot use it"),
        do="" if usable else "update the NVIDIA driver, or install the torch that is built for it",
    )
    fit = bool(found.get("fit"))
    text = found.get("torchvision", "") + " fits torch" if fit else found.get("torchvision_error", "does not fit torch")
    yield Finding(subject="torchvision", ok=fit, text=text, do="" if fit else "pip install --force-reinstall torch torchvision")


def _data() -> Finding:
    raw = datasets.raw_folder("fashion_mnist", datasets.cache_root())
    if datasets.intact("fashion_mnist", raw):
        return Finding(subject="data", ok=True, text=f"FashionMNIST in {raw}, checked")
    if raw.exists():
        return Finding(subject="data", ok=True, text=f"FashionMNIST in {raw} is damaged; the next run fetches it again")
    return Finding(subject="data", ok=True, text=f"FashionMNIST is not in {raw} yet; the first run fetches it (31 MB)")
