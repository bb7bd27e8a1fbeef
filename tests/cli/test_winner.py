"""The best trial for other programs: its parameters as a file or as words, and all of it in one folder."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.cli.winner import copy_best
from sweep.storage.existing import existing_study
from sweep.study.file.reading import read_study
from sweep.study.space import Constant
from tests.conftest import Cli
from tests.support.studies import study_text, write_study
from tests.worker.test_loading import KEYS, plain

PARAMETERS: dict[str, Any] = {
    "x": [1, 3],
    "name": {"value": "a b's"},
    "layers": {"value": [8, [4]]},
    "shuffle": {"value": True},
    "lr": {"value": 1e-05},
    "nothing": {"value": None},
}
BEST = {"x": 3, "name": "a b's", "layers": [8, [4]], "shuffle": True, "lr": 1e-05, "nothing": None}


def test_the_parameters_are_a_part_of_a_study_file(cli: Cli, here: Path) -> None:
    """They can be pasted into one, and mean the same there."""
    plain(here, PARAMETERS)
    done = cli("best", "runs/study", "--format", "yaml")
    assert done.out.startswith("parameters:\n  x: {value: 3}\n")
    rest = study_text({}, **KEYS | {"name": "settled"})
    found = read_study(write_study(here, rest + done.out, "settled.yaml"))
    assert found.parameters["lr"] == Constant(value=1e-05)
    settled = sweep.run("settled.yaml", inline=True, quiet=True)
    assert sweep.load(settled.dir).params == BEST


def test_the_parameters_are_words_of_a_command_line(cli: Cli, here: Path) -> None:
    """As `${args}` gives them, quoted for a shell."""
    plain(here, PARAMETERS)
    line = cli("best", "runs/study", "--format", "args").out
    assert line == "--x=3 '--name=a b'\"'\"'s' '--layers=[8, [4]]' --shuffle=true --lr=1e-05 --nothing=null\n"
    assert "--name=a b's" in shlex.split(line)


def test_the_best_trial_is_copied(cli: Cli, here: Path) -> None:
    """With all that it needs: it is loaded after the study has gone, from wherever the copy is."""
    folder = plain(here, PARAMETERS)
    before = sweep.load(folder)
    done = cli("best", "runs/study", "--copy", "given/winner")
    assert done.out == "trial 1 is in given/winner\n", done.err
    shutil.rmtree(here / "runs")
    place = (here / "given").rename(here / "elsewhere") / "winner"
    found = sweep.load(place)
    assert (found.number, found.params, found.metrics, found.value, found.state, found.step) == (
        (1, BEST, before.metrics, before.value, before.state, 3)
    )
    assert (found.dir / "own" / "notes.txt").read_text() == "x was 3"
    assert sorted(path.name for path in place.iterdir()) == [
        "README.txt", "checkpoint.pt", "environment.json", "files", "metrics.json", "parameters.json", "parameters.yaml",
        "study.yaml", "trial.json",
    ]  # fmt: skip
    assert json.loads((place / "parameters.json").read_text()) == BEST
    assert json.loads((place / "metrics.json").read_text()) == before.metrics
    text = (place / "README.txt").read_text()
    assert text.startswith("Trial 1 of the study study: score=9\n")
    assert 'best = sweep.load("winner")' in text
    with pytest.raises(sweep.SweepError, match="is a copy of trial 1 alone"):
        sweep.load(place, 0)


def test_a_folder_that_is_in_the_way_stays(here: Path) -> None:
    """An empty one is used; what cannot be done leaves nothing behind."""
    plain(here, {"x": 1})
    (here / "full").mkdir()
    (here / "full" / "mine").touch()
    (here / "file").touch()
    (here / "empty").mkdir()
    snapshot = existing_study(here / "runs" / "study")
    for name, what in (("full", "it is not empty"), ("file", "it is a file"), ("file/inside", "cannot be copied")):
        with pytest.raises(sweep.SweepError, match=what):
            copy_best(snapshot, Path(name))
    copy_best(snapshot, Path("empty"))
    assert sweep.load("empty").number == 0
    assert [path.name for path in (here / "full").iterdir()] == ["mine"]
    assert not [path for path in here.iterdir() if path.name.endswith(".unfinished")]
