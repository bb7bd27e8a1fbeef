"""What may stand in a study file, key by key (DESIGN section 2), and how a parameter becomes a domain.

Each field's description is the study file's reference in the README (a test holds the two together).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, TypeAdapter

from sweep.study.file.values import (
    Command,
    ConditionValues,
    Devices,
    Duration,
    Number,
    ParameterName,
    PerDevice,
    Pruner,
    Reference,
    Scalar,
    StudyName,
    Text,
    Values,
    WholeNumber,
)
from sweep.study.space import Choice, Condition, Constant, Domain, Range, axis_size, axis_value
from sweep.study.spec import LogSpec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Metric(_Strict):
    """What is optimised."""

    name: Text = Field(description="the TensorBoard tag that the objective reports")
    goal: Literal["maximize", "minimize"] = Field(description="which values are better: larger or smaller ones")
    target: Number | None = Field(default=None, description="the sweep ends once the metric is as good as this")


class Constraint(_Strict):
    """The bounds of a metric."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["min"]}, {"required": ["max"]}]})
    min: Number | None = Field(default=None, description="the metric's last value must be at least this")
    max: Number | None = Field(default=None, description="the metric's last value must be at most this")


class Parameter(_Strict):
    """One parameter's domain, in this project's spelling or W&B's."""

    # For editors; `to_domain` checks it.
    model_config = ConfigDict(
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


def _space(value: Any) -> dict[str, Parameter]:
    parameters = TypeAdapter(dict[ParameterName, Parameter]).validate_python(value, strict=True)
    for parameter in parameters.values():
        to_domain(parameter)
    return parameters


Space = Annotated[Any, BeforeValidator(_space, json_schema_input_type=dict[ParameterName, Parameter])]


class Budget(_Strict):
    """When the sweep ends."""

    trials: PositiveInt | None = Field(default=None, description="how many trials in total, not how many more")
    time: Duration | None = Field(default=None, description="no trial of this run starts after it")
    patience: PositiveInt | None = Field(
        default=None, description="so many finished trials in a row without a new best end the sweep"
    )
    epochs: PositiveInt | None = Field(
        default=None, description="no further trial is planned once all together have been trained for so many steps"
    )


class Repeats(_Strict):
    """How often each assignment is trained."""

    count: PositiveInt = Field(default=1, description="with how many seeds")
    allow_failed: WholeNumber = Field(default=0, description="how many of the runs may fail without failing the trial")


def _repeats(value: Any) -> Any:
    return {"count": value} if type(value) is int else value


class Workers(_Strict):
    """Where trials run."""

    devices: Devices = Field(default="auto", description="`auto`, `cpu`, or indices of GPUs such as `[0, 1]`")
    per_device: PerDevice = Field(
        default=None,
        description="processes on each; auto: one per core of a CPU, 1 or more on a GPU",
        json_schema_extra={"default": "auto"},
    )
    threads: PositiveInt | None = Field(default=None, description="compute threads of each process")


class Checkpoints(_Strict):
    """Which checkpoints stay."""

    keep_best: WholeNumber = Field(default=3, description="of how many of the best trials the last checkpoint is kept")


class Log(_Strict):
    """What is logged for TensorBoard's other tabs; the defaults are the study's own."""

    images: bool = Field(default=LogSpec.images, description="samples of the training data with their classes (IMAGES)")
    graph: bool = Field(default=LogSpec.graph, description="the model (GRAPHS)")
    charts: bool = Field(default=LogSpec.charts, description="training against validation in one chart (CUSTOM SCALARS)")
    batches: WholeNumber = Field(
        default=LogSpec.batches, description="a point of the loss every so many batches (SCALARS); 0 for none"
    )
    histograms: bool = Field(
        default=LogSpec.histograms, description="weights and gradients at each report (HISTOGRAMS, DISTRIBUTIONS)"
    )
    pr_curves: bool = Field(default=LogSpec.pr_curves, description="precision against recall of each class (PR CURVES)")
    figures: bool = Field(default=LogSpec.figures, description="the confusion matrix and the worst mistakes (IMAGES)")
    projector: bool = Field(
        default=LogSpec.projector, description="raw inputs, and the best trial's last hidden layer (PROJECTOR)"
    )


class StudyModel(_Strict):
    """The whole study file."""

    # For editors; the file's check says which of them to keep.
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["metric"]}, {"required": ["metrics"]}]})
    name: StudyName | None = Field(None, description="the output folder's name; default: the file's stem")
    objective: Reference | None = Field(None, description="`module:function`; the study file's own folder is importable too")
    command: Command | None = Field(
        None,
        description="in place of `objective`: a script, such as `python train.py ${args}`, or a list of its words",
    )
    metric: Metric | None = Field(
        None, description="`{name, goal: maximize or minimize}`, optionally `target:`, which ends the sweep when reached"
    )
    metrics: list[Metric] | None = Field(
        None,
        min_length=1,
        description="in place of `metric`: a list of several; the best trials are then their Pareto front, and the sweep ends"
        " when one trial reaches every `target:`",
    )
    constraints: dict[Text, Constraint] = Field(
        {},
        description="`{model/parameters: {max: 50000}}`: bounds (`min`, `max`) of metrics; a trial that breaks one is never"
        " among the best",
    )
    method: Literal["grid", "random", "tpe", "gp", "cmaes", "qmc", "nsgaii"] = Field(
        description="`grid`, `random`, `tpe`, `gp`, `cmaes`, `qmc` or `nsgaii`, which are Optuna's"
    )
    sampler: dict[str, Any] = Field(
        {}, description="options of Optuna's sampler by its own names, such as `{multivariate: true}`"
    )
    parameters: dict[ParameterName, Parameter] = Field(min_length=1, description="name: domain; the order is kept everywhere")
    enqueue: list[dict[str, Scalar]] = Field(
        [],
        description="points to try first, such as `[{lr: 0.01}]`; what a point leaves out is drawn;"
        " in a grid it has the first value",
    )
    seed: WholeNumber = Field(0, description="everything random derives from it")
    repeats: Annotated[Repeats, BeforeValidator(_repeats, json_schema_input_type=PositiveInt | Repeats)] = Field(
        Repeats(),
        description="trainings of each assignment, each with a seed of its own; the trial's value is their mean;"
        " `{count: 3, allow_failed: 1}` lets one of them fail",
    )
    budget: Budget = Field(
        Budget(),
        description="`trials` (in total), `time` (no trial starts after it), `patience` (finished trials without a new best),"
        " `epochs` (steps of all trials together);"
        " optional for a grid",
    )
    pruner: Pruner = Field(
        {},
        description="`{type: median}` with Optuna's options ends trials early: `median`, `percentile`, `asha`, `hyperband`,"
        " `patient`, `wilcoxon`, `threshold`",
    )
    workers: Workers = Field(
        Workers(),
        description="`devices` (`auto`, `cpu`, `[0, 1]`), `per_device` (processes on each; auto: on a CPU one per core, as"
        " far as the memory goes; on a GPU 1, and more beside it if the first trial leaves time and memory), `threads` of each",
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
    return get_origin(annotation) is dict or model_of(annotation, through=False) is not None


def model_of(annotation: Any, *, through: bool = True) -> type[BaseModel] | None:
    """Return the model of a key's value, if it has one; `through` lists and mappings too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = get_args(annotation) if through or get_origin(annotation) not in (list, dict) else ()
    return next((found for part in parts if (found := model_of(part, through=through))), None)


def to_domain(parameter: Parameter) -> Domain:
    """Return a parameter's domain.

    Raises:
        ValueError: the keys do not make one; the message says what to write.
    """
    given = parameter.model_fields_set - {"when"}
    when = tuple(Condition(parent=name, values=tuple(values)) for name, values in (parameter.when or {}).items())
    kinds = [kind for kind in ("value", "values") if kind in given] + (["min and max"] if given & {"min", "max"} else [])
    if len(kinds) != 1:
        what = "has no domain" if not kinds else f"has both {' and '.join(kinds)}"
        raise ValueError(f"{what}; give exactly one of value, values, or min and max")
    if "value" in given:
        _only(given, {"value", "distribution"}, parameter, "constant")
        return Constant(value=parameter.value, when=when)
    if "values" in given:
        _only(given, {"values", "distribution"}, parameter, "categorical")
        return Choice(values=_distinct(parameter.values or []), when=when)
    return replace(_range(parameter, given), when=when)


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
