"""A study file that changed: what is allowed, what is refused, and that numbers stay the same."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import SweepError
from sweep.study.compatibility import resumed_spec
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study
from sweep.study.grid import Grid
from sweep.study.space import Choice, Constant, Domain, Range, axis_size, axis_value, covers
from sweep.study.spec import StudySpec
from tests.conftest import Cli
from tests.support.studies import write_study as write

NOT_AWAY = "values can be added, but not removed"
SOUND = """
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: grid
parameters:
  x: {values: [0.1, 0.2]}
  y: {min: 1, max: 3}
  steps: {value: 3}
"""


def study(folder: Path, *overrides: str) -> StudySpec:
    return read_study(write(folder, SOUND), overrides)


def axis(domain: Domain) -> list[Any]:
    return [axis_value(domain, place) for place in range(axis_size(domain) or 0)]


@st.composite
def growing(draw: st.DrawFn) -> list[dict[str, Domain]]:
    """Draw a space and up to two spaces that extend it with values before, between and after the old ones."""
    spaces: list[dict[str, Domain]] = [{}, {}, {}]
    for name in "abc"[: draw(st.integers(1, 3))]:
        kind = draw(st.sampled_from(["choice", "range", "stepped", "constant", "constant becomes a choice"]))
        if kind == "choice":
            values = draw(st.permutations(range(draw(st.integers(1, 5)))))
            cuts = sorted(draw(st.lists(st.integers(1, len(values)), min_size=2, max_size=2)))
            sets = [set(values[: cuts[0]]), set(values[: cuts[1]]), set(values)]
            for space, kept in zip(spaces, sets, strict=True):
                space[name] = Choice(values=tuple(value for value in sorted(values) if value in kept))
        elif kind == "range":
            bounds = sorted(draw(st.lists(st.integers(0, 9), min_size=6, max_size=6, unique=True)))
            for place, space in enumerate(spaces):
                space[name] = Range(low=bounds[2 - place], high=bounds[3 + place])
        elif kind == "stepped":
            for place, space in enumerate(spaces):
                space[name] = Range(low=0.5 - 0.25 * place, high=1.0 + 0.5 * place, step=0.25)
        elif kind == "constant":
            for place, space in enumerate(spaces):
                space[name] = Constant(value=place)
        else:
            spaces[0][name] = Constant(value=1)
            spaces[1][name] = spaces[2][name] = Choice(values=(0, 1, 2))
    return spaces[: draw(st.integers(1, 3))]


@settings(deadline=None, max_examples=150)
@given(spaces=growing())
def test_an_extended_grid_keeps_its_numbers_and_appends_the_new_points(spaces: list[dict[str, Domain]]) -> None:
    """New points are in the order of the product without the earlier points; constants have their current values."""
    order: list[tuple[Any, ...]] = []
    for space in spaces:
        fixed = _constants(spaces)
        axes = [[None] if name in fixed else axis(domain) for name, domain in space.items()]
        order += [point for point in itertools.product(*axes) if point not in order]
    grid = Grid(spaces=spaces)
    assert grid.size == len(order)
    today = spaces[-1]
    for number, point in enumerate(order):
        expected = {
            name: domain.value if isinstance(domain, Constant) else value
            for (name, domain), value in zip(today.items(), point, strict=True)
        }
        assert grid.point(number) == expected


def _constants(spaces: list[dict[str, Domain]]) -> set[str]:
    return {name for name, domain in spaces[-1].items() if isinstance(domain, Constant)}


def test_an_extended_huge_grid_costs_nothing() -> None:
    """10^18 points and as many new ones are decoded directly."""
    started = time.perf_counter()
    spaces = [{name: Range(low=1, high=high) for name in "abc"} for high in (10**6, 2 * 10**6)]
    grid = Grid(spaces=spaces)
    assert grid.size == 8 * 10**18
    assert grid.point(10**18 - 1) == {"a": 10**6, "b": 10**6, "c": 10**6}
    assert grid.point(10**18) == {"a": 1, "b": 1, "c": 10**6 + 1}
    assert grid.point(8 * 10**18 - 1) == {"a": 2 * 10**6, "b": 2 * 10**6, "c": 2 * 10**6}
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (Choice(values=(1, 2)), Choice(values=(2,)), True),
        (Choice(values=(1, 2)), Choice(values=(1.0,)), False),
        (Choice(values=(True, 2)), Choice(values=(1,)), False),
        (Range(low=1, high=9), Range(low=2, high=8), True),
        (Range(low=1, high=9), Range(low=0, high=8), False),
        (Range(low=1, high=9), Range(low=1, high=9, step=2), True),
        (Range(low=2, high=10, step=2), Range(low=1, high=9, step=2), False),
        (Range(low=1.0, high=9.0), Range(low=2, high=8), False),
        (Range(low=1e-5, high=1.0, log=True), Range(low=1e-4, high=0.1, log=True), True),
        (Range(low=1e-5, high=1.0), Range(low=1e-4, high=0.1, log=True), False),
        (Range(low=0.0, high=1.0), Range(low=0.0, high=1.0, step=0.1), True),
        (Range(low=0.0, high=2.0, step=0.1), Range(low=0.3, high=1.0, step=0.1), True),
        (Range(low=0.0, high=2.0, step=0.1), Range(low=0.25, high=1.05, step=0.1), False),
        (Range(low=0.0, high=2.0), Constant(value=1.5), True),
        (Range(low=0.0, high=2.0), Constant(value=1), False),
        (Range(low=1, high=3), Choice(values=(1, 3)), True),
        (Choice(values=(1, 2, 3)), Range(low=1, high=3), False),
    ],
)
def test_a_domain_covers_another(new: Domain, old: Domain, expected: bool) -> None:  # a table's column
    """It covers another domain if it contains all its values, of the same type and on the same scale."""
    assert covers(new, old) is expected


def test_what_may_change_is_accepted(here: Path) -> None:
    """Budget, workers, constants, added values and wider ranges may change; the earlier parameters are stored once."""
    old = study(here)
    words = ["budget.trials=9", "retries=3", "workers.threads=2", "timeout=3m", "checkpoints.keep_best=1", "metric.target=0.1"]
    assert resumed_spec(old, study(here, *words), "runs/x").earlier == ()
    extended = ["x.values=[0.3, 0.1, 0.2]", "y.max=4", "parameters.z={value: 1}"]
    new = resumed_spec(old, study(here, *extended, "steps.value=5"), "runs/x")
    assert new.earlier == (old.parameters,)
    assert new.total == 3 * 4
    assert [new.grid.point(number)["x"] for number in (0, 5, 6)] == [0.1, 0.2, 0.3]
    assert new.grid.point(0) == {"x": 0.1, "y": 1, "steps": 5, "z": 1}
    assert new.shown["steps"] == Choice(values=(3, 5))
    kept = read_study(write(here, write_study(new), "resolved.yaml"))
    assert kept == new
    assert resumed_spec(kept, study(here, *extended, "steps.value=5"), "runs/x") == new
    assert resumed_spec(kept, study(here, *extended, "y.max=5", "steps.value=5"), "runs/x").earlier == (
        old.parameters,
        new.parameters,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["metric.goal=maximize"], "metric: was loss (minimize), is now loss (maximize)"),
        (["seed=1"], "seed: was 0, is now 1"),
        (["determinism=off"], "determinism: was default, is now off"),
        (["method=random", "budget.trials=3"], "method: was grid, is now random"),
        (["x.values=[0.1]"], f"parameters.x: was {{values: [0.1, 0.2]}}, is now {{values: [0.1]}}; {NOT_AWAY}"),
        (["parameters.x={value: 0.1}"], "parameters.x: was {values: [0.1, 0.2]}, is now {value: 0.1}; it was varied before"),
        (["y.min=2"], f"parameters.y: was {{min: 1, max: 3}}, is now {{min: 2, max: 3}}; {NOT_AWAY}"),
        (["parameters.steps={values: [4]}"], f"parameters.steps: was {{value: 3}}, is now {{values: [4]}}; {NOT_AWAY}"),
        (["parameters.z={values: [1]}"], "parameters.z: was absent, is now {values: [1]}; earlier trials have no value of it"),
    ],
)
def test_what_makes_trials_incomparable_is_refused(here: Path, words: list[str], line: str) -> None:
    """The message has a line for each difference and both solutions; the exit code is 4."""
    with pytest.raises(SweepError) as caught:
        resumed_spec(study(here), study(here, *words), "runs/x")
    assert caught.value.exit_code == 4
    assert caught.value.why == line
    assert "--fresh" in str(caught.value)
    assert "name=" in str(caught.value)


def test_a_grid_does_not_vary_what_was_several_constants(here: Path) -> None:
    """The numbers do not say which trial had which value. A sampler has no numbers and may vary it."""
    changed = resumed_spec(study(here), study(here, "steps.value=5"), "runs/x")
    with pytest.raises(SweepError) as caught:
        resumed_spec(changed, study(here, "parameters.steps={values: [3, 5]}"), "runs/x")
    assert caught.value.why == (
        "parameters.steps: was {value: 3} and {value: 5} in turn, is now {values: [3, 5]}; numbers would not fit"
    )
    words = ["method=tpe", "budget.trials=9"]
    changed = resumed_spec(study(here, *words), study(here, *words, "steps.value=5"), "runs/x")
    assert len(resumed_spec(changed, study(here, *words, "parameters.steps={values: [3, 5]}"), "runs/x").earlier) == 2


def test_a_removed_parameter_and_another_order_are_refused(here: Path) -> None:
    """The names of the old trials' folders have the old parameters in the old order."""
    with pytest.raises(SweepError) as caught:
        resumed_spec(study(here), read_study(write(here, SOUND.replace("  steps: {value: 3}\n", ""))), "runs/x")
    assert caught.value.why == "parameters.steps: was {value: 3}, is now absent"
    swapped = SOUND.replace("  steps: {value: 3}\n", "").replace("parameters:\n", "parameters:\n  steps: {value: 3}\n")
    with pytest.raises(SweepError) as caught:
        resumed_spec(study(here), read_study(write(here, swapped)), "runs/x")
    assert caught.value.why == "order of parameters: was x, y, steps, is now steps, x, y"


@pytest.mark.slow
def test_a_study_that_trained_nothing_yet_may_change_wholly(cli: Cli, here: Path) -> None:
    """A typo that the first trial reveals needs no --fresh."""
    path = write(here, SOUND.replace("toy:train", "nowhere:train"))
    assert cli("run", str(path)).code == 2
    (here / "broken.py").write_text("import no_such_module\ndef train(trial): ...\n")
    path = write(here, SOUND.replace("sweep.objectives.toy:train", "broken:train"))
    assert cli("run", str(path)).code == 2
    done = cli("run", str(write(here, SOUND)), "metric.goal=maximize")
    assert done.code == 0, done.err
