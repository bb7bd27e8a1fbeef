"""Trials that one worker trains together, on this machine's processes: each has its own numbers, end and failure."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support import together
from tests.support.command_line import Running
from tests.support.interrupting import kill
from tests.support.reading import event_records, outcome, scalars
from tests.support.studies import study_text, write_study
from tests.support.waiting import wait_until_gone

LRS = [0.1, 0.2, 0.3, 0.4, 0.5]
TOGETHER = "workers.fuse=3"

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(here: Path) -> Path:
    """A folder with the objective."""
    shutil.copy(together.__file__, here / "together.py")
    return here


def study(folder: Path, parameters: dict[str, Any], **keys: Any) -> str:
    """Write a study file; return its path."""
    return str(write_study(folder, study_text(parameters, **{"objective": "together:train"} | keys)))


def trials(cli: Cli, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("trials", f"runs/{name}", "--format", "json").json
    return found


def values(found: list[dict[str, Any]]) -> list[tuple[str, float | None]]:
    return [(trial["state"], trial["value"]) for trial in found]


def steps(folder: Path) -> list[str]:
    return (folder / "together.txt").read_text(encoding="utf-8").splitlines()


def run(cli: Cli, path: str, *words: str, code: int = 0) -> None:
    done = cli("run", path, *words, "--plain")
    assert done.code == code, done.out + done.err


def test_each_member_has_what_it_has_alone(cli: Cli, folder: Path) -> None:
    """Curve, checkpoint, number and row; the groups are chunks of the grid's order with equal other parameters."""
    path = study(folder, {"lr": LRS, "w": [1, 2]}, checkpoints={"keep_best": 20})
    run(cli, path, "name=alone")
    run(cli, path, "name=fused", TOGETHER)
    alone, fused = trials(cli, "alone"), trials(cli, "fused")
    assert values(alone) == values(fused)
    for one, other in zip(alone, fused, strict=True):
        assert scalars(Path(one["dir"])) == scalars(Path(other["dir"]))
        assert event_records(Path(one["dir"])) == event_records(Path(other["dir"]))
    assert [trial["group"] for trial in alone] == [[]] * 10
    numbers = [[number for number, _ in trial["group"]] for trial in fused]
    assert numbers[0] == numbers[2] == numbers[4] == [0, 2, 4]
    assert numbers[7] == numbers[9] == [7, 9]
    assert sorted(set(steps(folder))) == sorted(
        f"{step}: {group}" for step in range(1, 7) for group in ("0 2 4", "1 3 5", "6 8", "7 9")
    )


def test_repeats_are_trained_together(cli: Cli, folder: Path) -> None:
    """Also where a method learns, which proposes one trial after the other: its proposals stay the same."""
    path = study(folder, {"lr": {"min": 0.1, "max": 0.9}}, method="tpe", repeats=4, budget={"trials": 4})
    run(cli, path, "name=alone")
    run(cli, path, "name=fused", "workers.fuse=4")
    assert [trial["params"] for trial in trials(cli, "alone")] == [trial["params"] for trial in trials(cli, "fused")]
    assert values(trials(cli, "alone")) == values(trials(cli, "fused"))
    assert steps(folder)[0] == "1: 0 0 0 0"


@pytest.mark.parametrize(
    ("what", "error"), [("raise", "ValueError: this member cannot go on"), ("exit", "code 3"), ("die", "SIGKILL")]
)
def test_only_the_guilty_member_fails(cli: Cli, folder: Path, what: str, error: str) -> None:
    """The others are put back, and trained alone; their numbers are those of a study without it."""
    good = study(folder, {"lr": LRS[:3], "what": ""})
    run(cli, good, "name=good", TOGETHER)
    path = study(folder, {"lr": LRS[:3], "what": ["", what]}, retries=0)
    run(cli, path, "name=bad", "workers.fuse=6", code=1)
    found = trials(cli, "bad")
    assert [trial["state"] for trial in found] == ["complete", "failed"] * 3
    assert all(error in trial["error"] for trial in found[1::2])
    assert values(found[::2]) == values(trials(cli, "good"))


def test_a_member_that_diverges_or_is_pruned_ends_alone(cli: Cli, folder: Path) -> None:
    """And the others go on in their places."""
    path = study(folder, {"lr": LRS[:3], "what": ["", "nan"]})
    run(cli, path, "name=nan", "workers.fuse=6", code=1)
    found = trials(cli, "nan")
    assert [trial["state"] for trial in found] == ["complete", "failed"] * 3
    assert "score is nan at step 3" in found[1]["error"]
    assert steps(folder)[2:4] == ["3: 0 1 2 3 4 5", "4: 0 2 4"]
    pruned = study(folder, {"lr": LRS[:3]}, pruner={"type": "threshold", "upper": 16.9})
    run(cli, pruned, "name=pruned", TOGETHER)
    assert values(trials(cli, "pruned"))[1:] == values(trials(cli, "nan"))[2::2]
    assert trials(cli, "pruned")[0]["state"] == "pruned"


def test_too_little_memory_halves_the_group(cli: Cli, folder: Path) -> None:
    """Until the member that needs too much is alone."""
    path = study(folder, {"lr": LRS[:4], "what": ["", "memory"]})
    run(cli, path, "workers.fuse=8", code=1)
    found = trials(cli, "study")
    assert [trial["state"] for trial in found] == ["complete", "failed"] * 4
    sizes = [len(line.split()) - 1 for line in steps(folder) if line.startswith("3:")]
    assert sizes[0] == 8
    assert {size: sizes.count(size) for size in (4, 2)} == {4: 2, 2: 4}


@pytest.mark.parametrize("victim", ["worker", "runner", "behind"])
def test_a_group_resumes_as_it_was(cli: Cli, folder: Path, victim: str) -> None:
    """After a kill -9 of its worker, or of the session, in the middle: every number and record, and the same group.

    A member that is behind the others catches up first, while they stay as they are.
    """
    path = study(folder, {"lr": LRS[:3], "pause": 0.15}, retries=5)
    run(cli, path, "name=whole", TOGETHER)
    (folder / "together.txt").unlink()
    with Running("run", path, "name=killed", TOGETHER, here=folder) as running:
        running.wait_until(lambda: (folder / "together.txt").exists() and len(steps(folder)) >= 3)
        time.sleep(0.07)
        if victim == "worker":
            kill(running.processes("sweep-slot"))
            assert running.end(120) == 0
        else:
            processes = running.processes()
            kill(processes)
            running.end()
            wait_until_gone(processes)
    if victim == "behind":
        [behind] = (folder / "runs" / "killed").glob("0001_*")
        (behind / "checkpoint.previous.pt").replace(behind / "checkpoint.pt")
        (folder / "together.txt").unlink()
    if victim != "worker":
        assert cli("resume", path, "name=killed", TOGETHER).code == 0
    assert outcome(folder / "runs" / "killed") == outcome(folder / "runs" / "whole")
    if victim == "behind":
        assert steps(folder)[0].endswith(": 1")
        assert steps(folder)[-1] == "6: 0 1 2"


AGAIN = """
import os, time
from pathlib import Path

with Path("imports").open("a") as file:
    file.write("x")
if Path("dead").exists():
    if {mode!r} == "fail":
        raise SyntaxError("changed meanwhile")
    if {mode!r} == "stop":
        time.sleep(4)
    if {mode!r} == "die" and not Path("dead twice").exists():
        Path("dead twice").touch()
        os._exit(9)


def train(trial):
    for step in trial.steps(6):
        trial.report(step, {{"score": trial.params["lr"] * step}}, {{"step": step}})


def fused(group):
    group.states
    for step in group.steps(6):
        if step == 5 and not Path("dead").exists():
            Path("dead").touch()
            os._exit(3)
        nan = [member.number == 0 and step == 3 for member in group.members]
        group.report(step, [{{"score": float("nan") if one else 1.0 * step}} for one in nan], [{{"step": step}} for _ in nan])


fused.varies = ("lr", "seed")
train.fused = fused
"""


@pytest.mark.parametrize(
    ("mode", "code", "text"), [("die", 1, ""), ("fail", 2, "changed meanwhile"), ("stop", 143, "resume the study")]
)
def test_a_group_starts_as_a_whole_in_a_new_process(cli: Cli, folder: Path, mode: str, code: int, text: str) -> None:
    """One member has ended and its process dies; the next one dies too, cannot be imported, or is stopped: nothing hangs."""
    (folder / "again.py").write_text(AGAIN.format(mode=mode), encoding="utf-8")
    path = study(folder, {"lr": LRS[:3]}, objective="again:train", retries=2)
    with Running("run", path, "name=again", TOGETHER, "--plain", here=folder) as running:
        if mode == "stop":
            running.wait_until(lambda: (folder / "dead").exists() and len((folder / "imports").read_text()) > 1)
            assert cli("stop", path, "name=again", "--now").code == 0
        assert running.end(60) == code
        assert text in running.out
    if mode == "die":
        assert [trial["state"] for trial in trials(cli, "again")] == ["failed", "complete", "complete"]


RANDOM = """
import os, random
from pathlib import Path

import torch


def train(trial):
    raise NotImplementedError


def fused(group):
    for place, _ in enumerate(group.members):
        group.seed(place)
    totals = [state["total"] if state else 0.0 for state in group.states]
    if {kills} and not Path("dead").exists():
        def end(*_):
            Path("dead").touch()
            os._exit(3)
        group.members[1].trial.report = end
    for step in group.steps(4):
        drawn = torch.rand(len(group)).tolist()
        alive = group.alive
        totals = [total + part * here for total, part, here in zip(totals, drawn, alive)]
        group.report(step, [{{"score": total + random.random()}} for total in totals], [{{"total": total}} for total in totals])


fused.varies = ("lr",)
train.fused = fused
"""


def test_the_random_numbers_of_a_group_go_on(cli: Cli, folder: Path) -> None:
    """Also where it was killed between the checkpoints of two members."""
    for name, kills in (("whole", False), ("killed", True)):
        (folder / "drawn.py").write_text(RANDOM.format(kills=kills), encoding="utf-8")
        run(cli, study(folder, {"lr": LRS[:2]}, objective="drawn:train"), f"name={name}", TOGETHER)
    assert values(trials(cli, "killed")) == values(trials(cli, "whole"))


def test_a_group_has_no_trial_that_the_budget_leaves_out(cli: Cli, folder: Path) -> None:
    """Four trials of ten are those that run without groups."""
    path = study(folder, {"lr": LRS, "w": [1, 2]}, budget={"trials": 4})
    run(cli, path, TOGETHER)
    assert [trial["number"] for trial in trials(cli, "study") if trial["state"] == "complete"] == [0, 1, 2, 3]


def test_what_fused_gives_is_checked(cli: Cli, folder: Path) -> None:
    """Lists that are too short, and `varies` that is none; the trials are then trained alone, or nothing starts."""
    source = (folder / "together.py").read_text(encoding="utf-8")
    (folder / "short.py").write_text(
        source.replace("group.report(step, scores,", "group.report(step, scores[:1],"), encoding="utf-8"
    )
    (folder / "none.py").write_text(source.replace('("lr", "what", "seed")', '"lr"'), encoding="utf-8")
    done = cli("run", study(folder, {"lr": LRS[:2]}, objective="short:train"), TOGETHER, "--plain")
    assert done.code == 0
    assert "metrics must be a list with one entry for each of the 2 members" in done.out
    done = cli("run", study(folder, {"lr": LRS[:2]}, objective="none:train", name="none"), TOGETHER, "--plain")
    assert done.code == 2
    assert "its attribute fused must be a function with a list varies of parameters" in done.err


def test_what_an_objective_cannot_do_is_told(cli: Cli, folder: Path) -> None:
    """And it trains one trial at a time."""
    (folder / "plain.py").write_text("def train(trial):\n    trial.report(1, {'score': trial.params['lr']})\n", encoding="utf-8")
    path = study(folder, {"lr": LRS[:3]}, objective="plain:train")
    done = cli("run", path, TOGETHER, "--plain")
    assert done.code == 0, done.err
    assert "workers.fuse=3 has no effect: the objective has no train.fused" in done.out + done.err
    (folder / "together.txt").unlink(missing_ok=True)
    done = cli(
        "plan", study(folder, {"lr": {"min": 0.1, "max": 0.9}}, method="random", budget={"trials": 2}, name="other"), TOGETHER
    )
    assert "workers.fuse=3 has no effect: method random proposes one trial after the other" in done.out
