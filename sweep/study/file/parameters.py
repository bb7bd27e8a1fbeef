"""A parameter in the study file, in this project's spelling or W&B's, and how it becomes a domain."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from sweep.study.condition import Condition
from sweep.study.distribution import PARAMETERS_OF, Distribution
from sweep.study.file.values import ConditionValues, Number, Pairs, ParameterName, Scalar, Values, is_finite
from sweep.study.space import RESOLUTION, Choice, Constant, Domain, Inherited, Range, axis_size, axis_value

_DISTRIBUTIONS = (*PARAMETERS_OF, "uniform", "log_uniform_values", "int_uniform", "q_uniform", "constant", "categorical")
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parameter(BaseModel):
    """One parameter's domain, in this project's spelling or W&B's."""

    # The extra part is for editors; `to_domain` checks it.
    model_config = STRICT | ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["value"]},
                {"required": ["values"]},
                {"required": ["min", "max"]},
                {"required": ["inherited"]},
                {"required": ["distribution"], "properties": {"distribution": {"enum": [*PARAMETERS_OF]}}},
            ]
        }
    )
    value: Scalar = Field(default=None, description="a constant")
    values: Values | None = Field(default=None, description="the values to choose from")
    probabilities: list[Number] | None = Field(default=None, description="of each of the values; together 1")
    min: Number | None = Field(default=None, description="the smallest value; a range of two whole numbers has whole numbers")
    max: Number | None = Field(default=None, description="the largest value")
    step: Number | None = Field(default=None, description="the distance between neighbours, counted from `min`")
    q: Number | None = Field(default=None, description="W&B's word for `step`")
    log: bool = Field(default=False, description="on a logarithmic scale")
    round: Number | None = Field(default=None, description="values are drawn and rounded to a multiple of this")
    distribution: Literal[_DISTRIBUTIONS] | None = Field(  # type: ignore[valid-type]  # these words
        default=None, description="`normal`, `log_normal` or `beta`; W&B's other names are not needed"
    )
    mu: Number = Field(default=0, description="the mean of a normal distribution, or of the logarithm of a log_normal one")
    sigma: Number = Field(default=1, description="its standard deviation")
    a: Number = Field(default=1, description="the first parameter of a beta distribution")
    b: Number = Field(default=1, description="the second one")
    inherited: Pairs = Field(default=None, description="written by sweep into a study's folder: each parent with its value")
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
    if parameter.distribution in PARAMETERS_OF:
        return replace(_distributed(parameter, given), when=when)
    if own := sorted(given & {name for names in PARAMETERS_OF.values() for name in names}):
        able = " or ".join(kind for kind, names in PARAMETERS_OF.items() if own[0] in names)
        raise ValueError(f"{own[0]} needs distribution: {able}")
    kinds = [kind for kind in ("value", "values", "inherited") if kind in given] + ["min and max"] * bool(given & {"min", "max"})
    if len(kinds) != 1:
        what = "has no domain" if not kinds else f"has both {' and '.join(kinds)}"
        raise ValueError(f"{what}; give exactly one of value, values, or min and max")
    if "value" in given:
        _only("value", given, parameter, "constant")
        return Constant(value=parameter.value, when=when)
    if "values" in given:
        _only("values", given - {"probabilities"}, parameter, "categorical")
        values = _distinct(parameter.values or [])
        return Choice(values=values, probabilities=_probabilities(parameter.probabilities, len(values)), when=when)
    if "probabilities" in given:
        raise ValueError("probabilities needs values")
    if "inherited" in given:
        _only("inherited", given, parameter, "constant")
        return Inherited(values=parameter.inherited, when=when)
    return replace(_range(parameter, given), when=when)


def _only(kind: str, given: set[str], parameter: Parameter, distribution: str) -> None:
    if extra := sorted(given - {kind, "distribution"}):
        raise ValueError(f"{', '.join(extra)}: only ranges (min and max) have that")
    if parameter.distribution not in (None, distribution):
        raise ValueError(f"distribution {parameter.distribution} needs min and max")


def _probabilities(given: list[int | float] | None, count: int) -> tuple[float, ...] | None:
    if given is None:
        return None
    if len(given) != count:
        raise ValueError(f"has {count} values and {len(given)} probabilities; give one for each value")
    if min(given) < 0 or not math.isclose(sum(given), 1, rel_tol=1e-5):
        raise ValueError(f"probabilities must not be below 0 and must sum to 1, not to {sum(given):g}")
    return tuple(map(float, given))


def _distributed(parameter: Parameter, given: set[str]) -> Distribution:
    """Return the domain of a distribution that has other parameters than min and max."""
    kind = str(parameter.distribution)
    names = PARAMETERS_OF[kind]
    if other := sorted(given - {"distribution", "round", *names}):
        raise ValueError(f"distribution {kind} has {' and '.join(names)}, not {', '.join(other)}")
    first, second = (float(getattr(parameter, name)) for name in names)
    if wrong := [name for name, value in zip(names, (first, second), strict=True) if name != "mu" and value <= 0]:
        raise ValueError(f"{wrong[0]} must be above 0")
    return _drawable(Distribution(kind=kind, first=first, second=second, multiple=parameter.round))


def _drawable(domain: Distribution) -> Distribution:
    """Return a distribution if its values can be drawn and told apart."""
    if domain.multiple is not None and domain.multiple <= 0:
        raise ValueError(f"round must be above 0, got {domain.multiple}")
    try:
        low, high = domain.low, domain.high
        finite = is_finite(low) and is_finite(high)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError("its values are too large for a number: numbers go to 1.8e308")
    if low == high:
        raise ValueError(f"every value is {low}" + f" when rounded to a multiple of {domain.multiple}" * bool(domain.multiple))
    if domain.multiple is not None and domain.multiple < max(abs(low), abs(high)) * RESOLUTION:
        raise ValueError(f"multiples of {domain.multiple} cannot be told apart in 12 digits; use a larger number for round")
    return domain


def _distinct(values: list[Any]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("values is empty; list at least one")
    seen: dict[Any, Any] = {}
    for value in values:
        if value in seen:
            same = "" if repr(seen[value]) == repr(value) else f" (the same as {seen[value]!r} to Python)"
            raise ValueError(f"{value!r} is listed twice{same}; each value is trained once, use `repeats` for more seeds")
        if isinstance(value, tuple) and (text := json.dumps(value)) in values:
            raise ValueError(f"{text} is listed as a list and as a text, which Optuna cannot tell apart; keep one")
        seen[value] = value
    return tuple(values)


def _range(parameter: Parameter, given: set[str]) -> Range | Distribution:
    low, high, kind = parameter.min, parameter.max, parameter.distribution
    if low is None or high is None:
        raise ValueError(f"has {'max' if low is None else 'min'} without {'min' if low is None else 'max'}")
    if kind in ("constant", "categorical"):
        raise ValueError(f"distribution {kind} needs {'value' if kind == 'constant' else 'values'}, not min and max")
    if len(both := [key for key in ("step", "q", "round") if key in given]) > 1:
        raise ValueError(f"has both {' and '.join(both)}; keep one")
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
    if parameter.round is not None:
        kind = "log_uniform" if log else "uniform"
        return _drawable(Distribution(kind=kind, first=low, second=high, multiple=parameter.round))
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
