"""Studies of scripts from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.interrupting import interrupt, kill
from tests.support.reading import records, scalars
from tests.support.studies import write_study as write
from tests.support.waiting import wait_for, wait_until_gone

STUDY = """
command: python script.py ${args}
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2]}
workers: {per_device: 1}
"""

SCRIPT = """
import json, os, sys, time
from sweep import trial
x = trial.params["x"]
open(f"pid{x}", "w").write(str(os.getpid()))
for step in trial.steps(3):
    if x == 2 and step == 2 and not os.path.exists("once"):
        open("once", "w").close()
        PAUSE
    trial.report(step, {"score": x / step}, {"x": x})
"""
FOREVER = "time.sleep(1000)"


@pytest.fixture
def study(here: Path) -> Path:
    (here / "script.py").write_text(SCRIPT.replace("PAUSE", FOREVER))
    return write(here, STUDY)


def trials(cli: Cli, study: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("trials", str(study), "--format", "json").json
    return found


def test_a_study_of_a_script_runs(cli: Cli, here: Path) -> None:
    """From another folder than the file's: the plan shows the command, the command runs in the study file's folder."""
    (here / "deep").mkdir()
    (here / "deep" / "script.py").write_text(SCRIPT.replace("PAUSE", "pass"))
    study = write(here / "deep", STUDY)
    plan = cli("plan", str(study))
    assert "command    python script.py ${args}, maximize score" in plan.out
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert [(t.state, t.metrics["score"]) for t in records(here / "runs" / "study")] == [("complete", 1 / 3), ("complete", 2 / 3)]
    assert (here / "deep" / "pid1").exists()


@pytest.mark.slow
def test_a_stopped_study_of_a_script_resumes(cli: Cli, study: Path, here: Path) -> None:
    """SIGINT ends the script too, and the trial resumes from its state."""
    interrupt("run", str(study), here=here, when=(here / "once").exists)
    assert not psutil.pid_exists(int((here / "pid2").read_text()))
    assert cli("resume", str(study)).code == 0
    found = trials(cli, study)
    assert [(t["state"], t["value"], t["attempts"]) for t in found] == [("complete", 1 / 3, 1), ("complete", 2 / 3, 2)]
    assert scalars(Path(found[1]["dir"]))["score"] == [(1, 2), (2, 1), (3, pytest.approx(2 / 3))]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["runner", "worker", "script"])
def test_kills_are_survived(cli: Cli, study: Path, here: Path, victim: str) -> None:
    """A kill -9 of the runner or the worker leaves no script behind and costs no number; of the script, it fails the trial."""
    with Running("run", str(study), here=here) as running:
        running.wait_until((here / "once").exists)
        script = psutil.Process(int((here / "pid2").read_text()))
        worker = script.parent()
        assert worker is not None
        kill([{"runner": running.processes()[0], "worker": worker, "script": script}[victim]])
        wait_until_gone([script])
        code = running.end()
    if victim == "script":
        assert code == 1
        assert "was ended by SIGKILL" in trials(cli, study)[1]["error"]
        return
    if victim == "runner":
        assert cli("resume", str(study)).code == 0
    found = trials(cli, study)
    assert [(t["state"], t["value"], t["attempts"]) for t in found] == [("complete", 1 / 3, 1), ("complete", 2 / 3, 2)]
    assert scalars(Path(found[1]["dir"]))["score"] == [(1, 2), (2, 1), (3, pytest.approx(2 / 3))]


@pytest.mark.slow
def test_a_script_that_takes_too_long_is_failed(cli: Cli, study: Path, here: Path) -> None:
    """By the study's timeout, as any other objective, with everything that it started."""
    done = cli("run", str(study), "timeout=4s", "x.values=[2]")
    assert done.code == 1
    [found] = trials(cli, study)
    assert "it took longer than 4 s (timeout)" in found["error"]
    pid = int((here / "pid2").read_text())
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_a_script_is_trained_inline_too(cli: Cli, study: Path, here: Path) -> None:
    """With its output on the terminal."""
    (here / "script.py").write_text("print('hello'); print('{\"score\": 1}')")
    done = cli("run", str(study), "--inline")
    assert done.code == 0, done.err
    assert "hello" in done.out
