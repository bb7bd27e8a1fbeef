"""The types of the values in a study file, for the checks and for editors.

The keys name these types (`sweep.study.keys`). Each has a check, whose message says what is wrong, and a JSON schema, which
`sweep schema` prints.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from sweep.study.methods import PRUNERS
from sweep.study.plain import LARGEST

_STUDY_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
_PARAMETER_NAME = r"(?=.{1,80}$)[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*"
_REFERENCE = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"
_ADDRESS = r"auto|[^\s/:=]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}"
_SURROGATES = re.compile("[\ud800-\udfff]")
_MOST_THREADS = 1024  # of a machine; also of its processes
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that a float can hold, if not exactly: samplers and TensorBoard store floats."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def duration(value: Any) -> float:
    """Return the seconds of a duration, which is their number or a text such as `1h30m`.

    Raises:
        ValueError: it is neither, or not longer than 0 s.
    """
    if is_finite(value) and value > 0:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("must be a duration such as 30m, 2h, 1h30m or 90s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0 or not math.isfinite(total):
        raise ValueError("must be longer than 0 s, and finite")
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
        if value > _MOST_THREADS:
            raise ValueError(f"must be at most {_MOST_THREADS}")
        return value
    raise ValueError("must be auto or a whole number above 0")


def _resources(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("must be names with amounts, such as {accelerator_type:A100: 0.001}")
    if own := [name for name in value if name in ("CPU", "GPU")]:
        raise ValueError(f"must not name {own[0]}; threads, per_device and devices_per_trial say how many")
    if wrong := [name for name, amount in value.items() if not is_finite(amount) or amount <= 0]:
        raise ValueError(f"must give a number above 0 for {wrong[0]}")
    return {name: float(amount) for name, amount in value.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_scalar(item) for item in value)
    if value is None or isinstance(value, bool) or is_finite(value):
        return value
    if isinstance(value, str):
        if _SURROGATES.search(value):
            raise ValueError("has a character that no file can store")
        return value
    raise ValueError(_too_large(value) or "must be a finite number, a string, true, false, null, or a list of these")


def _number(value: Any) -> int | float:
    if is_finite(value):
        return value  # type: ignore[no-any-return]  # is_finite has checked it
    raise ValueError(_too_large(value) or "must be a finite number")


def _too_large(value: Any) -> str:
    return "is too large: numbers go to 1.8e308" if isinstance(value, int) and not isinstance(value, bool) else ""


def _matching(pattern: str, message: str) -> BeforeValidator:
    """Accept only strings with a pattern."""

    def check(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError(message)

    return BeforeValidator(check)


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


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must be names with values, such as {WANDB_MODE: offline}")
    if wrong := [name for name in value if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name))]:
        raise ValueError(f"{wrong[0]!r} is no name of a variable")
    for name, one in value.items():
        if not (isinstance(one, bool | str) or is_finite(one)) or "\0" in str(one):
            raise ValueError(f"must give a text, a number or a boolean for {name}")
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


def _condition(value: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("is empty; list at least one value of the parent")
    return [_scalar(item) for item in values]


def _inherited(value: Any) -> tuple[tuple[int, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 and type(one[0]) is int for one in value):
        raise ValueError("must be numbers of trials with values, such as [[7, 0.1], [2, 0.01]]")
    return tuple((number, _scalar(own)) for number, own in value)


def _address(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(_ADDRESS, value):
        return value
    raise ValueError("must be auto, or HOST:PORT of a cluster that this machine is part of, such as 192.168.1.10:6379")


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise ValueError("must be some text")


_SCALAR = {"type": ["number", "string", "boolean", "null", "array"]}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
# Editors use JavaScript's patterns, where `\w` is ASCII only: the pattern of a reference is less strict than its check.
_TIMES = r"^(?=.)(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$"
_DURATIONS = {"anyOf": [_POSITIVE, {"type": "string", "pattern": _TIMES}], "examples": ["30m", "2h", "1h30m", 90]}
_GPUS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True}
_REFERENCES = ["mine:train", "sweep.objectives.fashion_mnist:train"]
_COUNT = {"type": "integer", "minimum": 1, "maximum": _MOST_THREADS}

Duration = Annotated[float, BeforeValidator(duration), WithJsonSchema(_DURATIONS)]
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(_SCALAR)]
Values = Annotated[list[Scalar], WithJsonSchema({"type": "array", "items": _SCALAR, "minItems": 1, "uniqueItems": True})]
ConditionValues = Annotated[
    list[Any],
    BeforeValidator(_condition),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]}),
]
Number = Annotated[int | float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "pattern": r"\S"})]
StudyName = Annotated[
    str,
    _matching(_STUDY_NAME, "must be a folder name: letters, digits, '.', '_', '+' and '-', at most 100, no path"),
    WithJsonSchema({"type": "string", "pattern": f"^{_STUDY_NAME}$"}),
]
ParameterName = Annotated[
    str,
    _matching(
        _PARAMETER_NAME,
        "a parameter's name has letters, digits, '_' and '-', begins with a letter, and has dots between",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_PARAMETER_NAME}$"}),
]
Reference = Annotated[
    str,
    _matching(_REFERENCE, "must be written module:function, for example sweep.objectives.fashion_mnist:train"),
    WithJsonSchema({"type": "string", "pattern": r"^[^\s:]+:[^\s:.]+$", "examples": _REFERENCES}),
]
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2}
Pairs = Annotated[Any, BeforeValidator(_inherited), WithJsonSchema({"type": "array", "items": _PAIR, "minItems": 1})]
_WORDS = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
Command = Annotated[Any, BeforeValidator(_command), WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"\S"}, _WORDS]})]
_PRUNERS = {"type": "object", "properties": {"type": {"enum": list(PRUNERS)}}, "required": ["type"]}
Pruner = Annotated[dict[str, Any], WithJsonSchema(_PRUNERS)]
_VARIABLES = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
Variables = Annotated[dict[str, str], BeforeValidator(_variables), WithJsonSchema(_VARIABLES)]
Devices = Annotated[Any, BeforeValidator(_devices), WithJsonSchema({"anyOf": [{"enum": ["auto", "cpu"]}, _GPUS]})]
PerDevice = Annotated[int | None, BeforeValidator(_per_device), WithJsonSchema({"anyOf": [{"const": "auto"}, _COUNT]})]
WholeNumber = Annotated[int, Field(ge=0, le=LARGEST)]
Count = Annotated[int, Field(gt=0, le=LARGEST)]
Repeats = Annotated[int, Field(gt=0, le=10_000)]
Threads = Annotated[int, Field(gt=0, le=_MOST_THREADS)]
Switch = bool
Goal = Literal["maximize", "minimize"]
TimeoutEnd = Literal["fail", "complete"]
Determinism = Literal["strict", "default", "off"]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "pattern": f"^({_ADDRESS})$"})]
Engine = Literal["local", "ray"]
Resources = Annotated[
    dict[str, float], BeforeValidator(_resources), WithJsonSchema({"type": "object", "additionalProperties": _POSITIVE})
]
Method = Literal["grid", "random", "tpe", "gp", "cmaes", "qmc", "nsgaii"]
Names = list[ParameterName]
Numbers = Annotated[list[WholeNumber], AfterValidator(tuple)]
Options = dict[str, Any]
Points = list[dict[str, Scalar]]
