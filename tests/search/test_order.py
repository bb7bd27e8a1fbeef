"""The order in which a grid's trials are started: the longest first, as far as can be told, where that changes no result."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweep.search.order import Costs, LongestFirst
from sweep.search.planner import Planner
from sweep.study.space import Choice, Space
from sweep.study.spec import BudgetSpec, MetricSpec, StudySpec
from sweep.study.trial import Params
from tests.conftest import Cli
from tests.support.reading import records
from tests.support.studies import make_study, run_record, study_spec

SPACE = {"lr": [0.01, 0.001], "batch_size": [32, 64, 128], "shuffle": [True, False], "epochs": 5}


def study(parameters: Mapping[str, Any] = SPACE, **others: Any) -> StudySpec:
    return dataclasses.replace(study_spec(parameters), **others)


def asked(planner: Planner) -> list[int]:
    numbers = []
    while (found := planner.ask()) is not None:
        numbers.append(found[0])
    return numbers


def test_before_anything_ran_small_batches_and_many_epochs_come_first() -> None:
    """What everybody knows of their names; among equals the file's order."""
    assert asked(Planner(study(), slots=2)) == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
    epochs = {"epochs": [1, 9, 3], "width": [8, 64]}
    assert asked(Planner(study(epochs), slots=2)) == [2, 3, 4, 5, 0, 1]


def test_what_trials_tell_corrects_it() -> None:
    """Here large batches take long, and the width, of which nothing was known, longest."""
    space = {"batch_size": [32, 128], "width": [1, 2, 3]}
    planner = Planner(study(space), slots=2)
    for number, seconds in ((0, 1.0), (1, 3.0), (2, 9.0), (3, 4.0)):
        found = planner.ask()
        assert found is not None
        planner.takes(number, planner.study.grid.point(number), seconds)
    # Whatever was started until then, the fit of the last four is done: batch 128 with width 3 is longer than width 2.
    left = asked(planner)
    assert left == sorted(left, reverse=True)


def test_numbers_stay_and_every_trial_is_planned_once() -> None:
    """Also when the seconds that are told make no sense."""
    generator = random.Random(0)
    planner, numbers = Planner(study(), slots=3), []
    while (found := planner.ask()) is not None:
        number, params = found
        assert params == planner.study.grid.point(number)
        planner.takes(number, params, generator.expovariate(1))
        numbers.append(number)
    assert sorted(numbers) == list(range(12))


def test_the_known_are_learned_from_and_not_planned_again() -> None:
    """A study that goes on knows what its trials took."""
    spec = study()
    known = []
    for number in (0, 2, 4, 5):
        params = spec.grid.point(number)
        took = 1.0 if params["shuffle"] else 50.0
        known.append(run_record(spec, number, params, 1.0, duration_s=took, ended=str(number)))
    left = asked(Planner(spec, known, slots=2))
    assert sorted(left) == [1, 3, 6, 7, 8, 9, 10, 11]
    assert {number % 2 for number in left[:4]} == {1}, "those that are not shuffled take longer here"


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": BudgetSpec(time_s=60)},
        {"budget": BudgetSpec(patience=3)},
        {"budget": BudgetSpec(epochs=100)},
        {"metrics": (MetricSpec(name="score", goal="maximize", target=1.0),)},
        {"pruner": {"type": "median"}},
    ],
)
def test_where_the_order_decides_what_is_run_it_is_the_files(changes: dict[str, Any]) -> None:
    """A budget of time, patience, epochs or a target, and a pruner, would make the results depend on the machine's speed."""
    planner = Planner(study(**changes), slots=2)
    assert [found[0] for _ in range(4) if (found := planner.ask()) is not None] == [0, 1, 2, 3]


def test_one_slot_keeps_the_files_order() -> None:
    """There is nothing to gain."""
    assert asked(Planner(study())) == list(range(12))


def test_a_budget_of_trials_means_the_first_of_the_grid() -> None:
    """In whatever order they are run."""
    assert sorted(asked(Planner(study(budget=BudgetSpec(trials=7)), slots=2))) == list(range(7))


def test_a_grid_of_any_size_costs_nothing_until_its_end_is_near() -> None:
    """Far from the end the order is the file's; nothing looks at all points."""
    planner = Planner(study({f"x{place}": [*range(10)] for place in range(18)}), slots=2)
    assert [found[0] for _ in range(3) if (found := planner.ask()) is not None] == [0, 1, 2]


def makespan(order: list[float], slots: int) -> float:
    free = [0.0] * slots
    for seconds in order:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def test_the_last_slot_hardly_waits() -> None:
    """A grid whose long trials come last, on three slots: close to the work divided by three; in the file's order it is not."""
    spec = study({"width": [1, 2, 4, 20], "kind": ["a", "b"], "lr": [1, 2]})

    def took(params: Params) -> float:
        return float(str(params["width"])) * (1.5 if params["kind"] == "b" else 1.0)

    points = [spec.grid.point(number) for number in range(16)]
    order, running, clock = LongestFirst(spec.parameters, lambda number: points[number]), [(0.0, -1)] * 3, 0.0
    for started in range(16):
        clock, ended = heapq.heappop(running)
        if ended >= 0:
            order.costs.learn(ended, points[ended], took(points[ended]))
        number = order.choose(16 - started, lambda: range(16))
        assert number is not None
        heapq.heappush(running, (clock + took(points[number]), number))
    work = sum(map(took, points))
    longest = max(end for end, _ in running)
    assert longest <= 1.15 * work / 3
    assert makespan([took(point) for point in points], 3) > 1.3 * work / 3
    assert longest < makespan([took(point) for point in points], 3)


def test_factors_are_those_that_made_the_seconds() -> None:
    """Products of one factor for each value are found again, True and 1 apart."""
    space: Space = {"a": Choice(values=(1, True, 5)), "b": Choice(values=("x", "y"))}
    costs, factor = Costs(space), {("int", 1): 1.0, ("bool", 1): 3.0, ("int", 5): 9.0}
    for number, (a, b) in enumerate(itertools.product((1, True, 5), ("x", "y"))):
        for copy in range(5):
            seconds = factor[type(a).__name__, a] * (2.0 if b == "y" else 1.0)
            costs.learn(6 * copy + number, {"a": a, "b": b}, seconds)
    assert costs.fit()
    assert not costs.fit(), "there is nothing new"
    order = sorted(itertools.product((1, True, 5), ("x", "y")), key=lambda ab: costs.expected({"a": ab[0], "b": ab[1]}))
    assert [(type(a).__name__, b) for a, b in order] == [
        ("int", "x"), ("int", "y"), ("bool", "x"), ("bool", "y"), ("int", "x"), ("int", "y")
    ]  # fmt: skip


def test_a_real_sweep_starts_the_longest_first_and_numbers_them_as_in_the_file(cli: Cli, here: Path) -> None:
    """Two slots: the small batches begin; folders, numbers and results are those of the file's order."""
    space = {"x": [1, 2, 3], "batch_size": [128, 8], "steps": 1}
    path = make_study(here, space, workers={"devices": "cpu", "per_device": 2})
    assert cli("run", str(path)).code == 0
    found = records(here / "runs" / "study")
    assert [record.params["batch_size"] for record in found] == [128, 8] * 3
    started = sorted(found, key=lambda record: record.started or "")
    assert {record.params["batch_size"] for record in started[:2]} == {8}
    assert cli("run", str(path), "name=alone", "workers.per_device=1").code == 0
    alone = records(here / "runs" / "alone")
    assert [record.metrics for record in alone] == [record.metrics for record in found]
    assert sorted(alone, key=lambda record: record.started or "") == alone
