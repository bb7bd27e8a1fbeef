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
from tests.support.studies import study_text, write_objectives, write_study
from tests.worker.test_loading import KEYS, finished, plain

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
    (here / "link").symlink_to("empty")
    before = (here / "empty").stat().st_ino
    copy_best(snapshot, Path("link"))
    assert sweep.load("empty").number == 0
    assert (here / "empty").stat().st_ino == before  # a shell may be in it
    assert not [path for path in (here / "empty").iterdir() if path.name.startswith(".")]
    assert [path.name for path in (here / "full").iterdir()] == ["mine"]
    assert not [path for path in here.iterdir() if path.name.endswith(".unfinished")]


def test_a_copy_is_of_one_repeat(here: Path) -> None:
    """Its state is not taken for another one's; the folder for the objective's own files is there, though it is empty."""
    write_objectives(here)
    folder = finished(here, {"x": [1, 2], "steps": 1}, objective="mine:learn", repeats=2)
    copy_best(existing_study(folder), here / "winner")
    assert sweep.load("winner", repeat=0).state is not None
    assert list(sweep.load("winner").dir.iterdir()) == []
    with pytest.raises(sweep.SweepError, match="is a copy of repeat 0 of trial 1 alone, not of repeat 1"):
        sweep.load("winner", repeat=1)


def test_a_copy_without_the_checkpoint_says_so(cli: Cli, here: Path) -> None:
    """It has the rest."""
    (plain(here, {"x": [1, 3]}) / "0001_x=3" / "checkpoint.pt").unlink()
    done = cli("best", "runs/study", "--copy", "winner")
    assert done.out == "trial 1 is in winner, without its checkpoint, which was not kept\n"
    assert sweep.load("winner").params == {"x": 3}


@pytest.mark.parametrize("words", [("--copy", "winner", "--format", "json"), ("--format", "yaml", "--top", "3")])
def test_options_that_would_be_ignored_are_refused(cli: Cli, here: Path, words: tuple[str, ...]) -> None:
    """Whoever types them expects something else."""
    done = cli("best", str(plain(here, {"x": 1})), *words)
    assert done.code == 2
    assert "is for the best trial alone" in done.err
    assert not (here / "winner").exists()
