"""Parameters that a function suggests itself: drawn as in `study.optimize`, also across interruptions between two questions."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from sweep.search.methods import make_pruner, make_sampler
from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.storage.store import StudyStore
from sweep.study.methods import SAMPLERS
from sweep.study.record import TrialRecord, planned_record
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar, TrialState
from sweep.worker.endings import TrialPruned
from sweep.worker.optuna_trial import OptunaTrial
from tests.support import tuned
from tests.support.studies import study_spec

OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"multivariate": True, "group": True, "n_startup_trials": 5},
    "gp": {"n_startup_trials": 5},
    "cmaes": {"popsize": 5, "sigma0": 0.3},
    "qmc": {"qmc_type": "halton", "scramble": True},
    "nsgaii": {"population_size": 6},
}
METHODS = [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in SAMPLERS]
COUNT = 16
Objective = Callable[[Any], Any]
Trials = list[tuple[str, dict[str, Scalar]]]
pytestmark = pytest.mark.filterwarnings("ignore")


class Killed(BaseException):
    """The runner is killed, just after it has stored something."""


def spec(method: str, **keys: Any) -> StudySpec:
    study = study_spec({}, method=method, budget={"trials": COUNT}, seed=7, **keys)
    assert study.suggests
    return study


def by_optuna(study: StudySpec, objective: Objective, points: tuple[dict[str, Any], ...] = ()) -> Trials:
    plain = optuna.create_study(
        study_name=study.name,
        directions=[optuna.study.StudyDirection[metric.goal.upper()] for metric in study.metrics],
        sampler=make_sampler(study.method, study.seed, study.sampler),
        pruner=make_pruner(study.pruner),
    )
    for point in points:
        plain.enqueue_trial(point)
    plain.optimize(objective, n_trials=COUNT)
    return [(trial.state.name.lower(), trial.params) for trial in plain.trials]


def by_sweep(study: StudySpec, objective: Objective, folder: StudyFolder, kills: random.Random | None = None) -> Trials:
    """Run a study's trials one after the other; after a kill everything is read from the folder again."""
    folder.root.mkdir(parents=True, exist_ok=True)
    found: Trials = []
    while len(found) < COUNT:
        with contextlib.closing(StudyStore(folder, study)) as store, contextlib.suppress(Killed):
            known = store.records()
            planner = Planner(study, known, stored=store.search())
            left = [record for record in known if not record.state.finished]
            found = [(str(record.state), record.params) for record in known if record.state.finished]
            while len(found) < COUNT:
                record = left.pop() if left else None
                if record is None:
                    asked = planner.ask()
                    assert asked is not None
                    record = planned_record(study, *asked)
                    store.start(record, planner.drawn(record.number))
                else:
                    store.start(record)
                    planner.rewind(record.number, ())
                found.append(_trained(study, planner, store, record, objective, kills))
    return found


def _trained(
    study: StudySpec,
    planner: Planner,
    store: StudyStore,
    record: TrialRecord,
    objective: Objective,
    kills: random.Random | None,
) -> tuple[str, dict[str, Scalar]]:
    def stored() -> None:
        if kills is not None and kills.random() < 0.1:
            raise Killed

    def suggest(name: str, domain: Any) -> Scalar:
        nonlocal record
        answer, drawn = planner.suggest(record.number, name, domain)
        assert drawn is not None, answer.refused
        record = dataclasses.replace(record, params={**record.params, name: answer.value})
        store.suggest(record, drawn)
        stored()
        return answer.value

    def report(step: int, metrics: dict[str, float]) -> None:
        nonlocal record
        value = metrics[study.metric.name]
        record = dataclasses.replace(record, step=step, value=value, metrics=metrics)
        pruned = planner.prunes(record.number, step, value)
        store.report(record, planner.rungs(record.number))
        stored()
        if pruned:
            raise TrialPruned

    record = dataclasses.replace(record, params={})
    handle: Any = SimpleNamespace(suggest=suggest, report=report, go_on=lambda: None, set_user_attr=lambda *_: None)
    state, metrics = TrialState.COMPLETE, {}
    try:
        returned = objective(OptunaTrial(handle, study))
        values = returned if isinstance(returned, tuple) else (returned,)
        metrics = {metric.name: value for metric, value in zip(study.metrics, values, strict=True)}
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    value = metrics.get(study.metric.name)
    planner.tell(record.number, state, value, metrics)
    stored()
    record = dataclasses.replace(record, state=state, value=value or record.value, metrics=metrics or record.metrics)
    store.finish(record)
    return str(state), record.params


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("objective", "given"), [(tuned.objective, False), (tuned.static, True)], ids=["defaults", "options"])
def test_the_proposals_are_those_of_study_optimize(here: Path, method: str, given: bool, objective: Objective) -> None:
    """With the same sampler, seed and pruner; conditions, scales and steps are those of the function."""
    study = spec(method, sampler=OPTIONS[method] if given else {}, pruner={"type": "median"})
    found = by_sweep(study, objective, StudyFolder(root=here / "runs"))
    assert found == by_optuna(study, objective)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_search_that_is_killed_anywhere_goes_on_with_the_same_proposals(here: Path, method: str, seed: int) -> None:
    """Between two questions, between two reports, and before the end of a trial is stored."""
    objective = tuned.objective if seed == 1 else tuned.static
    study = spec(method, sampler=OPTIONS[method], pruner={"type": "median"})
    found = by_sweep(study, objective, StudyFolder(root=here / "runs"), random.Random(seed))
    assert found == by_optuna(study, objective)


def test_several_metrics_are_searched_as_by_optuna(here: Path) -> None:
    """The function returns a tuple."""
    metrics = [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "maximize"}]
    study = spec("nsgaii", metric=None, metrics=metrics, sampler=OPTIONS["nsgaii"])
    assert by_sweep(study, tuned.several, StudyFolder(root=here / "runs")) == by_optuna(study, tuned.several)


def test_points_to_try_first_count_by_their_names(here: Path) -> None:
    """What a point leaves out is drawn; what the function does not ask for is left."""
    points = {"layers": 1, "rate": 0.01, "unknown": 5}, {"kind": "sgd", "momentum": 0.5}
    study = spec("tpe", enqueue=list(points))
    found = by_sweep(study, tuned.objective, StudyFolder(root=here / "runs"), random.Random(3))
    assert found == by_optuna(study, tuned.objective, points)
    assert (found[0][1]["layers"], found[0][1]["rate"], found[1][1]["momentum"]) == (1, 0.01, 0.5)


def test_what_optuna_refuses_is_refused_with_its_reason() -> None:
    """Empty ranges, another kind under the same name, and a point to try first that the function does not allow."""
    from sweep.study.space import Choice, Range

    planner = Planner(spec("random", enqueue=[{"x": 5}]))
    asked = planner.ask()
    assert asked == (0, {})
    with warnings.catch_warnings():
        for name, domain, reason in (
            ("a", Range(low=2.0, high=1.0), "low"),
            ("a", Choice(values=()), "choices"),
            ("a", Range(low=0.0, high=math.inf), "a: "),
            ("x", Range(low=0.0, high=1.0), "a point in enqueue has x=5"),
        ):
            answer, drawn = planner.suggest(0, name, domain)
            assert reason in answer.refused
            assert drawn is None
        assert planner.suggest(0, "b", Range(low=0.0, high=1.0))[0].refused == ""
        answer, _ = planner.suggest(0, "b", Range(low=0, high=1))
        assert "Cannot set different distribution kind" in answer.refused
