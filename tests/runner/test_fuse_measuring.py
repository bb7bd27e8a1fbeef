"""`workers.fuse: auto` is decided by measuring. Sessions, processes and trials are real, the GPUs are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweep.runner import fuse_measuring
from sweep.runner.observers import SessionOutcome
from sweep.worker.devices import Slot, plan_slots
from tests.conftest import Cli
from tests.support.gpu_sessions import gpu_slots, run_on

# A step of one trial sleeps as long as a step of all of them, times the number that a test gives; `runs.txt` says what trained.
OBJECTIVE = """
from pathlib import Path

def note(what):
    with Path("runs.txt").open("a") as file:
        file.write(f"{what}\\n")

def train(trial):
    note(f"alone {trial.number}")
    for step in trial.steps(trial.params["steps"]):
        time.sleep(0.02)
        trial.report(step, {"score": trial.params["x"] * step})

def together(group):
    note(f"together {' '.join(str(member.number) for member in group.members)}")
    if group.members[0].params["what"] == "raise":
        raise ValueError("no member can be trained so")
    if group.members[0].params["what"] == "exit":
        os._exit(3)
    for step in group.steps(group.members[0].params["steps"]):
        time.sleep(0.02 * group.members[0].params["cost"])
        group.report(step, [{"score": member.params["x"] * step} for member in group.members])

together.varies = ("x",)
train.fused = together
"""
STEPS = 20
PARAMETERS = {"x": [1, 2, 3, 4], "steps": STEPS, "cost": 1, "what": ""}
AUTO = {"devices": "cpu", "per_device": 1, "fuse": "auto"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a moment only."""
    monkeypatch.setattr(fuse_measuring, "_ENOUGH_S", 0.2)


def session(
    here: Path, monkeypatch: pytest.MonkeyPatch, slots: Sequence[Slot] = (), **changes: Any
) -> tuple[SessionOutcome, list[str]]:
    """Run a study, on one GPU if no slots are given; return how it ended and what was said of `fuse`."""
    workers = changes.pop("workers", AUTO)
    outcome, observer = run_on(slots or gpu_slots(1), OBJECTIVE, PARAMETERS | changes, here, monkeypatch, workers=workers)
    assert [record.value for record in outcome.records] == [x * STEPS for x in (1, 2, 3, 4)]
    return outcome, [text for text in observer.notices if "fuse" in text]


def trained(here: Path) -> list[str]:
    return (here / "runs.txt").read_text(encoding="utf-8").splitlines()


def test_a_gain_is_used_and_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured trials are trained again, since a study's groups are the same from its start to its end."""
    _, said = session(here, monkeypatch)
    assert said[0] == "workers.fuse=auto: measuring the steps a second of one trial alone and of 4 together on gpu A"
    assert said[1].startswith("workers.fuse=auto: 4 trials together make ")
    assert said[1].endswith("times the steps a second of one alone: up to 16 trials are trained together")
    assert trained(here) == ["alone 0", "together 0 1 2 3", "together 0 1 2 3"]
    assert "fuse: 16" in (here / "runs/study/study.yaml").read_text(encoding="utf-8")
    _, said = session(here, monkeypatch)
    assert said == []
    assert len(trained(here)) == 3


@pytest.mark.slow
def test_without_a_gain_each_trial_is_trained_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in later sessions."""
    _, said = session(here, monkeypatch, cost=6)
    assert said[1].endswith("times the steps a second of one alone: trials are trained alone")
    assert trained(here) == ["alone 0", "together 0 1 2 3", "alone 0", "alone 1", "alone 2", "alone 3"]
    assert session(here, monkeypatch, cost=6)[1] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"what": "raise"}, "ValueError: no member can be trained so"),
        ({"what": "exit"}, "the worker process exited with code 3: something in it called exit, or its interpreter broke"),
    ],
)
def test_what_fails_together_is_trained_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], why: str
) -> None:
    """The line says why, and no trial has failed."""
    _, said = session(here, monkeypatch, **changes)
    assert said[1] == f"workers.fuse=auto: trials are trained alone: {why}"
    assert trained(here)[2:] == ["alone 0", "alone 1", "alone 2", "alone 3"]


@pytest.mark.slow
def test_a_trial_that_reports_too_seldom_is_not_measured(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it."""
    monkeypatch.setattr(fuse_measuring, "_LONGEST_S", 0.01)
    _, said = session(here, monkeypatch)
    assert said[-1] == "workers.fuse=auto: trials are trained alone: two reports took longer than 0 s"


def test_a_cpu_is_not_measured(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is gained there, and the plan says so too."""
    _, said = session(here, monkeypatch, plan_slots("cpu", 1, 1))
    assert said == ["workers.fuse=auto: trials are trained alone, since on a CPU nothing is gained by training them together"]
    assert "\ntogether   no: on a CPU nothing is gained\n" in cli("plan", "study.yaml").out


def test_nothing_is_measured_unasked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key each trial is trained alone."""
    _, said = session(here, monkeypatch, workers={"devices": "cpu", "per_device": 1})
    assert said == []
    assert trained(here) == ["alone 0", "alone 1", "alone 2", "alone 3"]
