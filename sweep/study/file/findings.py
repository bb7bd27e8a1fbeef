"""What pydantic finds wrong with one key, as a problem with its line and with what to write instead."""

from __future__ import annotations

from typing import Any

from sweep.errors import Problem, did_you_mean
from sweep.study.file import hints
from sweep.study.file.document import shortened
from sweep.study.file.parameters import Parameter
from sweep.study.file.schema import StudyModel, model_of
from sweep.study.file.source import Source

_Path = tuple[str | int, ...]


def problem_of(source: Source, path: tuple[str, ...], detail: Any) -> Problem:
    """Return the problem of one of pydantic's errors in the value at a path."""
    where: _Path = (*path, *(part for part in detail["loc"] if part != "[key]"))
    message, given, hint = detail["msg"].removeprefix("Value error, "), detail["input"], ""
    match detail["type"]:
        case "extra_forbidden":
            message, hint = "unknown key", _other_key(where, given)
        case "missing":
            message, hint = "missing", _missing(source, where)
        case "literal_error":
            known = [word.strip("'") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            message, hint = f"{shortened(given)} is not known", hints.literal(where, given, known)
        case "too_short":
            message = "is empty"
        case "model_type" | "model_attributes_type" | "dict_type":
            known = _known_beside((*where, ""))
            needs = message[0].lower() + message[1:] if detail["type"] == "dict_type" else f"needs keys ({', '.join(known)})"
            message, hint = f"{needs}, got {shortened(given)}", _no_mapping(source, where, given, known)
        case _:
            message, hint = f"{message[0].lower()}{message[1:]}, got {shortened(given)}", _value(where, given)
    return source.problem(where, message, hint)


def _other_key(where: _Path, given: Any) -> str:
    key, known = str(where[-1]), _known_beside(where)
    if where[0] == "parameters":
        return hints.parameter_key(str(where[1]), key, given, known)
    return hints.metric_key(key, given, known) if where[0] in ("metric", "metrics") else did_you_mean(key, known)


def _missing(source: Source, where: _Path) -> str:
    if where[-1] != "goal":
        return ""
    metric = source.data.get("metric")
    return f"write goal: {hints.goal_of(metric.get('name') if isinstance(metric, dict) else '')}, or its opposite"


def _no_mapping(source: Source, where: _Path, given: Any, known: list[str]) -> str:
    if where[0] != "parameters":
        return hints.metric(given) if where[0] == "metric" else hints.mapping(where, given, known)
    if len(where) == 1:
        return "write each below it, indented: lr: {values: [0.1, 0.01]}"
    return hints.parameter(str(where[1]), given, typed=source.lines.get(where) == 0) if len(where) == 2 else ""


def _value(where: _Path, given: Any) -> str:
    if where[0] == "objective":
        return hints.objective(given)
    if where[0] != "parameters":
        return ""
    match where[2:]:
        case ("values",):
            return hints.listed(str(where[1]), given)
        case ("value",) | ("values", _) if isinstance(given, list | dict):
            return hints.NO_MAPPING
    return ""


def _known_beside(path: _Path) -> list[str]:
    """Return the keys that users write beside one, or in its place."""
    model = Parameter if path[0] == "parameters" else model_of(StudyModel.model_fields[str(path[0])].annotation)
    fields = model.model_fields if model is not None else {}
    return [key for key, field in fields.items() if not (field.description or "").startswith("written by sweep")]
