"""The order in which a grid's trials are started: the longest first, as far as known, where that changes no result."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.search.order import Durations, LongestFirst
from sweep.search.planner import Planner
from sweep.study.metric import MetricSpec
from sweep.study.record import planned_record
from sweep.study.space import Choice, Constant, Space
from sweep.study.spec import BudgetSpec, StudySpec
from sweep.study.trial import Params, TrialState
from tests.conftest import Cli
from tests.support.reading import records
from tests.support.studies import write_objectives, write_study

SPACE: Space = {
    "lr": Choice(values=(0.01, 0.001)),
    "batch_size": Choice(values=(32, 64, 128)),
    "shuffle": Choice(values=(True, False)),
    "epochs": Constant(value=5),
}


def study(parameters: Space = SPACE, **others: object) -> StudySpec:
    metrics = (MetricSpec(name="score", goal="maximize"),)
    spec = StudySpec(name="grid", objective="a:b", import_dir=".", metrics=metrics, method="grid", parameters=dict(parameters))
    return dataclasses.replace(spec, **others)  # type: ignore[arg-type]  # tests know the fields


def asked(planner: Planner) -> list[int]:
    numbers = []
    while (found := planner.ask()) is not None:
        numbers.append(found[0])
    return numbers


def test_before_anything_ran_small_batches_and_many_epochs_come_first() -> None:
    """By the parameters' names; trials that take equally long are in the file's order."""
    assert asked(Planner(study(), slots=2)) == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
    epochs = {"epochs": Choice(values=(1, 9, 3)), "width": Choice(values=(8, 64))}
    assert asked(Planner(study(epochs), slots=2)) == [2, 3, 4, 5, 0, 1]


def test_measured_durations_correct_it() -> None:
    """Here large batches take long, and the width, of which nothing was known, longest."""
    space = {"batch_size": Choice(values=(32, 128)), "width": Choice(values=(1, 2, 3))}
    planner = Planner(study(space), slots=2)
    for number, seconds in ((0, 1.0), (1, 3.0), (2, 9.0), (3, 4.0)):
        found = planner.ask()
        assert found is not None
        planner.takes(number, planner.study.grid.point(number), seconds)
    # Four trials have reported: batch size 128 with width 3 takes longer than with width 2.
    left = asked(planner)
    assert left == sorted(left, reverse=True)


def test_numbers_stay_and_every_trial_is_planned_once() -> None:
    """Also when the durations follow no pattern."""
    generator = random.Random(0)
    planner, numbers = Planner(study(), slots=3), []
    while (found := planner.ask()) is not None:
        number, params = found
        assert params == planner.study.grid.point(number)
        planner.takes(number, params, generator.expovariate(1))
        numbers.append(number)
    assert sorted(numbers) == list(range(12))


def test_known_trials_are_learned_from_and_not_planned_again() -> None:
    """A resumed study uses the durations of its finished trials."""
    spec = study()
    known = []
    for number in (0, 2, 4, 5):
        params = spec.grid.point(number)
        took = 1.0 if params["shuffle"] else 50.0
        record = planned_record(spec, number, params)
        known.append(dataclasses.replace(record, state=TrialState.COMPLETE, value=1.0, duration_s=took, ended=str(number)))
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
def test_where_the_order_decides_what_is_run_it_is_the_order_of_the_file(changes: dict[str, Any]) -> None:
    """A budget of time, patience, epochs or a target, and a pruner, would make the results depend on the machine's speed."""
    planner = Planner(study(**changes), slots=2)
    assert [found[0] for _ in range(4) if (found := planner.ask()) is not None] == [0, 1, 2, 3]


def test_one_slot_keeps_the_files_order() -> None:
    """No other order would end earlier."""
    assert asked(Planner(study())) == list(range(12))


def test_a_budget_of_trials_means_the_first_of_the_grid() -> None:
    """In whatever order they are run."""
    assert sorted(asked(Planner(study(budget=BudgetSpec(trials=7)), slots=2))) == list(range(7))


def test_a_grid_of_any_size_costs_nothing_until_its_end_is_near() -> None:
    """Until then the order is the file's; the points are not enumerated."""
    space: Space = {f"x{place}": Choice(values=tuple(range(10))) for place in range(18)}
    planner = Planner(study(space), slots=2)
    assert [found[0] for _ in range(3) if (found := planner.ask()) is not None] == [0, 1, 2]


def total_time(space: Space, seconds: list[float], slots: int, *, longest_first: bool) -> float:
    """Simulate a grid on slots of equal speed; return when the last trial ends."""
    grid = study(space).grid
    order = LongestFirst(space, grid.point)
    running = [(0.0, -1)] * slots
    for started in range(grid.size):
        now, ended = heapq.heappop(running)
        if ended >= 0:
            order.durations.learn(ended, grid.point(ended), seconds[ended])
        number = order.choose(grid.size - started, lambda: range(grid.size)) if longest_first else started
        assert number is not None
        heapq.heappush(running, (now + seconds[number], number))
    return max(end for end, _ in running)


def test_the_last_slot_hardly_waits() -> None:
    """A grid whose long trials come last, on three slots: close to the work divided by three; in the file's order it is not."""
    space: Space = {
        "width": Choice(values=(1, 2, 4, 20)),
        "kind": Choice(values=("a", "b")),
        "lr": Choice(values=(1, 2)),
    }
    points = [study(space).grid.point(number) for number in range(16)]
    seconds = [float(str(point["width"])) * (1.5 if point["kind"] == "b" else 1.0) for point in points]
    longest_first, in_order = (total_time(space, seconds, 3, longest_first=first) for first in (True, False))
    assert longest_first <= 1.15 * sum(seconds) / 3
    assert in_order > 1.3 * sum(seconds) / 3
    assert longest_first < in_order


@pytest.mark.parametrize(("slots", "in_order", "longest_first"), [(2, 1.017, 1.0), (8, 1.27, 1.004)])
def test_the_total_time_is_close_to_the_least_possible(slots: int, in_order: float, longest_first: float) -> None:
    """The figures in the docstring of `sweep.search.order`: a grid for an image classifier, some trials longer by chance."""
    space: Space = {
        "lr": Choice(values=(0.01, 0.001)),
        "batch_size": Choice(values=(32, 64, 128)),
        "width": Choice(values=(16, 32, 64, 128)),
        "epochs": Choice(values=(2, 5, 10)),
    }
    generator, seconds = random.Random(0), []
    for point in map(study(space).grid.point, range(72)):
        batch_size, width, epochs = (float(str(point[name])) for name in ("batch_size", "width", "epochs"))
        epoch = 1 + 60_000 / batch_size * 0.002 * (1 + (width / 32) ** 1.5)
        seconds.append(epochs * epoch * generator.lognormvariate(0, 0.05))
    least = sum(seconds) / slots
    assert total_time(space, seconds, slots, longest_first=False) / least == pytest.approx(in_order, abs=0.005)
    assert total_time(space, seconds, slots, longest_first=True) / least == pytest.approx(longest_first, abs=0.005)


def test_factors_are_those_that_made_the_seconds() -> None:
    """Products of one factor for each value are found again, True and 1 apart."""
    space: Space = {"a": Choice(values=(1, True, 5)), "b": Choice(values=("x", "y"))}
    durations, factor = Durations(space), {("int", 1): 1.0, ("bool", 1): 3.0, ("int", 5): 9.0}
    for number, (a, b) in enumerate(itertools.product((1, True, 5), ("x", "y"))):
        for copy in range(5):
            seconds = factor[type(a).__name__, a] * (2.0 if b == "y" else 1.0)
            durations.learn(6 * copy + number, {"a": a, "b": b}, seconds)
    expected = durations.estimator()
    order = sorted(itertools.product((1, True, 5), ("x", "y")), key=lambda ab: expected({"a": ab[0], "b": ab[1]}))
    assert [(type(a).__name__, b) for a, b in order] == [
        ("int", "x"), ("int", "y"), ("bool", "x"), ("bool", "y"), ("int", "x"), ("int", "y")
    ]  # fmt: skip


def test_the_order_is_made_anew_only_when_a_quarter_more_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting what is left takes long, and one more duration changes little."""
    space: Space = {"x": Choice(values=tuple(range(12)))}
    order, looked_at = LongestFirst(space, study(space).grid.point), list[int]()
    estimator = order.durations.estimator

    def watched() -> Callable[[Params], float]:
        looked_at.append(len(order.durations))
        return estimator()

    monkeypatch.setattr(order.durations, "estimator", watched)
    for started in range(12):
        number = order.choose(12 - started, lambda: range(12))
        assert number is not None
        order.durations.learn(number, {"x": number}, 1.0)
    assert looked_at == [0, 1, 2, 3, 4, 5, 7, 9]


TWO_SLOTS = """
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2, 3]}
  batch_size: {values: [128, 8]}
  steps: {value: 1}
workers: {devices: cpu, per_device: 2}
"""


@pytest.mark.slow
def test_a_real_sweep_starts_the_longest_first_and_numbers_them_as_in_the_file(cli: Cli, here: Path) -> None:
    """Two slots: the small batches begin; folders, numbers and results are those of the file's order."""
    write_objectives(here)
    path = write_study(here, TWO_SLOTS)
    assert cli("run", str(path)).code == 0
    found = records(here / "runs" / "study")
    assert [record.params["batch_size"] for record in found] == [128, 8] * 3
    started = sorted(found, key=lambda record: record.started or "")
    assert {record.params["batch_size"] for record in started[:2]} == {8}
    assert cli("run", str(path), "name=alone", "workers.per_device=1").code == 0
    alone = records(here / "runs" / "alone")
    assert [record.metrics for record in alone] == [record.metrics for record in found]
    assert sorted(alone, key=lambda record: record.started or "") == alone
