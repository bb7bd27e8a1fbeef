"""Sessions on GPUs that are none: slots on them as they would be, whose workers are real processes that compute on the CPU.

An objective finds its GPU in CUDA_VISIBLE_DEVICES, and raises what torch would raise there.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweep.runner import session
from sweep.runner.observers import SessionOutcome
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.gpus import Gpu
from tests.support.observing import Silent
from tests.support.studies import study_text, write_study

LIMIT_S = 90.0  # a session that takes longer is stopped, and its test fails
# What torch leaves behind after some errors: a context that answers nothing else any more. A value in a dict, since the process
# is replaced anyway when a variable of the study's modules has changed.
DEVICE = """
import os, pathlib, signal, time
import torch

_device = {"dead": False}

def use_device():
    if _device["dead"]:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

def hurt_device(text="CUDA error: device-side assert triggered"):
    _device["dead"] = True
    raise torch.AcceleratorError(text)

def gpu():
    return os.environ["CUDA_VISIBLE_DEVICES"]

"""


def gpu_slots(count: int, per_device: int = 1, *, cores: int = 4) -> list[Slot]:
    """Return slots on GPUs A, B, ..., whose workers compute on the CPU."""
    gpus = [Gpu(uuid=name, index=name, memory_bytes=80 * 2**30) for name in "ABCD"[:count]]
    return [dataclasses.replace(slot, torch_device="cpu") for slot in plan_slots("auto", per_device, 1, gpus=gpus, cores=cores)]


def run_on(
    slots: Sequence[Slot], objective: str, parameters: Mapping[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch, **keys: Any
) -> tuple[SessionOutcome, Silent]:
    """Run a grid of `train` in this source on these slots; return how the session ended and what it said."""
    (here / "mine.py").write_text(DEVICE + objective)
    study = read_study(write_study(here, study_text(parameters, **keys)))
    monkeypatch.setattr(session, "slots_for", lambda workers: list(slots))
    observer, alarms = Silent(), []

    def watch(runner: Any) -> None:
        alarms.append(threading.Timer(LIMIT_S, runner.stop))
        alarms[0].start()

    try:
        folder = StudyFolder(root=here / "runs" / "study")
        outcome = session.run_study(study, folder, here / "study.yaml", observer, on_start=watch)
    finally:
        for alarm in alarms:
            alarm.cancel()
    return outcome, observer
