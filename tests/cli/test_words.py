"""Words of the command line that mean nothing: each is answered with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli import run
from sweep.cli.commands import sweep
from sweep.cli.main import main
from sweep.cli.target import Target
from sweep.cli.words import _ALIKE
from tests.support.studies import make_study

WANTED = {
    "start study.yaml": "sweep run study.yaml",
    "train study.yaml x=1": "sweep run study.yaml x=1",
    "ls": "sweep list",
    "tail study.yaml 3": "sweep logs study.yaml 3",
    "rnu study.yaml": "sweep run study.yaml",
    "Status study.yaml": "sweep status study.yaml",
    "study.yaml x=1": "sweep run study.yaml x=1",
    "runs/study": "sweep --help",
    "help": "sweep docs",
    "frobnicate": "known here: init, run, resume",
    "run": "sweep run study.yaml",
    "dashboard": "sweep dashboard study.yaml",
    "import": "sweep import study.yaml",
    "new train.py": "sweep init train.py",
    "run study.yaml --lr 0.1": "sweep run STUDY lr.value=...",
    "run study.yaml --frsh": "--fresh",
    "docs --bogus": "No such option",
}


@pytest.mark.parametrize("words", WANTED)
def test_the_answer_says_what_to_type(words: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    make_study(here, {"x": [1]})
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert WANTED[words] in said.err
    assert said.out == ""


def test_a_verb_without_a_study_shows_where_to_begin(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no study file."""
    assert main(["run"]) == 2
    assert "sweep docs study-file" in capsys.readouterr().err


def test_every_word_stands_for_a_verb_that_there_is() -> None:
    """And for one only; no verb stands for another."""
    words = [word for alike in _ALIKE.values() for word in alike.split()]
    assert _ALIKE.keys() <= sweep.commands.keys()
    assert len(words) == len(set(words))
    assert not sweep.commands.keys() & set(words)


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("run study.yaml --ray", None),
        ("run study.yaml --ray 10.0.0.1:6379", "10.0.0.1:6379"),
        ("run study.yaml --ray=auto", "auto"),
        ("run --ray auto study.yaml", "auto"),
        ("run --ray study.yaml", None),
        ("run study.yaml --ray x.values=[1] --plain", None),
        ("resume study.yaml workers.address=h:1 --ray --plain", None),
    ],
)
def test_ray_is_an_override(words: str, address: str | None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the engine and of the address, also of one in the file; the word after it is an address where it can be one."""
    make_study(here, {"x": [1]}, workers={"engine": "local", "address": "old:1"})
    ran: list[Target] = []
    for verb in ("run_target", "resume_target"):
        monkeypatch.setattr(run, verb, lambda target, **_options: ran.append(target))
    assert main(words.split()) == 0
    (target,) = ran
    assert (target.study.workers.engine, target.study.workers.address) == ("ray", address)
