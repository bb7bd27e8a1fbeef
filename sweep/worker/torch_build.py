"""What the installed torch is built for, read from its files: the runner does not import torch."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from pathlib import Path

_ROCM = "torch here is built for AMD's GPUs (ROCm), which sweep does not use"
_APPLE = "torch could use this Mac's GPU (mps), which sweep does not"


def built_for(kind: str) -> str | None:
    """Return the version of `cuda` or `hip` (AMD's ROCm) that torch is built for; None for neither, and without torch."""
    try:
        spec = importlib.util.find_spec("torch")
        folders = (spec and spec.submodule_search_locations) or []
        text = "".join(Path(folder, "version.py").read_text(encoding="utf-8") for folder in folders)
    except (ImportError, OSError, ValueError):
        return None
    found = re.search(rf"^{kind}\b[^=\n]*=\s*['\"]([^'\"]+)", text, flags=re.MULTILINE)
    return found[1] if found else None


def unused_accelerator() -> str | None:
    """Return a sentence on a GPU that is not NVIDIA's and that torch could use, but sweep does not; None if there is none."""
    if built_for("hip"):
        return _ROCM
    return _APPLE if sys.platform == "darwin" and platform.machine() == "arm64" else None
