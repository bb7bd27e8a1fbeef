"""NVIDIA's driver of a machine that a JSON file describes: for this process, and through PYTHONPATH for a real `sweep`.

    {"driver": "580.65.06", "cuda": 13000,
     "gpus": [{"uuid": "GPU-8932f937-...", "name": "NVIDIA H100", "memory": [1000, 80000], "mode": 3}],
     "libcuda": {"uuids": ["GPU-8932f937-..."]}}

`pynvml` has the names of nvidia-ml-py that sweep uses, and `sitecustomize` gives a process the CUDA driver's `libcuda.so.1`. What
each key means stands there. The file is read anew at each `nvmlInit`, so that a test can change the machine.

`fake_machine` puts both in the place of the real ones for a test.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "SWEEP_FAKE_DRIVER"
_FOLDER = Path(__file__).parent


def fake_machine(monkeypatch: pytest.MonkeyPatch, folder: Path, machine: dict[str, Any]) -> Path:
    """Let this process, and those that it starts, find this machine's driver; return the file that describes it."""
    from sweep.worker.visible import ask_cuda

    path = folder / "machine.json"
    path.write_text(json.dumps(machine), encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]))
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("pynvml", _FOLDER / "pynvml.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    ask_cuda.cache_clear()
    return path
