"""What may stand in a study file, key by key (DESIGN section 2), and how a parameter becomes a domain.

Each field's description is the study file's reference in the README (a test holds the two together).
"""

from __future__ import annotations

import math
import re
import shlex
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, TypeAdapter

from sweep.space import Choice, Constant, Domain, Range, axis_size, axis_value
from sweep.study import LogSpec

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def _duration(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("must be a duration such as 30m, 2h, 1h30m or 90s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0:
        raise ValueError("must be longer than nothing")
    return total


def _devices(value: Any) -> Any:
    if value in ("auto", "cpu"):
        return value
    if isinstance(value, list) and value and all(type(item) is int and item >= 0 for item in value):
        if len(set(value)) == len(value):
            return tuple(value)
        raise ValueError("names a GPU twice")
    raise ValueError("must be auto, cpu, or a list of GPU indices such as [0, 1]")


def _per_device(value: Any) -> int | None:
    if value == "auto":
        return None
    if type(value) is int and value > 0:
        return value
    raise ValueError("must be auto or a whole number above 0")


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("must be a finite number, a string, true, false or null")


def _number(value: Any) -> int | float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError("must be a finite number")


def _study_name(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", value):
        return value
    raise ValueError("must be a folder name: letters, digits, '.', '_', '+' and '-', at most 100, no path")


def _parameter_name(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,79}", value):
        return value
    raise ValueError("a parameter's name has letters, digits, '_' and '-', begins with a letter, and has no dot")


def _reference(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value):
        return value
    raise ValueError("must be written module:function, for example sweep.objectives.fashion_mnist:train")


def _command(value: Any) -> tuple[str, ...]:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({error})") from None
    if not isinstance(words, list) or not words or words[0] == "":
        raise ValueError('must be a program and its arguments, for example [python, train.py, "${args}"]')
    if any(isinstance(word, bool) or not isinstance(word, (str, int, float)) for word in words):
        raise ValueError("must be a list of words; put quotes around each")
    return tuple(str(word) for word in words)


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise ValueError("must be some text")


Duration = Annotated[float, BeforeValidator(_duration)]
Scalar = Annotated[Any, BeforeValidator(_scalar)]
Number = Annotated[int | float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
StudyName = Annotated[str, BeforeValidator(_study_name)]
ParameterName = Annotated[str, BeforeValidator(_parameter_name)]
Reference = Annotated[str, BeforeValidator(_reference)]
Command = Annotated[Any, BeforeValidator(_command)]
Devices = Annotated[Any, BeforeValidator(_devices)]
PerDevice = Annotated[int | None, BeforeValidator(_per_device)]
WholeNumber = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Metric(_Strict):
    """What is optimised."""

    name: Text
    goal: Literal["maximize", "minimize"]
    target: Number | None = None


class Parameter(_Strict):
    """One parameter's domain, in this project's spelling or W&B's."""

    value: Scalar = None
    values: list[Scalar] | None = None
    min: Number | None = None
    max: Number | None = None
    step: Number | None = None
    q: Number | None = None
    log: bool = False
    distribution: Literal["uniform", "log_uniform_values", "int_uniform", "q_uniform", "constant", "categorical"] | None = None
    when: dict[str, Any] | None = None


def _space(value: Any) -> dict[str, Parameter]:
    parameters = TypeAdapter(dict[ParameterName, Parameter]).validate_python(value, strict=True)
    for parameter in parameters.values():
        to_domain(parameter)
    return parameters


Space = Annotated[Any, BeforeValidator(_space)]


class Budget(_Strict):
    """When the sweep ends."""

    trials: PositiveInt | None = None
    time: Duration | None = None
    patience: PositiveInt | None = None


class Pruner(BaseModel):
    """Which trials are ended early; the options of each kind are checked where it is built."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    type: Literal["none", "median", "percentile", "asha", "hyperband", "patient", "wilcoxon"] = "none"


class Workers(_Strict):
    """Where trials run."""

    devices: Devices = "auto"
    per_device: PerDevice = None
    threads: PositiveInt | None = None


class Checkpoints(_Strict):
    """Which checkpoints stay."""

    keep_best: WholeNumber = 3


class Log(_Strict):
    """What is logged for TensorBoard's other tabs; the defaults are the study's own."""

    images: bool = LogSpec.images
    graph: bool = LogSpec.graph
    charts: bool = LogSpec.charts
    batches: WholeNumber = LogSpec.batches
    histograms: bool = LogSpec.histograms
    pr_curves: bool = LogSpec.pr_curves
    figures: bool = LogSpec.figures
    projector: bool = LogSpec.projector


class StudyModel(_Strict):
    """The whole study file."""

    name: StudyName | None = Field(None, description="the output folder's name; default: the file's stem")
    objective: Reference | None = Field(None, description="`module:function`; the study file's own folder is importable too")
    command: Command | None = Field(
        None,
        description="in place of `objective`: a script, such as `python train.py ${args}`, or a list of its words",
    )
    metric: Metric = Field(
        description="`{name, goal: maximize or minimize}`, optionally `target:`, which ends the sweep when reached"
    )
    method: Literal["grid", "random", "tpe", "gp", "cmaes", "qmc", "nsgaii"] = Field(description="`grid`, `random` or `tpe`")
    parameters: dict[ParameterName, Parameter] = Field(min_length=1, description="name: domain; the order is kept everywhere")
    seed: WholeNumber = Field(0, description="everything random derives from it")
    repeats: PositiveInt = Field(1, description="trainings of each assignment; above 1 not available yet")
    budget: Budget = Field(
        Budget(),
        description="`trials` (in total), `time` (no trial starts after it), `patience` (finished trials without a new best);"
        " optional for a grid",
    )
    pruner: Pruner = Field(Pruner(), description="`{type: none}`; others not available yet")
    workers: Workers = Field(
        Workers(),
        description="`devices` (`auto`, `cpu`, `[0, 1]`), `per_device` (processes on each; auto: 1 on a GPU, one per core on"
        " a CPU), `threads` of each",
    )
    log: Log = Field(Log(), description="what TensorBoard shows beside the scalars, panel by panel: see the table above")
    retries: WholeNumber = Field(
        1, description="how often a trial whose process died goes on from its checkpoint; an exception is not retried"
    )
    timeout: Duration | None = Field(None, description="of one trial, such as `30m`; one that takes longer is failed")
    checkpoints: Checkpoints = Field(
        Checkpoints(), description="`{keep_best: 3}`: the last checkpoints of so many of the best trials stay when trials end"
    )
    stop_after_failures: PositiveInt = Field(5, description="so many failed trials in a row end the sweep")
    output: Text = Field("runs", description="folder of the studies' folders, relative to the working directory")
    earlier: list[Space] = Field(
        [],
        description="written by sweep into a study's folder: the parameters before they were extended; trials keep their numbers",
    )


def has_parts(annotation: Any) -> bool:
    """Tell whether a key's value is a mapping, whose parts are keys too."""
    return get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel))


def to_domain(parameter: Parameter) -> Domain:
    """Return a parameter's domain.

    Raises:
        ValueError: the keys do not make one; the message says what to write.
    """
    given = parameter.model_fields_set - {"when"}
    kinds = [kind for kind in ("value", "values") if kind in given] + (["min and max"] if given & {"min", "max"} else [])
    if len(kinds) != 1:
        what = "has no domain" if not kinds else f"has both {' and '.join(kinds)}"
        raise ValueError(f"{what}; give exactly one of value, values, or min and max")
    if "value" in given:
        _only(given, {"value", "distribution"}, parameter, "constant")
        return Constant(value=parameter.value)
    if "values" in given:
        _only(given, {"values", "distribution"}, parameter, "categorical")
        return Choice(values=_distinct(parameter.values or []))
    return _range(parameter, given)


def _only(given: set[str], allowed: set[str], parameter: Parameter, distribution: str) -> None:
    if extra := sorted(given - allowed):
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
        low, high = float(low), float(high)  # W&B's names say which type is meant, whatever the numbers look like
    if low >= high:
        raise ValueError(f"min ({low}) must be below max ({high}); for one value write value: {low}")
    if log and low <= 0:
        raise ValueError(f"a log scale needs min above 0, got {low}")
    if step is not None:
        if log:
            raise ValueError("has both step and log; keep one")
        if step <= 0 or step > high - low:
            raise ValueError(f"step must be above 0 and at most max - min ({high - low:g}), got {step}")
        if isinstance(low, int) and isinstance(high, int) and not isinstance(step, int):
            low, high = float(low), float(high)  # {min: 0, max: 1, step: 0.1}
        whole = Range(low=low, high=high, step=step)
        last = axis_value(whole, (axis_size(whole) or 1) - 1)  # the last step that is not past max
        assert isinstance(last, (int, float))
        high = last
    return Range(low=low, high=high, step=step, log=log)
