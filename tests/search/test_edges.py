"""Domains at the edge of what can be computed: refused, or every proposal is inside, of Python's types, and new."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweep.errors import StudyFileError
from sweep.search.planner import Planner
from sweep.study.condition import Condition
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study
from sweep.study.grid import Grid
from sweep.study.space import Choice, Constant, Domain, Range, assignment, axis_size, axis_value
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import study_spec

EDGES = [
    0,
    1,
    -1,
    2**53,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    10**20,
    10**400,
    5e-324,
    1e-300,
    1e308,
    -1e308,
    0.1,
    0.10000000000000002,
]
numbers = st.sampled_from(EDGES) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.floats(-10, 10)
ranges = st.fixed_dictionaries({"min": numbers, "max": numbers}, optional={"step": numbers, "log": st.booleans()})
listed = st.builds(lambda values: {"values": values}, st.lists(numbers, min_size=1, max_size=4))
domains = st.one_of(
    ranges, ranges.map(lambda keys: keys | {"max": keys["min"] + abs(keys["max"])} if _adds(keys) else keys), listed
)


def _adds(keys: dict[str, Any]) -> bool:
    try:
        return math.isfinite(keys["min"] + abs(keys["max"]))
    except OverflowError:
        return False


def study_of(domain: Any, method: str, **keys: Any) -> StudySpec | None:
    """Return a study that has a parameter with this domain, None if it is refused."""
    found: list[StudySpec] = []
    with contextlib.suppress(StudyFileError):
        found.append(study_spec({"x": domain, "other": [1, 2]}, method=method, budget={"trials": 3}, **keys))
    return found[0] if found else None


@settings(deadline=None, max_examples=40)
@given(domain=domains, method=st.sampled_from(["grid", "random", "tpe"]))
def test_any_range_is_refused_or_drawn_from(
    domain: dict[str, Any], method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No proposal is outside, infinite, or of another type; and the written study means the same."""
    study = study_of(domain, method)
    assume(study is not None)
    assert study is not None
    planner, of, seen = Planner(study), study.parameters["x"], []
    for _ in range(3):
        if (asked := planner.ask()) is None:
            break
        number, params = asked
        seen.append(params)
        value = params["x"]
        if isinstance(of, Range):
            assert type(value) is (int if of.integer else float)
            assert of.low <= value <= of.high
        elif isinstance(of, Choice):
            assert any(type(value) is type(other) and value == other for other in of.values)
        planner.tell(number, TrialState.COMPLETE, 1.0, {"score": 1.0})
    points = study.points
    assert len(seen) == (3 if points is None else min(3, points))
    if points is not None:
        assert len({repr(params) for params in seen}) == len(seen)
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(write_study(study))
    assert read_study(path, import_dir=Path(study.import_dir), find_objective=False) == study


@settings(deadline=None, max_examples=80)
@given(
    low=st.floats(-1e6, 1e6),
    step=st.floats(1e-12, 1e3),
    count=st.integers(1, 2000),
    place=st.integers(0, 2000),
)
def test_neighbours_on_a_grid_are_different(low: float, step: float, count: int, place: int) -> None:
    """However fine the steps are that are accepted."""
    study = study_of({"min": low, "max": low + step * count, "step": step}, "grid")
    assume(study is not None)
    assert study is not None
    domain = study.parameters["x"]
    size = axis_size(domain) or 0
    place %= max(1, size - 1)
    assert size < 2 or axis_value(domain, place) != axis_value(domain, place + 1)


def test_values_that_differ_in_the_last_bit_are_both_tried() -> None:
    """A search through a finite space ends when it has proposed every point."""
    study = study_of({"values": [0.3, 0.30000000000000004]}, "random")
    assert study is not None
    planner = Planner(study)
    seen = {repr(asked[1]["x"]) for _ in range(3) if (asked := planner.ask())}
    assert seen == {"0.3", "0.30000000000000004"}


def test_a_seed_of_any_size_seeds_a_sampler() -> None:
    """NumPy's seeds are smaller than those of a study."""
    study = study_of([1, 2, 3], "random", seed=2**63 - 1)
    assert study is not None
    assert Planner(study).ask() is not None


def test_whole_numbers_keep_their_places_beyond_floats() -> None:
    """A grid finds a point to try first exactly."""
    study = study_spec({"x": {"min": 2**60, "max": 2**60 + 9}}, enqueue=[{"x": 2**60 + 7}])
    asked = Planner(study).ask()
    assert asked == (7, {"x": 2**60 + 7})


kinds: st.SearchStrategy[Domain] = st.sampled_from(
    [
        Constant(value="a"),
        Choice(values=(1, 2.0, "a")),
        Choice(values=(True, False)),
        Range(low=1, high=4),
        Range(low=0.0, high=0.3, step=0.1),
    ]
)


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Domain]:
    """Draw a space of a few parameters, some of which depend on earlier ones."""
    from dataclasses import replace

    space: dict[str, Domain] = {}
    for place in range(draw(st.integers(1, 5))):
        domain, when = draw(kinds), []
        for name, parent in space.items():
            if draw(st.integers(0, 2)) == 0:
                every = [axis_value(parent, at) for at in range(axis_size(parent) or 0)]
                when.append(Condition(parent=name, values=tuple(draw(st.lists(st.sampled_from(every), min_size=1, max_size=3)))))
        space[f"p{place}"] = replace(domain, when=tuple(when))
    return space


def _chosen(point: dict[str, Any], name: str, _: Domain) -> Any:
    return point[name]


@settings(deadline=None, max_examples=60)
@given(space=spaces())
def test_a_grid_with_conditions_is_the_product_without_what_does_not_apply(space: dict[str, Domain]) -> None:
    """In the product's order, each different point once."""
    axes = [[axis_value(domain, at) for at in range(axis_size(domain) or 0)] for domain in space.values()]
    points = (dict(zip(space, point, strict=True)) for point in itertools.product(*axes))
    every = [assignment(space, functools.partial(_chosen, point)) for point in points]
    expected = list({repr(params): params for params in every}.values())
    grid = Grid(spaces=[space])
    assert grid.size == len(expected)
    assert [repr(grid.point(number)) for number in range(grid.size)] == [repr(params) for params in expected]


def test_a_condition_on_a_huge_axis_costs_nothing() -> None:
    """Only the values that a condition lists are looked at one by one."""
    space: dict[str, Domain] = {
        "x": Range(low=0, high=10**18),
        "y": Choice(values=(1, 2), when=(Condition(parent="x", values=(7, 10**18)),)),
    }
    grid = Grid(spaces=[space])
    assert grid.size == 10**18 + 3
    assert [grid.point(number) for number in (6, 7, 8, 9, grid.size - 1)] == [
        {"x": 6},
        {"x": 7, "y": 1},
        {"x": 7, "y": 2},
        {"x": 8},
        {"x": 10**18, "y": 2},
    ]


def test_conditions_that_cannot_be_counted_are_refused() -> None:
    """Each of thirty parameters decides on its own whether a later one applies."""
    parents: dict[str, Domain] = {f"a{place}": Choice(values=(1, 2)) for place in range(30)}
    children: dict[str, Domain] = {
        f"b{place}": Choice(values=(1, 2), when=(Condition(parent=f"a{place}", values=(1,)),)) for place in range(30)
    }
    with pytest.raises(ValueError, match="too many combinations"):
        _ = Grid(spaces=[parents | children]).size
