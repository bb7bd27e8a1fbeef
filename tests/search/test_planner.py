"""Planning: grids decoded from their numbers, samplers that depend on nothing but the study and its results."""

from __future__ import annotations

import dataclasses
import itertools
import time
from datetime import datetime
from typing import Any

import pytest

from sweep.search.planner import Planner
from sweep.study.grid import Grid
from sweep.study.metric import MetricSpec
from sweep.study.progress import TrialCounts
from sweep.study.ranking import rank
from sweep.study.record import planned_record
from sweep.study.seeds import derive_seed
from sweep.study.space import Range, axis_size, axis_value
from sweep.study.spec import BudgetSpec, StudySpec
from sweep.study.trial import TrialState
from tests.support.searching import asked
from tests.support.studies import study_spec, trial_record


def make(method: str = "grid", **changes: Any) -> StudySpec:
    study = study_spec(
        {"a": [1, 2], "k": "c", "b": {"min": 0.0, "max": 1.0, "step": 0.5}, "c": [True, False]},
        metric={"name": "loss", "goal": "minimize"},
        method=method,
        budget=None if method == "grid" else {"trials": 10},
    )
    return dataclasses.replace(study, **changes)


def all_of(planner: Planner) -> list[tuple[int, dict[str, object]]]:
    return list(iter(planner.ask, None))  # type: ignore[arg-type]  # a dict of scalars is a dict of objects


def test_a_grid_is_the_product_in_the_files_order() -> None:
    """The number is the place in itertools.product, the last parameter turning fastest; constants are in every point."""
    expected = [{"a": a, "k": "c", "b": b, "c": c} for a, b, c in itertools.product((1, 2), (0.0, 0.5, 1.0), (True, False))]
    assert all_of(Planner(make())) == list(enumerate(expected))


@pytest.mark.parametrize(
    ("domain", "axis"),
    [
        (Range(low=0.0, high=0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (Range(low=1, high=9, step=3), [1, 4, 7]),
        (Range(low=0.0, high=1.0, step=0.3), [0.0, 0.3, 0.6, 0.9]),
        (Range(low=0.0, high=1.0), None),
    ],
)
def test_a_stepped_range_is_an_axis_without_the_dust_of_binary_fractions(domain: Range, axis: list[float] | None) -> None:
    """0.1 * 3 is 0.3; a range without step is no axis."""
    size = axis_size(domain)
    assert (None if size is None else [axis_value(domain, place) for place in range(size)]) == axis


def test_a_huge_grid_costs_nothing() -> None:
    """The first and the last point of 10^18 are decoded at once."""
    grid = Grid(spaces=[{name: Range(low=1, high=10**6) for name in "abc"}])
    started = time.perf_counter()
    assert grid.size == 10**18
    assert grid.point(10**18 - 1) == {"a": 10**6, "b": 10**6, "c": 10**6}
    assert grid.point(10**6) == {"a": 1, "b": 2, "c": 1}
    assert time.perf_counter() - started < 5  # a product would take years
    with pytest.raises(IndexError):
        grid.point(10**18)


def test_a_planner_goes_on_after_what_is_known() -> None:
    """Finished trials and those in flight are not proposed again; the numbers of the others stay."""
    known = [trial_record(0, TrialState.COMPLETE, 1.0), trial_record(3, TrialState.FAILED), trial_record(5, TrialState.RUNNING)]
    assert [number for number, _ in all_of(Planner(make(), known))] == [1, 2, 4, 6, 7, 8, 9, 10, 11]


def test_points_of_a_grid_can_come_first() -> None:
    """Under their own numbers, also when some are known; what a point leaves out has the first value there."""
    first = ({"a": 2, "b": 0.5, "c": False}, {"b": 1.0}, {"b": 7.0})
    study = make(enqueue=first)
    planned = all_of(Planner(study))
    assert [number for number, _ in planned] == [9, 4, 0, 1, 2, 3, 5, 6, 7, 8, 10, 11]
    assert planned[0][1] == {"a": 2, "k": "c", "b": 0.5, "c": False}
    assert planned[1][1] == {"a": 1, "k": "c", "b": 1.0, "c": True}
    known = [trial_record(9, TrialState.COMPLETE, 1.0), trial_record(0, TrialState.FAILED)]
    assert [number for number, _ in all_of(Planner(study, known))][:3] == [4, 1, 2]
    assert [number for number, _ in all_of(Planner(dataclasses.replace(study, budget=BudgetSpec(trials=3))))] == [9, 4, 0]


def test_a_search_that_has_ended_stays_ended() -> None:
    """A trial still running may bring a new best; it does not start the search again."""
    planner = Planner(make(budget=BudgetSpec(patience=2)))
    for _ in range(3):
        asked(planner)
    for number, value in ((0, 1.0), (1, 2.0), (2, 3.0)):
        planner.tell(number, TrialState.COMPLETE, value)
    assert planner.ended_by == "2 trials brought no new best"
    planner.tell(3, TrialState.COMPLETE, 0.1)
    assert planner.ended_by == "2 trials brought no new best"


@pytest.mark.parametrize(
    ("metric", "budget", "values", "ended"),
    [
        (MetricSpec(name="loss", goal="minimize", target=0.5), BudgetSpec(), [0.9, 0.5], "the target 0.5 is reached"),
        (MetricSpec(name="acc", goal="maximize", target=0.5), BudgetSpec(), [0.4, 0.6], "the target 0.5 is reached"),
        (MetricSpec(name="loss", goal="minimize"), BudgetSpec(patience=2), [0.9, 0.9, 1.0], "2 trials brought no new best"),
        (MetricSpec(name="loss", goal="minimize"), BudgetSpec(trials=3), [3, 2, 1], "all trials are done"),
        (MetricSpec(name="loss", goal="minimize"), BudgetSpec(time_s=1e-9), [], "the time is used up"),
    ],
)
def test_the_budget_ends_the_search(metric: MetricSpec, budget: BudgetSpec, values: list[float], ended: str) -> None:
    """By trials in total, time, target and patience; what ended it is said."""
    planner = Planner(make(metrics=(metric,), budget=budget))
    for value in values:
        assert planner.ended_by is None
        planner.tell(asked(planner)[0], TrialState.COMPLETE, value)
    assert planner.ask() is None
    assert planner.ended_by == ended


def test_seeds_are_the_same_on_every_machine() -> None:
    """They are made from the text of their purpose, not from Python's hash."""
    assert derive_seed(0, "repeat", 0) == 411476479
    assert derive_seed(1, "repeat", 0) != derive_seed(0, "repeat", 0) != derive_seed(0, "repeat", 1)


def test_a_parameter_named_seed_chooses_the_trials_seed() -> None:
    """0 is what a study without it has; otherwise the seed is the same for every assignment."""
    study = study_spec({"x": [1, 2], "seed": [0, 1]})
    points = [study.grid.point(number) for number in range(4)]
    seeds = {(point["x"], point["seed"]): planned_record(study, 0, point).seed for point in points}
    assert seeds[1, 0] == seeds[2, 0] == derive_seed(0, "repeat", 0)
    assert seeds[1, 1] == seeds[2, 1] == derive_seed(0, "repeat", 1)


def test_the_best_is_first_and_only_complete_trials_are_ranked() -> None:
    """For either goal; the earlier trial is first among equals."""
    records = [
        trial_record(0, TrialState.COMPLETE, 0.2),
        trial_record(1, TrialState.COMPLETE, 0.1),
        trial_record(2, TrialState.COMPLETE, 0.1),
        trial_record(3, TrialState.FAILED, 0.0),
        trial_record(4, TrialState.RUNNING, 0.0),
    ]
    assert [item.number for item in rank(records, make()).order] == [1, 2, 0]
    assert [item.number for item in rank(records, make(metrics=(MetricSpec(name="a", goal="maximize"),))).order] == [0, 1, 2]
    assert TrialCounts(records).counts(12) == {"waiting": 7, "running": 1, "complete": 3, "pruned": 0, "failed": 1}


def test_the_time_left_comes_from_the_mean_of_what_is_done() -> None:
    """Two left to start and one half done, one slot: 25 s at 10 s each."""
    clock = datetime.fromisoformat("2026-01-01T00:00:05+00:00")
    done = trial_record(0, TrialState.COMPLETE, 1.0, duration_s=10.0)
    running = trial_record(1, TrialState.RUNNING, started="2026-01-01T00:00:00+00:00")
    assert TrialCounts([done, running]).eta_s(4, clock) == 25.0
    assert TrialCounts([done]).eta_s(4, clock) is None
    assert TrialCounts([running]).eta_s(4, clock) is None
