"""A week with this program, by its own words only: nothing needs a look into a folder by hand."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

import sweep
from tests.conftest import Cli
from tests.support.command_line import Running

OBJECTIVE = """
import time
from pathlib import Path

from sweep import Trial


def train(trial: Trial) -> None:
    slope = trial.state["slope"] if trial.state else 0.0
    for step in trial.steps(trial.params["epochs"]):
        slope += trial.params["lr"] * (3.0 - slope)
        print(f"epoch {step}: slope {slope:.3f}", flush=True)
        while Path("take your time").exists():
            time.sleep(0.05)
        trial.report(step, {"error": abs(3.0 - slope)}, {"slope": slope})
"""
LONGER = """
objective: line:train
metric: {name: error, goal: minimize}
method: grid
parameters:
  epochs: {value: 6}
"""


@pytest.mark.slow
def test_a_week(cli: Cli, here: Path) -> None:
    """From a function of one's own to a winner that is loaded; every word is the program's, every study as `list` prints it."""

    def told(*words: str, code: int = 0) -> str:
        done = cli(*words)
        assert done.code == code, done.out + done.err
        return done.out

    def read(*words: str) -> Any:
        return json.loads(told(*words))

    def rows() -> dict[str, dict[str, Any]]:
        printed = [line.split("  ")[0] for line in told("list").splitlines()[1:]]
        found = {word: row for word, row in zip(printed, read("list", "--json"), strict=False) if word}
        assert all(Path(row["dir"]) == here / word for word, row in found.items())
        return found

    # Monday: a function becomes a study. It runs, is watched, stopped, and resumed.
    (here / "line.py").write_text(OBJECTIVE)
    assert "line.yaml is written: minimize error" in told("init", "line.py:train", "--yes")
    keys = ["lr.values=[0.1, 0.2, 0.4, 0.3]", "parameters.epochs.value=4", "workers.per_device=1"]
    assert "4 trials" in told("plan", "line.yaml", *keys)
    slow = here / "take your time"
    slow.touch()
    with Running("run", "line.yaml", *keys, "--plain", here=here) as session:
        session.line("trial 0 started")
        [(study, row)] = rows().items()
        assert (study, row["state"], row["runner"]["slots"]) == ("runs/line", "running", 1)
        with Running("logs", study, "-f", here=here) as logs:
            logs.line("trial 0 | epoch 1: slope 0.300")
            session.send(signal.SIGINT)
            slow.unlink()
            assert session.end() == 130
            assert logs.end() == 0
    assert rows()[study]["state"] == "stopped"
    told("wait", study, code=130)
    told("resume", study, "--notify", "sh -c 'cat > told.json'")
    result = json.loads((here / "told.json").read_text())
    assert (result["best"]["number"], result["counts"]["complete"], result["exit_code"]) == (2, 4, 0)
    assert rows()[study]["state"] == "finished"
    told("wait", study)

    # Tuesday: the best one is no good after all, which is noted; it is taken out of every ranking.
    assert "epoch 4: slope" in told("logs", study, "2")
    told("note", study, "2", "jumps about")
    told("drop", study, "2")
    assert rows()[study]["best"]["number"] == read("best", study, "--format", "json")[0]["number"] == 3
    assert {row["number"]: row["note"] for row in read("trials", study, "--format", "json")}[2] == "jumps about"

    # Wednesday: a second round goes on from the two best ones that are left.
    (here / "longer.yaml").write_text(LONGER)
    told("run", "longer.yaml", "--from", study, "--top", "2", "--notify", "sh -c 'cat > told.json'")
    longer = rows()["runs/longer"]
    assert longer["counts"]["complete"] == 2
    assert longer["best"]["params"] == {"parent": 3, "lr": 0.3, "epochs": 6}
    assert json.loads((here / "told.json").read_text())["best"]["number"] == longer["best"]["number"]

    # Thursday: both rounds side by side.
    page = told("report", study, "runs/longer").split()[1]
    assert (here / page).read_text(encoding="utf-8").startswith("<!doctype html>")
    compared = read("report", study, "runs/longer", "--format", "json")
    assert [Path(one["dir"]) for one in compared["studies"]] == [here / study, here / "runs" / "longer"]
    assert compared["statements"]

    # Friday: the winner is loaded and handed over, and what is not needed goes.
    before = read("trials", "runs/longer", "--format", "json"), read("best", study, "--format", "json")
    assert "checkpoints of" in told("clean", "--keep-best", "1", "--yes")
    assert (read("trials", "runs/longer", "--format", "json"), read("best", study, "--format", "json")) == before
    assert rows()["runs/longer"]["bytes"] < longer["bytes"]
    assert told("clean", "--keep-best", "1", "--yes") == "nothing can be removed\n"
    told("resume", "runs/longer", code=2)  # all trials are finished, as before
    told("best", "runs/longer", "--copy", "winner")
    assert told("best", "runs/longer", "--format", "args").split() == ["--lr=0.3", "--epochs=6"]
    for place in ("runs/longer", "winner"):
        winner = sweep.load(place)
        assert (winner.number, winner.value) == (longer["best"]["number"], longer["best"]["value"])
        assert winner.state == {"slope": pytest.approx(3.0 - winner.metrics["error"])}
        assert winner.params == {"lr": 0.3, "epochs": 6}
