"""The built-in objective with its steps as graphs, alone and in groups: the same numbers. Recorded operations replace CUDA's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support import recorded
from tests.support.interrupting import interrupt
from tests.support.reading import scalars
from tests.support.studies import study_text, write_study

pytestmark = pytest.mark.slow

BY_GRAPHS = """
from recorded import recorded
from sweep.objectives import fashion_mnist
from sweep.worker import graphed


def captured(function):
    print("a graph is recorded", flush=True)
    return recorded(function)


graphed.usable, graphed.captured = (lambda device: True), captured
train = fashion_mnist.train
"""
TRIALS = {"lr": [0.001, 1e30, 0.003], "batch_size": 16, "train_samples": 1000, "epochs": 3}


@pytest.fixture
def folder(here: Path, fashion_data: Path) -> Path:
    """A folder with the objective."""
    shutil.copy(recorded.__file__, here / "recorded.py")
    (here / "by_graphs.py").write_text(BY_GRAPHS, encoding="utf-8")
    return here


def study(folder: Path, name: str, objective: str, parameters: dict[str, Any], **keys: Any) -> str:
    """Write a study file; return its path."""
    metric = {"name": "validation/accuracy", "goal": "maximize"}
    log = {"batches": 7}
    text = study_text(parameters, name=name, objective=objective, metric=metric, log=log, checkpoints={"keep_best": 9}, **keys)
    return str(write_study(folder, text, f"{name}.yaml"))


def numbers(cli: Cli, name: str) -> list[tuple[str, dict[str, float], list[tuple[int, str]]]]:
    """Return each trial's state, metrics and points of the batches' losses, as text since a NaN equals nothing."""
    return [
        (
            one["state"],
            {metric: value for metric, value in one["metrics"].items() if not metric.startswith("time/")},
            [(step, value.hex()) for step, value in scalars(Path(one["dir"])).get("batch/loss", [])],
        )
        for one in cli("trials", f"runs/{name}", "--format", "json").json
    ]


@pytest.mark.parametrize("fuse", [1, 3])
def test_graphs_change_no_number(cli: Cli, folder: Path, fuse: int) -> None:
    """Nor do they in a group, one of whose members diverges and is left out of later steps."""
    for name, objective in (("plain", "sweep.objectives.fashion_mnist:train"), ("graphs", "by_graphs:train")):
        path = study(folder, name, objective, TRIALS, workers={"devices": "cpu", "per_device": 1, "fuse": fuse})
        assert cli("run", path, "--plain").code == 1  # one trial diverges
    found = numbers(cli, "plain")
    assert [state for state, *_ in found] == ["complete", "failed", "complete"]
    assert [len(points) for *_, points in found] == [3 * 63 // 7, 63 // 7, 3 * 63 // 7]
    assert numbers(cli, "graphs") == found
    logs = "".join(log.read_text(encoding="utf-8") for log in sorted(Path("runs/graphs").glob("*/log.txt")))
    # Of each trial; of the group, and of those that are left.
    assert logs.count("a graph is recorded") == (3 if fuse == 1 else 2)
    assert "without a CUDA graph" not in logs


@pytest.mark.parametrize("fuse", [1, 2])
def test_a_killed_trial_goes_on_inside_an_epoch(cli: Cli, folder: Path, fuse: int) -> None:
    """From a checkpoint between two graphs, to the same bits."""
    workers = {"devices": "cpu", "per_device": 1, "fuse": fuse}
    parameters = TRIALS | {"lr": [0.001, 0.003], "checkpoint_every": 14, "train_samples": 3000}
    whole, cut = (study(folder, name, "by_graphs:train", parameters, workers=workers) for name in ("whole", "cut"))
    assert cli("run", whole, "--plain").code == 0
    interrupt("run", cut, "--plain", here=folder, when="step 1/3", how="SIGKILL")
    assert cli("resume", cut, "--plain").code == 0
    assert numbers(cli, "cut") == numbers(cli, "whole")
