"""Describe the machine that a benchmark runs on, and a peer that is not installed."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sweep.worker.devices import cpu_cores
from sweep.worker.versions import version
from sweep.worker.visible import visible_gpus


def describe(packages: Sequence[str] = ()) -> str:
    """Return one line: date, processor, cores, memory, GPUs, Python, the versions of the packages that are installed."""
    memory = _memory_gb()
    parts = [
        f"{datetime.now():%Y-%m-%d %H:%M}",
        _processor(),
        f"{cpu_cores()} cores",
        *([f"{memory:.0f} GB"] if memory else []),
        *(_gpus() or ["no GPU"]),
        f"Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in packages if version(package)),
    ]
    return ", ".join(parts)


def not_installed(side: str) -> str:
    """Return the line of a peer that is not installed."""
    return f"{side}: not installed: pip install '.[bench]'"


def _processor() -> str:
    try:
        found = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    except OSError:
        found = ""
    model = re.search(r"Model name:\s*(.*)", found)
    return model[1] if model else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        found = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) / 1e6 if found else None


def _gpus() -> list[str]:
    names = [gpu.name for gpu in visible_gpus()]
    return [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
