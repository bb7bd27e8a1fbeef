"""`sweep dashboard`: one study or several, whatever the limit of open files, with a browser where there is a display."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sweep.study.space import Choice, Constant, Domain, Range, side_by_side_space
from sweep.tensorboard.run_writer import RunWriter
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.studies import write_study
from tests.support.tensorboards import TensorBoard

STUDY = """
name: one
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: grid
parameters:
  x:     {values: [0.25, 0.5]}
  y:     {values: [0.1, 0.2]}
  steps: {value: 2}
workers: {per_device: 1}
"""
OTHER = STUDY.replace("name: one", "name: two").replace("values: [0.25, 0.5]", "value: 0.75")


@pytest.mark.slow
def test_several_studies_stand_side_by_side(cli: Cli, here: Path) -> None:
    """One table with the rows and the columns of all, and filters that reach over all of them."""
    for name, text in (("one.yaml", STUDY), ("two.yaml", OTHER)):
        assert cli("run", str(write_study(here, text, name))).code == 0
    with Running("dashboard", "runs/one", "two.yaml", "--no-browser", here=here) as running:
        board = TensorBoard(running.line("#hparams"))
        found = board.wait_for_rows(6)
        assert sorted({row["sessions"][0]["name"].partition("/")[0] for row in found}) == ["one", "two"]
        assert board.hparams()["x"]["domainDiscrete"] == [0.25, 0.5, 0.75]
        assert len(board.rows(x={"filterDiscrete": [0.75]})) == 2
        assert len(board.rows(x={"filterDiscrete": [0.25, 0.75]}, y={"filterDiscrete": [0.1]})) == 2
        place = next(word for word in running.processes()[1].cmdline() if word.startswith("--logdir="))
        running.send(signal.SIGTERM)
        assert running.end(20) == 0
    assert not Path(place.partition("=")[2]).exists()


def test_a_study_that_is_not_there_is_said(cli: Cli, here: Path) -> None:
    """Among several, too; so is a command without any."""
    write_study(here, STUDY)
    missing = cli("dashboard", "study.yaml", "nowhere.yaml")
    assert missing.code == 2
    assert "[study-not-found]" in missing.err
    never_run = cli("dashboard", "study.yaml")
    assert never_run.code == 2
    assert "[no-study]" in never_run.err
    assert "[no-study]" in cli("dashboard", "name=x").err


@pytest.mark.parametrize("wanted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_browser_opens_where_there_is_a_display(cli: Cli, here: Path, wanted: bool) -> None:
    """At the HPARAMS tab of the port that was free, and not if it is not wanted."""
    assert cli("run", str(write_study(here, STUDY)), "x.values=[0.25]", "y.value=0.1").code == 0
    seen, script = here / "seen", here / "browser"
    script.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {seen}\n')
    script.chmod(0o755)
    env = {"DISPLAY": ":0", "BROWSER": f"{script} %s"}
    with Running("dashboard", "runs/one", *([] if wanted else ["--no-browser"]), here=here, env=env) as running:
        address = running.line("#hparams").split()[0]
        if wanted:
            running.wait_until(lambda: seen.exists() and seen.read_text() == address)
        else:
            TensorBoard(address).wait_for_rows(1)  # by now it would have been opened
        running.send(signal.SIGTERM)
        running.end(20)
    assert seen.exists() is wanted


@pytest.mark.slow
def test_more_trials_than_files_may_be_open(here: Path) -> None:
    """1,100 trials under a hard limit of 1,024 open files: every row is there."""
    space: dict[str, Domain] = {"x": Range(low=0, high=1100), "k": Constant(value=1)}
    study = here / "runs" / "many"
    for number in range(1100):
        writer = RunWriter(study / f"{number:04d}_x={number}")
        writer.describe(space, ["score"])
        writer.start_session({"x": number, "k": 1}, space)
        writer.add_scalar("score", number, 1)
        writer.end_session(success=True)
        writer.close()
    (study / "study.yaml").write_text(STUDY)
    (study / "environment.json").write_text("{}")
    with Running("dashboard", "runs/many", "--no-browser", here=here, open_files=1024) as running:
        TensorBoard(running.line("#hparams")).wait_for_rows(1100, metrics=0, seconds=90)
        running.send(signal.SIGTERM)
        running.end(20)


def test_spaces_side_by_side_hold_every_value() -> None:
    """Lists are joined, ranges reach over both; a range beside a word has no common domain."""
    one: dict[str, Domain] = {"a": Constant(value=1), "b": Range(low=0.0, high=1.0), "c": Range(low=1, high=2)}
    two: dict[str, Domain] = {"a": Choice(values=(2, 1)), "b": Constant(value=3.0), "c": Choice(values=("auto",))}
    one["d"], two["e"] = Choice(values=(True,)), Constant(value=None)
    assert side_by_side_space([one, two]) == {
        "a": Choice(values=(1, 2)),
        "b": Range(low=0.0, high=3.0),
        "c": None,
        "d": Choice(values=(True,)),
        "e": Constant(value=None),
    }
