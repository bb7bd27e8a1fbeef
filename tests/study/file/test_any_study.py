"""Any study file: an accepted one runs, a refused one has a message, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sweep.errors import StudyFileError
from sweep.runner.session import run_study
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from sweep.study.trial import TrialState, with_lists
from tests.support.observing import Silent
from tests.support.reading import records

# In one process of pytest-xdist: it trains in this process, which imports torch for it.
pytestmark = pytest.mark.xdist_group("any study")
numbers = st.one_of(st.integers(-3, 5), st.floats(-2, 2, allow_nan=False).map(lambda value: round(value, 3)))
scalars = st.one_of(
    numbers, st.booleans(), st.none(), st.text(max_size=5), st.sampled_from(["../up", "$(touch pwned)", "a/b", "\0"])
)
sound_domains = st.one_of(
    st.builds(lambda value: {"value": value}, numbers),
    st.builds(lambda values: {"values": values}, st.lists(numbers, min_size=1, max_size=3, unique_by=float)),
    st.builds(lambda low, size: {"min": low, "max": low + size}, st.integers(-2, 2), st.integers(1, 2)),
    st.builds(lambda low, steps: {"min": low, "max": low + steps / 4, "step": 0.25}, st.integers(-2, 2), st.integers(1, 3)),
)
values = st.sampled_from([[], [1], [1.5, "a,b"], [None, [True, []]], ["{"], None, "x"])
domains_of_lists = st.one_of(
    st.builds(lambda value: {"value": value}, values),
    st.builds(lambda several: {"values": several}, st.lists(values, min_size=1, max_size=3, unique_by=repr)),
)
odd_domains = st.one_of(
    sound_domains,
    st.builds(lambda values: {"values": values}, st.lists(scalars, max_size=3)),
    st.dictionaries(st.sampled_from(["value", "values", "min", "max", "step", "log", "q", "when", "minn"]), scalars, max_size=3),
    scalars,
)
sound = st.fixed_dictionaries(
    {
        "objective": st.just("sweep.objectives.toy:train"),
        "metric": st.just({"name": "loss", "goal": "minimize"}),
        "method": st.sampled_from(["grid", "random", "tpe"]),
        "parameters": st.builds(
            lambda numbers, other: numbers | other,
            st.dictionaries(st.sampled_from(["x", "y"]), sound_domains, min_size=1, max_size=2),
            st.fixed_dictionaries({}, optional={"other": st.one_of(sound_domains, domains_of_lists)}),
        ),
        "budget": st.builds(lambda trials: {"trials": trials}, st.integers(1, 4)),
    },
    optional={
        "seed": st.integers(0, 5),
        "retries": st.integers(0, 2),
        "timeout": st.sampled_from(["1h", 60, "1m30s"]),
        "checkpoints": st.builds(lambda kept: {"keep_best": kept}, st.integers(0, 3)),
        "stop_after_failures": st.integers(1, 5),
        "workers": st.sampled_from([{"devices": "cpu"}, {"per_device": 1}, {"threads": 1}]),
    },
)
odd = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "objective": st.one_of(
            scalars, st.sampled_from(["sweep.objectives.toy:train", "sweep.objectives.toy:trian", "os:system"])
        ),
        "metric": st.one_of(scalars, st.dictionaries(st.sampled_from(["name", "goal", "target"]), scalars)),
        "method": st.one_of(scalars, st.sampled_from(["grid", "gp", "bayes"])),
        "parameters": st.one_of(scalars, st.dictionaries(st.one_of(st.text(max_size=4), st.just("x")), odd_domains, max_size=3)),
        "budget": st.one_of(scalars, st.dictionaries(st.sampled_from(["trials", "time", "patience", "money"]), scalars)),
        "seed": scalars,
        "repeats": scalars,
        "timeout": scalars,
        "checkpoints": scalars,
        "earlier": scalars,
        "output": scalars,
        "invented": scalars,
    },
)


@contextlib.contextmanager
def written(data: dict[str, Any]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "study.yaml"
        path.write_text(json.dumps(data), encoding="utf-8")  # JSON is valid YAML
        yield path


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=sound)
def test_what_is_accepted_runs(data: dict[str, Any]) -> None:
    """The number of trials and their parameters are as in the file, and nothing is written outside the study's folder."""
    with written(data) as path:
        try:
            study = read_study(path)
        except StudyFileError as error:
            # The only possible mistake in these files: every parameter is a constant.
            assert [problem.key for problem in error.problems] == ["parameters"]  # noqa: PT017
            return
        folder = StudyFolder(root=path.parent / "runs" / study.name)
        outcome = run_study(study, folder, path, Silent(), inline=True)
        assert outcome.exit_code == 0, outcome
        assert study.total is not None
        found = records(folder.root)
        assert len(found) == study.total
        for record in found:
            assert record.state is TrialState.COMPLETE
            assert list(record.params) == list(data["parameters"])
            for name, domain in data["parameters"].items():
                value = with_lists(record.params[name])
                choices = domain.get("values", [domain["value"]] if "value" in domain else None)
                assert value in choices if choices is not None else domain["min"] <= value <= domain["max"]
        assert {item.name for item in path.parent.iterdir()} == {"study.yaml", "runs"}
        assert [item.name for item in (path.parent / "runs").iterdir()] == ["study"]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(base=sound, changes=odd)
@example(
    base={
        "objective": "sweep.objectives.toy:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "method": "grid",
        "parameters": {"x": {"value": 0}},
    },
    changes={"parameters": {"\n": None}},
)
def test_what_is_refused_names_the_reason(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """The message has file, line and key; nothing is written, and no other exception is raised."""
    with written(base | changes) as path:
        try:
            study = read_study(path)
        except StudyFileError as error:
            assert error.problems  # noqa: PT017
            for problem in error.problems:
                assert problem.where.startswith(str(path))
                assert problem.message
                assert "\n" not in str(problem)
        else:
            assert set(changes) - {"invented"} == set(changes)
            assert Path(study.name).name == study.name
        assert [item.name for item in path.parent.iterdir()] == ["study.yaml"]
