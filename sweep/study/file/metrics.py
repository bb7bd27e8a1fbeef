"""What a study file says that trials are to be good at: one metric or several, and constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweep.errors import Problem
from sweep.study.file.schema import StudyModel
from sweep.study.file.source import Source
from sweep.study.methods import SAMPLERS
from sweep.study.spec import ConstraintSpec, MetricSpec, StudySpec

_INSTEAD = "keep one metric, and write bounds for the others:  constraints: {name: {max: 0.1}}"


def problems(source: Source, keys: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with them.

    Args:
        source: the study file's keys as they are written.
        keys: those that are well by themselves.
    """
    given = [key for key in ("metric", "metrics") if source.data.get(key) is not None]
    if not given:
        what = StudyModel.model_fields["metric"].description
        yield source.problem(("metric",), "missing", f"it is {what}; or write metrics: for a list of several")
    elif len(given) == 2:
        yield source.problem(("metrics",), "stands beside metric", "keep one of the two")
    seen: set[str] = set()
    for place, metric in enumerate(keys.get("metrics") or ()):
        if metric.name in seen:
            yield source.problem(("metrics", place, "name"), f"{metric.name!r} is listed twice", "keep one of the two")
        seen.add(metric.name)
    for name, bounds in keys.get("constraints", {}).items():
        if bounds.min is None and bounds.max is None:
            yield source.problem(("constraints", name), "has no bound", f"write {name}: {{max: 50000}}, or min, or both")
        elif bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
            yield source.problem(("constraints", name), f"min ({bounds.min}) must not be above max ({bounds.max})")
    if len(seen) > 1:
        yield from _not_for_several(source, keys)


def _not_for_several(source: Source, keys: Mapping[str, Any]) -> Iterator[Problem]:
    method = keys.get("method")
    if method in SAMPLERS and not SAMPLERS[method].several_metrics:
        able = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.several_metrics)
        message = f"{method} can search for one metric only: Optuna's {SAMPLERS[method].optuna} refuses several"
        yield source.problem(("method",), message, f"use one of {able}; or {_INSTEAD}")
    if keys.get("pruner", {}).get("type", "none") != "none":
        message = "there are several metrics, and Optuna's pruners compare trials by one value"
        yield source.problem(("pruner",), message, f"remove it; or {_INSTEAD}")


def metrics(keys: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    """Return the metrics of a study file without problems."""
    found = keys["metrics"] or [keys["metric"]]
    return tuple(MetricSpec(name=metric.name, goal=metric.goal, target=metric.target) for metric in found)


def constraints(keys: Mapping[str, Any]) -> tuple[ConstraintSpec, ...]:
    """Return the constraints of a study file without problems."""
    return tuple(ConstraintSpec(metric=name, low=bounds.min, high=bounds.max) for name, bounds in keys["constraints"].items())


def written(study: StudySpec) -> dict[str, Any]:
    """Return a study's metrics and constraints as a study file has them, None for a key that it does not have."""
    listed = [_given({"name": metric.name, "goal": metric.goal, "target": metric.target}) for metric in study.metrics]
    bounds = {item.metric: _given({"min": item.low, "max": item.high}) for item in study.constraints}
    return {
        "metric": listed[0] if len(listed) == 1 else None,
        "metrics": listed if len(listed) > 1 else None,
        "constraints": bounds or None,
    }


def _given(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}
