"""`sweep` on a machine with GPUs that a file describes: real processes, whose objectives compute on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.fake_driver import fake_machine, pynvml

A, B, C = (f"GPU-{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
FAST, SLOW = {"name": "NVIDIA H100", "memory": [0, 80 * 2**30]}, {"name": "NVIDIA T4", "memory": [0, 16 * 2**30]}
OBJECTIVE = """
import os, time
def train(trial):
    print("sees", os.environ["CUDA_VISIBLE_DEVICES"])
    time.sleep(0.3)
    trial.report(1, {"loss": trial.params["x"]})
"""
STUDY = """
objective: sees:train
metric: {name: loss, goal: minimize}
method: grid
parameters: {x: {values: [1, 2, 3, 4, 5, 6]}}
"""
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, here: Path) -> Machine:
    """Write a study, and make this a machine with these GPUs."""
    (here / "sees.py").write_text(OBJECTIVE)
    (here / "study.yaml").write_text(STUDY)

    def make(*gpus: dict[str, Any], **keys: Any) -> None:
        fake_machine(monkeypatch, here, {"driver": "580.65.06", "cuda": 13000, "gpus": gpus, **keys})

    return make


def seen(here: Path) -> set[tuple[str, str]]:
    """Return the slots' names and the GPUs that their trials saw."""
    logs = [path.read_text().splitlines() for path in (here / "runs" / "study").glob("*/log.txt")]
    return {(log[0].rpartition(", ")[2], log[1]) for log in logs}


def test_each_trial_sees_its_gpu_by_its_uuid(machine: Machine, cli: Cli, here: Path) -> None:
    """On a machine with different GPUs, where the driver's order is not CUDA's; what the study ran on is recorded."""
    machine({"uuid": A, **SLOW}, {"uuid": B, **FAST}, libcuda={"uuids": [B, A]})
    done = cli("run", "study.yaml", "--plain")
    assert done.code == 0, done.out + done.err
    assert seen(here) == {("gpu 0", f"sees {B}"), ("gpu 1", f"sees {A}")}
    recorded = json.loads((here / "runs" / "study" / "environment.json").read_text())
    assert [(gpu["index"], gpu["uuid"], gpu["name"]) for gpu in recorded["gpus"]] == [
        ("0", B, "NVIDIA H100"),
        ("1", A, "NVIDIA T4"),
    ]


@pytest.mark.slow
def test_gpus_that_are_not_used_are_told(machine: Machine, cli: Cli, here: Path) -> None:
    """One that is lost and one that lets nobody in; the others train. What would run is told by `sweep plan`, too."""
    lost = {"uuid": A, "fails": {"*": pynvml.NVML_ERROR_GPU_IS_LOST}}
    machine(lost, {"uuid": B, **FAST, "mode": 2}, {"uuid": C, **FAST}, libcuda={"uuids": [B, C]})
    for command in ("plan", "run"):
        done = cli(command, "study.yaml")
        assert done.code == 0, done.out + done.err
        assert "GPU 0 by the PCI bus is not used, since the driver says: GPU is lost" in done.out
        assert "GPU 0 (NVIDIA H100) is not used: its compute mode is PROHIBITED" in done.out
    assert seen(here) == {("gpu 1", f"sees {C}")}


@pytest.mark.slow
def test_a_trial_on_two_gpus_sees_both(machine: Machine, cli: Cli, here: Path) -> None:
    """The third one is left over, and that is told; four are too many."""
    machine({"uuid": A, **FAST}, {"uuid": B, **FAST}, {"uuid": C, **FAST})
    done = cli("run", "study.yaml", "workers.devices_per_trial=2", "x.values=[1, 2]")
    assert done.code == 0, done.out + done.err
    assert "GPU 2 is not used: each trial has 2 GPUs, and 3 is no multiple of that" in done.out
    assert seen(here) == {("gpu 0,1", f"sees {A},{B}")}
    done = cli("run", "study.yaml", "workers.devices_per_trial=4", "name=other")
    assert done.code == 2
    assert "[too-few-gpus]" in done.err


def test_an_exclusive_gpu_takes_one_trial(machine: Machine, cli: Cli) -> None:
    """Whoever asks for three learns what to do; left open it is one."""
    machine({"uuid": A, **FAST, "mode": pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS})
    done = cli("plan", "study.yaml", "workers.per_device=3")
    assert done.code == 2
    assert "asks for 3 trials at a time on GPU 0, which lets in one process" in done.err
    assert f"sudo nvidia-smi -i {A} -c DEFAULT" in done.err
    assert [slot["device"] for slot in cli("plan", "study.yaml", "--json").json["slots"]] == ["gpu 0"]
