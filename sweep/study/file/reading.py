"""Read a study file, or a dict of its keys, into a checked `StudySpec`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sweep.errors import EXIT_LOCKED, Problem, StudyFileError, SweepError, did_you_mean
from sweep.study.file import metrics
from sweep.study.file.checks import OptionProblem, OptionProblems, check_name, check_objective, check_together, check_trains
from sweep.study.file.schema import Parameter, StudyModel, has_parts, model_of, to_domain
from sweep.study.file.source import Overrides, Source, given_source, read_source
from sweep.study.file.values import ParameterName
from sweep.study.file.writing import FORMAT
from sweep.study.space import Domain, Range
from sweep.study.spec import BudgetSpec, LogSpec, StudySpec, WorkersSpec

_FORMAT = re.compile(r"# sweep format (\d+)")
_KNOWN_KEYS = {key: has_parts(field.annotation) for key, field in StudyModel.model_fields.items()}


def no_problems(key: str, name: str, options: Mapping[str, Any]) -> tuple[OptionProblem, ...]:
    """Check no options: those of a study that is only looked at."""
    return ()


def read_study(
    path: Path,
    overrides: Overrides = (),
    *,
    import_dir: Path | None = None,
    find_objective: bool = True,
    option_problems: OptionProblems = no_problems,
) -> StudySpec:
    """Read a study file and check it whole; nothing of the objective is imported.

    Args:
        path: the YAML file.
        overrides: `key=value` words of the command line, or keys with their values, applied in order.
        import_dir: folder searched for the objective's module; default: the file's own.
        find_objective: look whether the objective is there; not needed to read results.
        option_problems: yields what is wrong with the options of a sampler or pruner; not needed to read results.

    Raises:
        StudyFileError: with every problem found.
        SweepError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SweepError("study-not-readable", f"cannot read {path}: {reason}", do="sweep plan studies/fashion.yaml") from None
    if (written := _FORMAT.match(text)) and int(written[1]) > FORMAT:
        raise SweepError(
            "newer-version",
            f"{path} was written by a newer version of sweep (format {written[1]}, this one knows {FORMAT})",
            do="pip install --upgrade sweep\nor keep the folder and start another study:  sweep run STUDY name=another-name",
            exit_code=EXIT_LOCKED,
        )
    source = read_source(str(path), text, overrides, _KNOWN_KEYS)
    folder = str((import_dir or path.parent).resolve())
    return _checked(source, folder, path.stem, find_objective, option_problems)


def given_study(
    data: Mapping[str, Any],
    overrides: Overrides = (),
    *,
    import_dir: Path,
    find_objective: bool = True,
    option_problems: OptionProblems = no_problems,
) -> StudySpec:
    """Check a study given as a dict of a study file's keys, which must have a name; else as `read_study`."""
    source = given_source(data, overrides, _KNOWN_KEYS)
    return _checked(source, str(import_dir.resolve()), None, find_objective, option_problems)


def _checked(
    source: Source, import_dir: str, default_name: str | None, find_objective: bool, option_problems: OptionProblems
) -> StudySpec:
    fields, problems = StudyModel.model_fields, list(source.problems)
    keys: dict[str, Any] = {}
    if source.data or not problems:
        for key in source.data.keys() - fields.keys():
            problems.append(source.problem((key,), "unknown key", did_you_mean(key, fields)))
        for key, field in fields.items():
            if key == "parameters" and isinstance(source.data.get(key), dict) and source.data[key]:
                problems += _validate_parameters(source, keys)
            elif key in source.data:
                problems += _validate(source, (key,), TypeAdapter(field.rebuild_annotation()), source.data[key], keys)
            elif field.is_required():
                problems.append(source.problem((key,), "missing", f"it is {field.description}"))
            else:
                keys[key] = field.get_default()
        problems += check_trains(source)
        problems += metrics.problems(source, keys)
        if find_objective:
            problems += check_objective(source, keys, import_dir)
        problems += check_together(source, keys, option_problems)
        problems += check_name(source, keys, default_name)
    if problems:
        raise StudyFileError(source.name or "the dict", sorted(dict.fromkeys(problems), key=_order))
    return _resolve(keys, import_dir)


def _validate(
    source: Source, path: tuple[str, ...], adapter: TypeAdapter[Any], value: Any, valid: dict[str, Any]
) -> Iterator[Problem]:
    try:
        valid[path[-1]] = adapter.validate_python(value, strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where = (*path, *(part for part in detail["loc"] if part != "[key]"))
            message, hint = detail["msg"].removeprefix("Value error, "), ""
            match detail["type"]:
                case "extra_forbidden":
                    message, hint = "unknown key", did_you_mean(str(where[-1]), _known_beside(where))
                case "missing":
                    message = "missing"
                case "literal_error":
                    known = [word.strip("'") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
                    message, hint = f"{detail['input']!r} is not known", did_you_mean(str(detail["input"]), known)
                case "too_short":
                    message = "is empty"
                case "model_type" | "model_attributes_type":
                    known = _known_beside((*where, ""))
                    message, hint = f"needs keys ({', '.join(known)}), got {detail['input']!r}", ""
                    if path[0] == "parameters":
                        hint = f"for a constant write {where[-1]}: {{value: {detail['input']}}}"
                case _:
                    message = f"{message[0].lower()}{message[1:]}, got {detail['input']!r}"
            yield source.problem(where, message, hint)


def _validate_parameters(source: Source, keys: dict[str, Any]) -> Iterator[Problem]:
    """Check each parameter on its own, so that the others' domains are checked too when one is malformed."""
    names, parameters = TypeAdapter(ParameterName), TypeAdapter(Parameter)
    valid: dict[str, Any] = {}
    for name, value in source.data["parameters"].items():
        yield from _validate(source, ("parameters", name), names, name, {})
        yield from _validate(source, ("parameters", name), parameters, value, valid)
    keys["parameters"] = valid


def _known_beside(path: tuple[str | int, ...]) -> list[str]:
    if path[0] == "parameters":
        return list(Parameter.model_fields)
    model = model_of(StudyModel.model_fields[str(path[0])].annotation)
    return list(model.model_fields) if model is not None else []


def _resolve(keys: dict[str, Any], import_dir: str) -> StudySpec:
    budget, workers = keys["budget"], keys["workers"]
    return StudySpec(
        name=keys["name"],
        objective=keys["objective"],
        command=keys["command"],
        import_dir=import_dir,
        metrics=metrics.metrics(keys),
        method=keys["method"],
        parameters=keys["domains"],
        sampler=keys["sampler"],
        enqueue=tuple(_typed(point, keys["domains"]) for point in keys["enqueue"]),
        constraints=metrics.constraints(keys),
        pruner={} if keys["pruner"].get("type") == "none" else keys["pruner"],
        seed=keys["seed"],
        repeats=keys["repeats"].count,
        allow_failed=keys["repeats"].allow_failed,
        budget=BudgetSpec(trials=budget.trials, time_s=budget.time, patience=budget.patience, epochs=budget.epochs),
        workers=WorkersSpec(devices=workers.devices, per_device=workers.per_device, threads=workers.threads),
        log=LogSpec(**keys["log"].model_dump()),
        retries=keys["retries"],
        timeout_s=keys["timeout"],
        keep_best=keys["checkpoints"].keep_best,
        stop_after_failures=keys["stop_after_failures"],
        output=keys["output"],
        earlier=tuple({name: to_domain(parameter) for name, parameter in space.items()} for space in keys["earlier"]),
    )


def _typed(point: dict[str, Any], domains: dict[str, Domain]) -> dict[str, Any]:
    """Return a point with floats where the parameter is one: `lr: 1` is 1.0."""
    floats = {name for name, domain in domains.items() if isinstance(domain, Range) and not domain.integer}
    return {name: float(value) if name in floats else value for name, value in point.items()}


def _order(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else ("~", 0)
