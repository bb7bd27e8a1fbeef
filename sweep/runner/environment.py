"""What a study ran with: versions, commit, devices; stored beside its results, so that each number can be traced."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot, cpu_cores
from sweep.worker.versions import version
from sweep.worker.visible import visible_gpus

_PACKAGES = ("sweep", "torch", "torchvision", "tensorboard", "optuna", "joblib", "numpy", "ray")


def describe(study_path: Path, import_dir: str, slots: list[Slot], workers: WorkersSpec) -> dict[str, Any]:
    """Return the environment as plain data, without importing anything heavy."""
    return {
        "study_file": str(study_path.resolve()),
        "import_dir": import_dir,
        "command": sys.argv,
        "working_directory": str(Path.cwd()),
        "git_commit": _git_commit(Path(import_dir)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
        "cpu_cores": cpu_cores(),
        "gpus": [
            {"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in visible_gpus()
        ],
        "engine": workers.engine,
        "address": workers.address,
        "slots": [{"device": slot.device, "threads": slot.threads} for slot in slots],
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _git_commit(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
