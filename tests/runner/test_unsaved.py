"""What a session says, once, about trials that save no state, and about those that resume elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sweep.runner.unsaved import UnsavedWork
from sweep.storage.folder import CHECKPOINT
from sweep.study.trial import Position, Report, TrialResult, TrialState
from sweep.worker import checkpoint
from sweep.worker.protocol import Resumed
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.interrupting import interrupt, reached
from tests.support.studies import make_study, study_spec

REPORT, SAVING = Report(step=1, metrics={}), Report(step=1, metrics={}, saves=True)
WORDS = "this objective saves no state: an interrupted trial starts over"


def ended(state: TrialState, *, saves: bool = False, cause: str | None = None) -> TrialResult:
    return TrialResult(state=state, metrics={}, saves=saves, cause=cause)


@pytest.mark.parametrize(
    ("event", "seconds", "says"),
    [
        (REPORT, 61, True),
        (REPORT, 30, False),  # it may save later
        (SAVING, 1000, False),
        (ended(TrialState.COMPLETE), 21, True),
        (ended(TrialState.PRUNED), 21, True),
        (ended(TrialState.COMPLETE), 5, False),  # little is lost
        (ended(TrialState.COMPLETE, saves=True), 1000, False),
        (ended(TrialState.WAITING), 2, True),
        (ended(TrialState.WAITING, saves=True), 2, False),
        (ended(TrialState.WAITING, cause="write-failed"), 1000, False),  # which is said already
        (ended(TrialState.FAILED), 1000, False),  # it starts over anyway
        (object(), 1000, False),
    ],
)
def test_it_is_said_when_it_matters(event: object, seconds: float, says: bool) -> None:
    """And once only."""
    said: list[str] = []
    unsaved = UnsavedWork(study_spec({"x": 1}), said.append)
    for _ in range(3):
        unsaved.look(event, seconds)
    assert len(said) == says
    assert all(line.startswith(WORDS) for line in said)


def test_it_is_said_once_that_trials_resume_where_their_digits_may_differ() -> None:
    """With what differs for the first of them; nothing about those that resume where they were."""
    said: list[str] = []
    unsaved = UnsavedWork(study_spec({"x": 1}), said.append)
    for moved in ("", "device: was NVIDIA H200, is now cpu", "torch: was 2.11.0, is now 2.14.1"):
        unsaved.look(Resumed(position=Position(step=1), moved=moved), 0)
    assert said == ["trials resume where their digits may differ: device: was NVIDIA H200, is now cpu"]


def test_a_command_is_called_a_command() -> None:
    """Trials that are ended without a checkpoint count, unless they have hardly begun."""
    said: list[str] = []
    unsaved = UnsavedWork(study_spec({"x": 1}, objective=None, command="python train.py"), said.append)
    unsaved.interrupt([])
    unsaved.interrupt([0.5])
    assert said == []
    unsaved.interrupt([0.5, 3])
    assert said[0].startswith("this command saves no state")


@pytest.mark.parametrize(("objective", "count"), [("mine:train", 1), ("mine:learn", 0)])
@pytest.mark.slow
def test_a_session_that_is_interrupted_says_it_once(objective: str, count: int, here: Path) -> None:
    """Ctrl-C during two trials that save nothing; nothing of trials that do."""
    workers = {"devices": "cpu", "per_device": 2}
    study = make_study(here, {"x": [1, 2, 3], "steps": 1000, "sleep": 0.4}, objective=objective, workers=workers)
    running: Running = interrupt("run", str(study), here=here, when=reached(here / "runs" / "study", 4, trials=2))
    assert running.out.count(WORDS) == count


@pytest.mark.slow
def test_two_trials_that_resume_on_another_device_say_so_once(here: Path, cli: Cli) -> None:
    """And each in its own log; the checkpoints are made to say that they come from a GPU."""
    keys = {"x": [1, 2], "steps": 40, "sleep": 0.1}
    study = make_study(here, keys, objective="mine:learn", workers={"devices": "cpu", "per_device": 2})
    folder = here / "runs" / "study"
    interrupt("run", str(study), here=here, when=reached(folder, 2, trials=2))
    for path in folder.glob(f"0*/{CHECKPOINT}"):
        found = checkpoint.read(path)
        checkpoint.save(path.parent, dataclasses.replace(found, origin=found.origin | {"device": "NVIDIA H200"}))
    done = cli("resume", str(study))
    assert done.code == 0, done.err
    words = "device: was NVIDIA H200, is now cpu"
    assert (done.out + done.err).count("digits") == 1
    assert f"trials resume where their digits may differ: {words}" in done.out
    logs = [path.read_text() for path in folder.glob("0*/log.txt")]
    assert [log.count(f"sweep: digits may differ after the interruption: {words}") for log in logs] == [1, 1]
