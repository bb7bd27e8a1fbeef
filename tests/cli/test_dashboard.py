"""`sweep dashboard`: one study or several, whatever the limit of open files, with a browser where there is a display."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.study.space import Choice, Constant, Domain, Range, side_by_side_space
from sweep.tensorboard.writer import TrialWriter
from tests.conftest import Cli, wait_for, write_study
from tests.tensorboard.test_hparams import post, rows

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


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(line.split()[0] for line in process.stdout if "#hparams" in line)


@pytest.mark.slow
def test_several_studies_stand_side_by_side(cli: Cli, here: Path, start: Callable[..., Any]) -> None:
    """One table with the rows and the columns of all, and filters that reach over all of them."""
    for name, text in (("one.yaml", STUDY), ("two.yaml", OTHER)):
        assert cli("run", str(write_study(here, text, name))).code == 0
    process = start("dashboard", "runs/one", "two.yaml", "--no-browser")
    address = address_of(process)
    wait_for(lambda: len(rows(address)) == 6)
    found = wait_for(lambda: all("metricValues" in row for row in rows(address)) and rows(address))
    assert sorted({row["sessions"][0]["name"].partition("/")[0] for row in found}) == ["one", "two"]
    infos = {info["name"]: info for info in post(address, "experiment", {})["hparamInfos"]}
    assert infos["x"]["domainDiscrete"] == [0.25, 0.5, 0.75]
    assert len(rows(address, x={"filterDiscrete": [0.75]})) == 2
    assert len(rows(address, x={"filterDiscrete": [0.25, 0.75]}, y={"filterDiscrete": [0.1]})) == 2
    place = next(word for word in psutil.Process(process.pid).children()[0].cmdline() if word.startswith("--logdir="))
    process.terminate()
    assert process.wait(20) == 0
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
    words = [sys.executable, "-m", "sweep", "dashboard", "runs/one", *([] if wanted else ["--no-browser"])]
    env = os.environ | {"DISPLAY": ":0", "BROWSER": f"{script} %s"}
    with subprocess.Popen(words, cwd=here, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = address_of(process)
            if wanted:
                wait_for(seen.exists)
                wait_for(lambda: seen.read_text() == address)
            else:
                wait_for(lambda: len(rows(address)) == 1)  # by now it would have been opened
        finally:
            process.terminate()
            process.wait(20)
    assert seen.exists() is wanted


@pytest.mark.slow
def test_more_trials_than_files_may_be_open(here: Path) -> None:
    """1,100 trials under a hard limit of 1,024 open files: every row is there."""
    space: dict[str, Domain] = {"x": Range(low=0, high=1100), "k": Constant(value=1)}
    study = here / "runs" / "many"
    for number in range(1100):
        writer = TrialWriter(study / f"{number:04d}_x={number}")
        writer.describe(space, ["score"])
        writer.start_session({"x": number, "k": 1}, space)
        writer.add_scalar("score", number, 1)
        writer.end_session(success=True)
        writer.close()
    (study / "study.yaml").write_text(STUDY)
    (study / "environment.json").write_text("{}")
    words = [sys.executable, "-m", "sweep", "dashboard", "runs/many", "--no-browser"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))  # noqa: E731  # handed to the child as it is
    with subprocess.Popen(words, cwd=here, stdout=subprocess.PIPE, text=True, preexec_fn=limit) as process:  # noqa: PLW1509  # no thread runs here
        try:
            address = address_of(process)
            wait_for(lambda: len(post(address, "session_groups", EVERYTHING)["sessionGroups"]) == 1100, 90)
        finally:
            process.terminate()
            process.wait(20)


EVERYTHING = {
    "allowedStatuses": [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")],
    "colParams": [],
    "sliceSize": 5000,
    "startIndex": 0,
}


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
