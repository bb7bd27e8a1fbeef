"""Golden messages: the wording that a tired person reads, held letter for letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.errors import SweepError, did_you_mean
from sweep.worker.protocol import Died
from tests.conftest import Cli
from tests.support.studies import write_study


def test_an_error_says_what_where_why_and_what_to_do() -> None:
    """Each on its own line, with the stable id at the end of the first; several lines stay aligned."""
    error = SweepError("some-id", "it broke", where="/here", why="because\nof this", do="type this")
    assert str(error) == ("error: it broke  [some-id]\n  where: /here\n  why:   because\n         of this\n  do:    type this")
    assert str(SweepError("some-id", "it broke")) == "error: it broke  [some-id]"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            -9,
            "the worker process was killed by SIGKILL: usually the system was out of memory (see `dmesg`), "
            "or somebody used kill -9",
        ),
        (-11, "the worker process was killed by SIGSEGV: a segmentation fault, in a native library or from too deep a recursion"),
        (-34, "the worker process was killed by SIGRTMIN"),
        (-50, "the worker process was killed by signal 50"),
        (1, "the worker process exited with code 1: something in it called exit, or its interpreter broke"),
        (None, "the worker process vanished"),
    ],
)
def test_a_death_is_described_with_its_likely_cause(code: int | None, text: str) -> None:
    """By signal or exit code."""
    assert Died(exit_code=code).describe() == text


def test_the_nearest_word_is_suggested() -> None:
    """Or all of them when none is near."""
    assert did_you_mean("valus", ["value", "values"]) == "did you mean 'values'?"
    assert did_you_mean("zzz", ["value", "values"]) == "known here: value, values"
    assert did_you_mean("zzz", []) == ""


def test_the_messages_of_the_command_line(cli: Cli, here: Path) -> None:
    """One for each kind of mistake that happens before anything runs."""
    assert cli("run", "nowhere.yaml").err == (
        "error: there is no study file or folder nowhere.yaml  [study-not-found]\n"
        "  do:    go to the folder that holds your studies\n"
    )
    write_study(
        here,
        """
        objective: sweep.objectives.toy:trian
        metric: {name: loss, goal: minimize}
        method: grid
        parameters: {x: {values: [1]}}
        workers: {devices: [7]}
        """,
    )
    assert cli("plan", "study.yaml").err == (
        "error: study.yaml has 1 problem; nothing was started  [study-file]\n"
        "  study.yaml:2: objective: module 'sweep.objectives.toy' has no 'trian'; did you mean 'train'?\n"
    )
    assert cli("plan", "study.yaml", "objective=sweep.objectives.toy:train", env={"CUDA_VISIBLE_DEVICES": ""}).err == (
        "error: workers.devices asks for GPU 7, but none is visible here  [no-such-gpu]\n"
        "  why:   indices count the GPUs that CUDA_VISIBLE_DEVICES lets through, from 0\n"
        "  do:    sweep doctor          shows the devices\n"
        "         workers.devices=auto  takes what there is\n"
    )
    assert cli("resume", "study.yaml", "objective=sweep.objectives.toy:train").err == (
        f"error: there is no study in {here}/runs/study  [nothing-to-resume]\n  do:    sweep run study.yaml\n"
    )
    assert cli("dashboard", "study.yaml").err == (
        f"error: there is no study in {here}/runs/study yet  [no-study]\n  do:    sweep run study.yaml\n"
    )
