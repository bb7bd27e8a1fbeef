"""Words of the command line that mean nothing: each is answered with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli.commands import sweep
from sweep.cli.main import main
from sweep.cli.words import _ALIKE
from tests.support.studies import make_study

WANTED = {
    "start study.yaml": "sweep run study.yaml",
    "train study.yaml x=1": "sweep run study.yaml x=1",
    "list": "sweep trials STUDY",
    "rnu study.yaml": "sweep run study.yaml",
    "Status study.yaml": "sweep status study.yaml",
    "study.yaml x=1": "sweep run study.yaml x=1",
    "runs/study": "sweep --help",
    "help": "sweep docs",
    "frobnicate": "known here: run, resume",
    "run": "sweep run study.yaml",
    "dashboard": "sweep dashboard study.yaml",
    "import": "sweep import study.yaml",
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
