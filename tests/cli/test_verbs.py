"""What holds for every verb: help with an example, completion, and studies as `sweep list` prints them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from sweep.cli.commands import sweep
from sweep.cli.main import main
from sweep.cli.verbs.group import DAILY, complete_study, complete_trial
from tests.conftest import Cli
from tests.support.studies import make_study

WITHOUT_STUDY = {"init", "list", "docs", "doctor", "schema", "completion"}
ABOUT_TRIALS = {"logs", "drop", "note"} & sweep.commands.keys()
# Those that only read, with what else they need.
READING: dict[str, list[str]] = {
    "status": [], "trials": [], "best": [], "logs": ["0"], "report": [], "wait": [], "clean": ["--yes"], "list": [],
    "plan": [], "check": [],
}  # fmt: skip

each_verb = pytest.mark.parametrize("verb", sorted(sweep.commands))


@each_verb
def test_the_help_of_a_verb_has_an_example_that_can_be_typed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole command with this verb, whose words it takes."""
    assert main([verb, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    example = text.partition("For example: ")[2]
    assert example.startswith(f"sweep {verb}"), "add example=, or epilog=with_example(...)"
    words = shlex.split(re.split(r" [|>]|&&|, ", example)[0])
    sweep.commands[verb].make_context(verb, words[2:])


def test_the_verbs_of_every_day_stand_first(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of use, and then the others by name; each with its whole first sentence."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^  ([a-z]+) ", out.partition("\nCommands:\n")[2], flags=re.MULTILINE) == [
        *DAILY,
        *sorted(sweep.commands.keys() - set(DAILY)),
    ]
    assert "Other commands:\n  check" in out
    assert "..." not in out.partition("\nCommands:\n")[2]


@each_verb
def test_a_verb_completes_studies_and_trials(verb: str) -> None:
    """Wherever it takes some."""
    completions = [one._custom_shell_complete for one in sweep.commands[verb].params if isinstance(one, click.Argument)]
    assert (complete_study in completions) == (verb not in WITHOUT_STUDY)
    assert (complete_trial in completions) == (verb in ABOUT_TRIALS)


def test_what_list_prints_names_a_study_for_every_verb(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Relative to the working directory, wherever that is, and with a space in it."""
    (here / "all my runs").mkdir()
    (here / "elsewhere").mkdir()
    make_study(here, {"x": [1]}, objective="sweep.objectives.toy:train", metric={"name": "loss", "goal": "minimize"})
    assert cli("run", "study.yaml", "output=all my runs").code == 0
    monkeypatch.chdir(here / "elsewhere")
    assert main(["list", ".."]) == 0
    word = re.split("  +", capsys.readouterr().out.splitlines()[1])[0]
    assert word == "../all my runs/study"
    for verb, more in READING.items():
        assert main([verb, word, *more]) == 0, verb
    assert main(["resume", word]) == 2
    assert "[nothing-to-resume]" in capsys.readouterr().err
