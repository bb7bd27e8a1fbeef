"""`workers.fuse: auto` is decided by measuring. Sessions, processes and trials are real, the GPUs are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweep.runner import fuse_measuring
from sweep.runner.fuse_measuring import with_fuse
from sweep.runner.observers import SessionOutcome
from sweep.storage.folder import StudyFolder
from sweep.study.file.writing import write_study
from sweep.worker.devices import Slot, plan_slots
from tests.conftest import Cli
from tests.support.gpu_sessions import gpu_slots, run_on
from tests.support.studies import study_spec

# A step of one trial sleeps as long as a step of all of them, times the number that a test gives; `runs.txt` says what trained.
OBJECTIVE = """
from pathlib import Path

def note(what):
    with Path("runs.txt").open("a") as file:
        file.write(f"{what}\\n")

def score(params, step):
    return float("nan") if params["what"] == "diverge" and params["x"] == 1 and step == 3 else params["x"] * step

def train(trial):
    note(f"alone {trial.number}")
    for step in trial.steps(trial.params["steps"]):
        time.sleep(0.02)
        trial.report(step, {"score": score(trial.params, step)})

def together(group):
    note(f"together {' '.join(str(member.number) for member in group.members)}")
    if group.members[0].params["what"] == "raise":
        raise ValueError("no member can be trained so")
    if group.members[0].params["what"] == "exit":
        os._exit(3)
    for step in group.steps(group.members[0].params["steps"]):
        time.sleep(0.02 * group.members[0].params["cost"])
        group.report(step, [{"score": score(member.params, step)} for member in group.members])

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
    assert [record.value for record in outcome.records if record.number] == [x * STEPS for x in (2, 3, 4)]
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


@pytest.mark.slow
def test_a_member_that_diverges_does_not_decide(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is measured, alone and in the group."""
    outcome, said = session(here, monkeypatch, what="diverge")
    assert [record.state.name for record in outcome.records] == ["FAILED", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert said[1].endswith("times the steps a second of one alone: up to 16 trials are trained together")
    assert trained(here) == ["alone 0", "alone 1", "together 0 1 2 3", "together 0 1 2 3"]


def test_a_session_in_this_process_keeps_the_number(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was chosen stays in the study's file; where nothing was chosen before the first trial, each is trained alone."""
    made: list[int] = []
    folder, study = StudyFolder(root=here / "runs" / "study"), study_spec({"x": [1, 2]}, workers=AUTO)

    def chosen(*_: Any) -> int:
        made.append(1)
        return 16

    monkeypatch.setattr(fuse_measuring, "_chosen", chosen)

    def fuse(*, inline: bool) -> int | None:
        found = with_fuse(study, folder, gpu_slots(1), lambda: pytest.fail("no worker is needed"), str, inline=inline)
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.study_file.write_text(write_study(found))
        return found.workers.fuse

    assert [fuse(inline=False), fuse(inline=True), fuse(inline=False)] == [16, 16, 16]
    folder.study_file.unlink()
    assert [fuse(inline=True), fuse(inline=False), fuse(inline=True)] == [None, 1, 1]
    assert made == [1]


@pytest.mark.slow
def test_a_cpu_is_not_measured(here: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is gained there, and the plan says so too."""
    _, said = session(here, monkeypatch, plan_slots("cpu", 1, 1))
    assert said == ["workers.fuse=auto: trials are trained alone, since on a CPU nothing is gained by training them together"]
    assert "\ntogether   no: nothing is gained on a CPU\n" in cli("plan", "study.yaml").out


def test_nothing_is_measured_unasked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key each trial is trained alone."""
    _, said = session(here, monkeypatch, workers={"devices": "cpu", "per_device": 1})
    assert said == []
    assert trained(here) == ["alone 0", "alone 1", "alone 2", "alone 3"]
