"""What a trial does to its process, and what it starts: the next trial finds nothing of it, and no number changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hostile import leaving
from tests.support.command_line import COMMAND, run_sweep
from tests.support.studies import study_text, write_study
from tests.support.waiting import alive

pytestmark = pytest.mark.slow
CASES = [name for name in leaving.LEAVES if not name.startswith("nothing")]
FAIL = {"an error", "an exit", "an interrupt", "an error in another folder"}


class Left:
    """A study in which each trial leaves something, and is followed by one that leaves nothing.

    Attributes:
        trials: as `sweep trials` prints them, by what they leave.
    """

    def __init__(self, folder: Path, names: list[str], workers: int) -> None:
        (folder / "mine.py").write_text(Path(leaving.__file__).read_text())
        (folder / "lazily.py").write_text("counter = 0\n")
        text = study_text(
            {"leaves": names}, workers={"devices": "cpu", "per_device": workers}, stop_after_failures=1000, timeout="60s"
        )
        few = ("bash", "-c", 'ulimit -n 1024 && exec "$@"', "-", *COMMAND)  # so that a trial can leave too many files open
        done = run_sweep("run", str(write_study(folder, text)), here=folder, command=few)
        self.out = done.out + done.err
        assert "Traceback" not in done.err, self.out
        self.code = done.code
        found: Any = run_sweep("trials", "runs/study", "--format", "json", here=folder).json
        self.trials = {trial["params"]["leaves"]: trial for trial in found}
        self.order = [trial["params"]["leaves"] for trial in sorted(found, key=lambda trial: trial["number"])]

    def file(self, name: str, file: str) -> str:
        """Return the text of a trial's file, empty if there is none."""
        path = Path(self.trials[name]["dir"], file)
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """All of them one after another, in one worker."""
    return Left(tmp_path_factory.mktemp("one"), ["nothing", *CASES, "nothing again"], 1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """In the opposite order, four at a time."""
    return Left(tmp_path_factory.mktemp("other"), [*CASES[::-1], "nothing"], 4)


@pytest.mark.parametrize("name", CASES)
def test_the_next_trial_finds_nothing_of_it(one: Left, name: str) -> None:
    """It finds what the very first trial found."""
    following = one.order[one.order.index(name) + 1]
    assert json.loads(one.file(following, "found.json")) == json.loads(one.file("nothing", "found.json")), one.out


@pytest.mark.parametrize("name", CASES)
def test_its_result_is_the_same_in_any_order_and_with_any_number_of_workers(one: Left, other: Left, name: str) -> None:
    """All trials have one seed and train alike, so all have the same numbers; those that fail fail in both."""
    state = "failed" if name in FAIL else "complete"
    assert (one.trials[name]["state"], one.trials[name]["attempts"]) == (state, 1), one.trials[name]["error"]
    for trial in (one.trials[name], other.trials[name]):
        assert (trial["state"], trial["metrics"]) == (state, one.trials["nothing"]["metrics"])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("a child", "a daemon", "a copy that keeps"))])
def test_what_it_started_ends_with_it(one: Left, other: Left, name: str) -> None:
    """In whatever session it is."""
    for study in (one, other):
        pid = int(study.file(name, "child"))
        assert not psutil.pid_exists(pid) or not alive(psutil.Process(pid))
