"""The checks of a study file's metrics and constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweep.errors import Problem
from sweep.study.file.source import Source
from sweep.study.methods import SAMPLERS

_INSTEAD = "keep one metric, and write bounds for the others:  constraints: {name: {max: 0.1}}"


def check_metrics(source: Source, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the metrics and constraints.

    Args:
        source: the study file's keys as they are written.
        values: those that are valid by themselves.
    """
    names = [metric.name for metric in values.get("metrics") or ()]
    for place, name in enumerate(names):
        if name in names[:place]:
            yield source.problem(("metrics", place, "name"), f"{name!r} is listed twice", "keep one of the two")
    for bounds in values.get("constraints", ()):
        where, low, high = ("constraints", bounds.metric), bounds.low, bounds.high
        if low is None and high is None:
            yield source.problem(where, "has no bound", f"write {bounds.metric}: {{max: 50000}}, or min, or both")
        elif low is not None and high is not None and low > high:
            yield source.problem(where, f"min ({low}) must not be above max ({high})")
    if len(set(names)) > 1:
        yield from _check_several(source, values)


def _check_several(source: Source, values: Mapping[str, Any]) -> Iterator[Problem]:
    method = values.get("method")
    if method in SAMPLERS and not SAMPLERS[method].several_metrics:
        able = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.several_metrics)
        message = f"{method} can search for one metric only: Optuna's {SAMPLERS[method].optuna} refuses several"
        yield source.problem(("method",), message, f"use one of {able}; or {_INSTEAD}")
    if values.get("pruner", {}).get("type", "none") != "none":
        message = "there are several metrics, and Optuna's pruners compare trials by one value"
        yield source.problem(("pruner",), message, f"remove it; or {_INSTEAD}")
