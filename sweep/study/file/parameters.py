"""A parameter in the study file, in this project's spelling or W&B's, and how it becomes a domain."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from sweep.study.file.values import ConditionValues, Number, ParameterName, Scalar, Values, is_finite
from sweep.study.space import RESOLUTION, Choice, Condition, Constant, Domain, Range, axis_size, axis_value

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parameter(BaseModel):
    """One parameter's domain, in this project's spelling or W&B's."""

    # The extra part is for editors; `to_domain` checks it.
    model_config = STRICT | ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["value"]}, {"required": ["values"]}, {"required": ["min", "max"]}]}
    )
    value: Scalar = Field(default=None, description="a constant")
    values: Values | None = Field(default=None, description="the values to choose from")
    min: Number | None = Field(default=None, description="the smallest value; a range of two whole numbers has whole numbers")
    max: Number | None = Field(default=None, description="the largest value")
    step: Number | None = Field(default=None, description="the distance between neighbours, counted from `min`")
    q: Number | None = Field(default=None, description="W&B's word for `step`")
    log: bool = Field(default=False, description="on a logarithmic scale")
    distribution: Literal["uniform", "log_uniform_values", "int_uniform", "q_uniform", "constant", "categorical"] | None = Field(
        default=None, description="W&B's name of the domain; not needed"
    )
    when: dict[str, ConditionValues] | None = Field(
        default=None, description="it applies only if these, above it, have these values"
    )


def _space(value: Any) -> dict[str, Domain]:
    found = TypeAdapter(dict[ParameterName, Parameter]).validate_python(value, strict=True)
    return {name: to_domain(parameter) for name, parameter in found.items()}


Parameters = Annotated[dict[ParameterName, Parameter], Field(min_length=1)]
Spaces = list[Annotated[Any, BeforeValidator(_space, json_schema_input_type=dict[ParameterName, Parameter])]]


def to_domain(parameter: Parameter) -> Domain:
    """Return a parameter's domain.

    Raises:
        ValueError: the keys do not describe a domain; the message says what to write.
    """
    given = parameter.model_fields_set - {"when"}
    when = tuple(Condition(parent=name, values=tuple(values)) for name, values in (parameter.when or {}).items())
    kinds = [kind for kind in ("value", "values") if kind in given] + ["min and max"] * bool(given & {"min", "max"})
    if len(kinds) != 1:
        what = "has no domain" if not kinds else f"has both {' and '.join(kinds)}"
        raise ValueError(f"{what}; give exactly one of value, values, or min and max")
    if "value" in given:
        _only("value", given, parameter, "constant")
        return Constant(value=parameter.value, when=when)
    if "values" in given:
        _only("values", given, parameter, "categorical")
        return Choice(values=_distinct(parameter.values or []), when=when)
    return replace(_range(parameter, given), when=when)


def _only(kind: str, given: set[str], parameter: Parameter, distribution: str) -> None:
    if extra := sorted(given - {kind, "distribution"}):
        raise ValueError(f"{', '.join(extra)}: only ranges (min and max) have that")
    if parameter.distribution not in (None, distribution):
        raise ValueError(f"distribution {parameter.distribution} needs min and max")


def _distinct(values: list[Any]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("values is empty; list at least one")
    seen: dict[Any, Any] = {}
    for value in values:
        if value in seen:
            same = "" if repr(seen[value]) == repr(value) else f" (the same as {seen[value]!r} to Python)"
            raise ValueError(f"{value!r} is listed twice{same}; each value is trained once, use `repeats` for more seeds")
        seen[value] = value
    return tuple(values)


def _range(parameter: Parameter, given: set[str]) -> Range:
    low, high, kind = parameter.min, parameter.max, parameter.distribution
    if low is None or high is None:
        raise ValueError(f"has {'max' if low is None else 'min'} without {'min' if low is None else 'max'}")
    if kind in ("constant", "categorical"):
        raise ValueError(f"distribution {kind} needs {'value' if kind == 'constant' else 'values'}, not min and max")
    if {"step", "q"} <= given:
        raise ValueError("has both step and q, which mean the same; keep one")
    if kind == "q_uniform" and parameter.q is None and parameter.step is None:
        raise ValueError("distribution q_uniform needs q")
    step, log = (parameter.q if parameter.step is None else parameter.step), parameter.log or kind == "log_uniform_values"
    if kind == "int_uniform" and not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError("distribution int_uniform needs whole numbers as min and max")
    if kind in ("uniform", "log_uniform_values", "q_uniform"):
        low, high = float(low), float(high)  # W&B's names determine the type, not the numbers
    if not (isinstance(low, int) and isinstance(high, int)) and (float(low), float(high)) != (low, high):
        low, high = float(low), float(high)  # a whole number that no float can be
    if low >= high:
        raise ValueError(f"min ({low}) must be below max ({high}); for one value write value: {low}")
    if log and low <= 0:
        raise ValueError(f"a log scale needs min above 0, got {low}")
    if not log and not is_finite(high - low):
        raise ValueError(f"max - min is too large for a number; use log: true, or a range of less than {sys.float_info.max:.2g}")
    if step is not None:
        return _stepped(low, high, step, log=log)
    return Range(low=low, high=high, log=log)


def _stepped(low: float, high: float, step: float, *, log: bool) -> Range:
    if log:
        raise ValueError("has both step and log; keep one")
    if step <= 0 or step > high - low:
        raise ValueError(f"step must be above 0 and at most max - min ({high - low:g}), got {step}")
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, int):
        low, high = float(low), float(high)  # {min: 0, max: 1, step: 0.1}
    if not is_finite(high - low + step):  # half a step is added at both ends where a value is drawn
        raise ValueError(f"max - min + step is too large for a number; use less than {sys.float_info.max:.2g}")
    whole = Range(low=low, high=high, step=step)
    finest = max(abs(low) * RESOLUTION, abs(high) * RESOLUTION, sys.float_info.min)
    if not whole.integer and step < finest:
        raise ValueError(f"steps of {step} cannot be told apart in 12 digits; use a step of at least {finest:.2g}")
    last = axis_value(whole, (axis_size(whole) or 1) - 1)  # the largest allowed value, which may be less than max
    assert isinstance(last, (int, float))
    return Range(low=low, high=last, step=step)
