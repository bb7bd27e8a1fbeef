"""Pruners: Optuna's own verdicts, on grids too, the same after an interruption, and `pruned` wherever a trial is shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.errors import StudyFileError
from sweep.search.methods import option_problems
from sweep.storage.database import read_curves, read_records
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from sweep.study.methods import PRUNERS
from sweep.study.spec import StudySpec
from tests.conftest import Cli
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags, scalars
from tests.support.searching import Trained, searched, searched_by_optuna, session
from tests.support.studies import write_objectives, write_study

STUDY = """
name: study
objective: sweep.objectives.toy:train
metric: {name: score, goal: minimize}
method: tpe
parameters:
  x: {min: -5.0, max: 10.0}
budget: {trials: 40}
seed: 3
"""
PRUNER_OPTIONS: dict[str, dict[str, Any]] = {
    "median": {"n_startup_trials": 2, "n_warmup_steps": 2},
    "percentile": {"percentile": 40.0, "n_startup_trials": 2},
    "asha": {"reduction_factor": 2},
    "hyperband": {"max_resource": 12, "reduction_factor": 2},
    "patient": {"patience": 1, "wrapped_pruner": {"type": "median", "n_startup_trials": 1}},
    "wilcoxon": {"p_threshold": 0.3},
    "threshold": {"upper": 30.0},
    "brackets": {"at": [2, 5], "keep": 2},
}
STEPS, COUNT = 12, 20


def spec(here: Path, pruner: str, more: str = "") -> StudySpec:
    options = {"type": pruner} | PRUNER_OPTIONS[pruner]
    return read_study(write_study(here, f"{STUDY}pruner: {options}\n{more}"), option_problems=option_problems)


def curve(params: dict[str, Any], number: int) -> list[dict[str, float]]:
    """A loss that falls to a level of its own, with bumps."""
    x = params["x"]
    return [{"score": (x - 1) ** 2 + 5 / step + math.sin(step * 7 + number * x)} for step in range(1, STEPS + 1)]


@pytest.mark.parametrize("pruner", PRUNER_OPTIONS)
@pytest.mark.filterwarnings("ignore")
def test_a_pruner_decides_what_optunas_pruner_decides(here: Path, pruner: str) -> None:
    """In a plain loop of ask, report and tell, with TPE, which learns from pruned trials."""
    study = spec(here, pruner)
    expected = searched_by_optuna(study, curve, COUNT)
    assert searched(study, curve, COUNT) == expected
    assert any(step < STEPS for _, step in expected)
    assert any(step == STEPS for _, step in expected)


@pytest.mark.parametrize("pruner", PRUNER_OPTIONS)
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_search_prunes_as_if_nothing_had_happened(here: Path, pruner: str) -> None:
    """Killed in the midst of a trial after each third one: the trial continues after its last report."""
    study, folder = spec(here, pruner), StudyFolder(root=here / "runs")
    found: list[Trained] = []
    while len(found) < COUNT:
        found += session(study, curve, 3, folder, killed_at=2)
    assert found[:COUNT] == searched(study, curve, COUNT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{type: medain}", "pruner.type: 'medain' is not known; did you mean 'median'?"),
        ("{n_startup_trials: 3}", "pruner.type: missing; it is one of none, median"),
        ("{type: median, n_start: 3}", "pruner.n_start: pruner median has no such option"),
        ("{type: median, n_startup_trials: soon}", "pruner.n_startup_trials: must be int, got 'soon'"),
        ("{type: percentile}", "pruner: pruner percentile needs percentile"),
        ("{type: percentile, percentile: 400}", "pruner: Percentile must be between 0 and 100"),
        ("{type: patient, patience: 2, wrapped_pruner: {type: nothing}}", "pruner.wrapped_pruner: 'nothing' is not known"),
        ("{type: patient, patience: 2, wrapped_pruner: 3}", "pruner.wrapped_pruner: must be a pruner, got 3"),
        ("median", "pruner: input should be a valid dictionary, got 'median'"),
    ],
)
def test_a_wrong_pruner_is_found_in_the_file(here: Path, text: str, message: str) -> None:
    """With its line, before anything runs."""
    with pytest.raises(StudyFileError) as caught:
        read_study(write_study(here, f"{STUDY}pruner: {text}\n"), option_problems=option_problems)
    assert [str(problem).partition("study.yaml:10: ")[2].startswith(message) for problem in caught.value.problems] == [True]


def test_every_pruner_is_known_by_optunas_class() -> None:
    """A name of the study file is one class, and no two names are the same one."""
    assert len({strategy.optuna for strategy in PRUNERS.values()}) == len(PRUNERS)
    assert all(hasattr(optuna.pruners, strategy.optuna) for strategy in PRUNERS.values() if strategy.optuna)


GRID = """
name: study
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {values: [8, 3, 2, 1]}
  steps: {value: 4}
  sleep: {value: 0}
pruner: {type: median, n_startup_trials: 1, n_warmup_steps: 2}
workers: {per_device: 1}
"""


@pytest.fixture
def grid(here: Path) -> Path:
    """A grid that is pruned."""
    write_objectives(here)
    return write_study(here, GRID)


@pytest.mark.slow
def test_a_pruned_grid_is_pruned_everywhere(grid: Path, cli: Cli) -> None:
    """With its curve and its last value: in the lists, in the database, in the event files."""
    done = cli("run", str(grid))
    assert done.code == 0, done.err
    assert "1 complete, 3 pruned" in done.out
    trials = cli("trials", str(grid), "--format", "json").json
    assert [trial["state"] for trial in trials] == ["complete", "pruned", "pruned", "pruned"]
    assert [trial["value"] for trial in trials] == [2.0, 1.5, 1.0, 0.5]
    folder = StudyFolder(root=grid.parent / "runs" / "study")
    assert read_curves(folder)[1] == [(1, 3.0), (2, 1.5)]
    events = folder.trial_dir(read_records(folder)[1].folder)
    assert [step for step, _ in scalars(events)["score"]] == [1, 2]
    assert cli("status", str(grid), "--json").json["counts"]["pruned"] == 3
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{folder.database}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert study.trials[1].intermediate_values == {1: 3.0, 2: 1.5}
    assert "_hparams_/session_end_info" in hparams_tags(events)


@pytest.mark.slow
def test_a_pruned_study_that_was_interrupted_ends_the_same(grid: Path, cli: Cli) -> None:
    """Every trial has the same state, value and last step as in a run that nobody disturbed."""
    text = (
        GRID.replace("mine:train", "mine:learn")
        .replace("steps: {value: 4}", "steps: {value: 12}")
        .replace("{type: median, n_startup_trials: 1, n_warmup_steps: 2}", "{type: asha, min_resource: 2, reduction_factor: 2}")
        .replace("[8, 3, 2, 1]", "[6, 5, 4, 3, 2, 1]")
    )
    calm = write_study(grid.parent, text.replace("name: study", "name: calm"))
    assert cli("run", str(calm)).code == 0
    study = write_study(grid.parent, text.replace("sleep: {value: 0}", "sleep: {value: 0.1}"))
    folder = StudyFolder(root=grid.parent / "runs" / "study")
    for number in (1, 2, 4):
        when = reached(folder.root, 1, key=(number, 0))
        interrupt("run", str(study), here=grid.parent, when=when, how="SIGINT" if number != 2 else "SIGKILL")
    done = cli("run", str(study))
    assert done.code == 0, done.err
    expected = read_records(StudyFolder(root=grid.parent / "runs" / "calm"))
    found = read_records(folder)
    assert [(r.state, r.value, r.step) for r in found] == [(r.state, r.value, r.step) for r in expected]
    assert {str(record.state) for record in found} == {"complete", "pruned"}


@pytest.mark.slow
def test_epochs_are_a_budget(grid: Path, cli: Cli) -> None:
    """No trial is planned once all of them together were trained for so long; one line says so."""
    done = cli(
        "run", str(write_study(grid.parent, GRID.partition("pruner:")[0] + "workers: {per_device: 1}\nbudget: {epochs: 6}\n"))
    )
    assert done.code == 0, done.err
    assert "the 6 epochs are used up" in done.out
    assert cli("status", str(grid), "--json").json["counts"]["complete"] == 2
