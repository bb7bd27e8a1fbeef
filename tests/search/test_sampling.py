"""Methods: Optuna's own samplers, drawn from exactly as Optuna does, also across interruptions."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.errors import SweepError
from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_terms import StoredSearch
from sweep.study.file.reading import read_study
from sweep.study.methods import SAMPLERS
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.searching import asked, searched, searched_by_optuna, session
from tests.support.studies import run_record, write_study

STUDY = """
objective: sweep.objectives.toy:train
metric: {name: score, goal: minimize}
method: METHOD
parameters:
  x: {min: -5.0, max: 10.0}
  y: {min: 1e-3, max: 1.0, log: true}
  n: {min: 1, max: 1000}
  steps: {value: 1}
budget: {trials: 40}
seed: 7
OPTIONS
"""
OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"multivariate": True, "n_startup_trials": 5},
    "gp": {"n_startup_trials": 5},
    "cmaes": {"popsize": 5, "sigma0": 0.3},
    "qmc": {"qmc_type": "halton", "scramble": True},
    "nsgaii": {"population_size": 6},
}
COUNT = 16
METHODS = [
    pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in SAMPLERS
]  # its fits take half a minute


def study_of(here: Path, method: str, options: dict[str, Any], more: str = "") -> StudySpec:
    text = STUDY.replace("METHOD", method).replace("OPTIONS", f"sampler: {options}\n{more}" if options else more)
    return read_study(write_study(here, text.replace("True", "true")))


def score(params: Any) -> float:
    return float((params["x"] - 1) ** 2 + (math.log10(params["y"]) + 1.3) ** 2 + abs(params["n"] - 417) / 1000)


def scores(params: dict[str, Any], _number: int) -> list[dict[str, float]]:
    return [{"score": score(params)}]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given", [False, True], ids=["defaults", "options"])
@pytest.mark.filterwarnings("ignore")
def test_a_method_proposes_what_optunas_sampler_proposes(here: Path, method: str, given: bool) -> None:
    """With the same seed, in a plain loop of ask and tell; one that it proposed before is failed and asked for anew."""
    options = OPTIONS[method] if given else {}
    study = study_of(here, method, options)
    assert study.sampler == options
    assert searched(study, scores, COUNT) == searched_by_optuna(study, scores, COUNT)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_search_goes_on_with_the_same_proposals(here: Path, method: str) -> None:
    """Everything is read from the study's folder again after every seventh trial."""
    study, folder = study_of(here, method, OPTIONS[method]), StudyFolder(root=here / "runs")
    found = [trial for count in (7, 7, COUNT - 14) for trial in session(study, scores, count, folder)]
    assert found == searched(study, scores, COUNT)


def test_a_finite_space_is_tried_without_doubles_and_then_ends(here: Path) -> None:
    """What a sampler proposes again is replaced, and counted."""
    text = STUDY.replace("METHOD", "tpe").replace("{min: -5.0, max: 10.0}", "{values: [0, 1, 2]}")
    text = text.replace("{min: 1e-3, max: 1.0, log: true}", "{values: [0.1, 1.0]}").replace(
        "{min: 1, max: 1000}", "{min: 1, max: 2}"
    )
    study = read_study(write_study(here, text.replace("OPTIONS", "")))
    planner = Planner(study)
    found = []
    while proposed := planner.ask():
        planner.tell(proposed[0], TrialState.COMPLETE, score(proposed[1]))
        found.append(repr(proposed[1]))
    assert len(found) == len(set(found)) == 12
    assert planner.ended_by == "every point of the space is tried"
    assert planner.drawn_again > 0


def test_points_to_try_first_come_first(here: Path) -> None:
    """What a point leaves out is drawn."""
    study = study_of(here, "tpe", {}, "enqueue: [{x: 1, n: 3}, {y: 0.5}]")
    (first, _), (second, _), (third, _) = searched(study, scores, 3)
    assert first["x"] == 1.0
    assert type(first["x"]) is float
    assert first["n"] == 3
    assert 1e-3 <= first["y"] <= 1
    assert second["y"] == 0.5
    assert third["y"] != 0.5


CONDITIONS = """
objective: sweep.objectives.toy:train
metric: {name: score, goal: minimize}
method: METHOD
parameters:
  optimizer: {values: [adam, sgd, lion]}
  momentum:  {values: [0.0, 0.9], when: {optimizer: sgd}}
  nesterov:  {values: [false, true], when: {momentum: 0.9}}
  beta:      {values: [0.9, 0.99, 0.999], when: {optimizer: [adam, lion]}}
  lr:        {values: [0.1, 0.01]}
  warmup:    {value: 3, when: {optimizer: lion, lr: 0.1}}
budget: {trials: 60}
"""


def _expected() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for optimizer in ("adam", "sgd", "lion"):
        middles: list[dict[str, Any]] = [{"beta": beta} for beta in (0.9, 0.99, 0.999)]
        if optimizer == "sgd":
            middles = [{"momentum": 0.0}, {"momentum": 0.9, "nesterov": False}, {"momentum": 0.9, "nesterov": True}]
        for middle in middles:
            for lr in (0.1, 0.01):
                warm = {"warmup": 3} if optimizer == "lion" and lr == 0.1 else {}
                found.append({"optimizer": optimizer, **middle, "lr": lr, **warm})
    return found


def test_a_grid_with_conditions_has_each_different_point_once(here: Path) -> None:
    """A parameter that does not apply is absent, and multiplies nothing."""
    study = read_study(write_study(here, CONDITIONS.replace("METHOD", "grid").replace("60", "1000")))
    expected = _expected()
    assert study.grid.size == study.total == len(expected)
    assert [study.grid.point(number) for number in range(study.grid.size)] == expected


@pytest.mark.parametrize("method", ["random", "tpe", "nsgaii"])
def test_a_search_with_conditions_draws_only_what_applies(here: Path, method: str) -> None:
    """It ends when every point has been tried."""
    study = read_study(write_study(here, CONDITIONS.replace("METHOD", method)))
    planner, found = Planner(study), []
    while proposed := planner.ask():
        found.append(proposed[1])
        planner.tell(proposed[0], TrialState.COMPLETE, float(proposed[0]))
    assert sorted(map(repr, found)) == sorted(map(repr, _expected()))


def test_mistakes_in_the_search_are_all_found_at_once(cli: Cli, here: Path) -> None:
    """Options by Optuna's signature, conditions by their parents, points by their domains."""
    text = (
        CONDITIONS.replace("METHOD", "tpe")
        .replace("{optimizer: sgd}", "{optimiser: sgd}")
        .replace("{momentum: 0.9}", "{lr: 0.1}")
    )
    text = text.replace("[adam, lion]", "[adam, lamb]") + (
        "sampler: {multivarate: true, n_startup_trials: many, gamma: 3}\nenqueue: [{lr: 0.5}, {learning_rate: 0.1}]\n"
    )
    done = cli("check", str(write_study(here, text)))
    assert done.code == 2
    for words in (
        "there is no parameter 'optimiser' above momentum",
        "put lr above nesterov",
        "optimizer is never 'lamb'",
        "multivariate",
        "must be int, got 'many'",
        "gamma",
        "point 1: lr cannot be 0.5",
        "point 2: no parameter 'learning_rate'",
    ):
        assert words in done.err, words


@pytest.mark.slow
def test_a_study_with_conditions_runs_and_is_listed(cli: Cli, here: Path) -> None:
    """From the study file to the table, the folder's own copy of it, and the report."""
    text = CONDITIONS.replace("METHOD", "grid").replace("sweep.objectives.toy:train", "mine:train")
    (here / "mine.py").write_text("def train(trial):\n    return trial.params['lr'] + trial.params.get('momentum', 0.5)\n")
    study = write_study(here, text.replace("{trials: 60}", "{trials: 18}"))
    done = cli("run", str(study))
    assert done.code == 0, done.err
    rows = cli("trials", str(study), "--format", "json").json
    assert [row["params"] for row in rows] == _expected()
    assert cli("run", "runs/study").code == 0
    storage = optuna.storages.RDBStorage(f"sqlite:///{here}/runs/study/study.db")
    kept = optuna.load_study(study_name=None, storage=storage)
    storage.engine.dispose()
    assert all("momentum" in trial.params for trial in kept.trials if trial.params["optimizer"] == "sgd")
    assert all("momentum" not in trial.params for trial in kept.trials if trial.params["optimizer"] != "sgd")
    assert cli("report", str(study)).code == 0


def test_an_optimizer_that_could_run_something_is_refused(here: Path) -> None:
    """What CMA-ES left in a study's folder is looked at before it is unpickled."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("run",))

    study = study_of(here, "cmaes", {})
    record = run_record(study, *asked(Planner(study)), 1.0)
    with pytest.raises(SweepError, match=r"study\.db is damaged"):
        Planner(study, [record], stored=StoredSearch(attributes={0: {"cma:optimizer:0": pickle.dumps(Evil()).hex()}}))


@pytest.mark.slow
def test_a_grid_lists_what_comes_first_among_its_numbers(here: Path, cli: Cli) -> None:
    """With a budget below the grid's size: the point that was chosen, then the first ones; nothing waits at the end."""
    (here / "study.yaml").write_text(
        "objective: sweep.objectives.toy:train\nmetric: {name: loss, goal: minimize}\nmethod: grid\n"
        "parameters: {x: {values: [1, 2, 3, 4]}, y: {value: 0}, steps: {value: 1}}\n"
        "enqueue: [{x: 4}]\nbudget: {trials: 2}\nworkers: {per_device: 1}\n"
    )
    done = cli("run", "study.yaml")
    assert done.code == 0, done.err
    trials = cli("trials", "study.yaml", "--format", "json").json
    assert [(trial["number"], trial["state"], trial["params"]["x"]) for trial in trials] == [
        (0, "complete", 1),
        (3, "complete", 4),
    ]
    assert cli("status", "study.yaml", "--json").json["counts"]["waiting"] == 0
    extended = cli("run", "study.yaml", "budget.trials=3")
    assert extended.code == 0, extended.err
    assert [trial["number"] for trial in cli("trials", "study.yaml", "--format", "json").json] == [0, 1, 3]
