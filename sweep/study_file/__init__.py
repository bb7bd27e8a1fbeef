"""The study file: read, checked whole, resolved; written back beside the results.

    text --source.py--> plain data with lines --schema.py--> typed keys --checks here--> StudySpec

Every key is checked on its own and only then the keys together, so that one problem does not hide another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sweep import placeholders
from sweep.errors import EXIT_LOCKED, Problem, StudyFileError, SweepError, did_you_mean
from sweep.objective import ObjectiveNotFound, locate
from sweep.space import Choice, Constant, Domain, Range, Space, axis_size, can_be, domain_keys, domain_text
from sweep.strategies import SAMPLERS, missing_packages, pruner_problems, sampler_problems
from sweep.study import SEED, BudgetSpec, LogSpec, StudySpec, WorkersSpec
from sweep.study_file import aims
from sweep.study_file.schema import Budget, Parameter, Repeats, StudyModel, has_parts, model_of, to_domain
from sweep.study_file.source import Overrides, Source, given_source, read_source
from sweep.study_file.values import ParameterName, StudyName

# Of what `write_study` writes, and of the folder beside it; a later program raises it when an earlier one would misread them.
FORMAT = 1
_FORMAT = re.compile(r"# sweep format (\d+)")
_PLAIN_KEY, _OTHER_WORDS = re.compile(r"[A-Za-z_][\w/.-]*", re.ASCII), {"null", "true", "false"}
AVAILABLE_METHODS = ("grid", *SAMPLERS)
_KNOWN_KEYS = {key: has_parts(field.annotation) for key, field in StudyModel.model_fields.items()}


def read_study(
    path: Path, overrides: Overrides = (), *, import_dir: Path | None = None, find_objective: bool = True
) -> StudySpec:
    """Read a study file and check it whole; nothing of the objective is imported.

    Args:
        path: the YAML file.
        overrides: `key=value` words of the command line, or keys with their values, applied in order.
        import_dir: folder searched for the objective's module; default: the file's own.
        find_objective: look whether the objective is there; not needed to read results.

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
    return _checked(source, folder, default_name=path.stem, find_objective=find_objective)


def given_study(
    data: Mapping[str, Any], overrides: Overrides = (), *, import_dir: Path, find_objective: bool = True
) -> StudySpec:
    """Check a study given as a dict of a study file's keys, which must have a name; else as `read_study`."""
    source = given_source(data, overrides, _KNOWN_KEYS)
    return _checked(source, str(import_dir.resolve()), default_name=None, find_objective=find_objective)


def _checked(source: Source, import_dir: str, *, default_name: str | None, find_objective: bool) -> StudySpec:
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
        problems += _check_trains(source)
        problems += aims.problems(source, keys)
        if find_objective:
            problems += _check_objective(source, keys, import_dir)
        problems += _check_together(source, keys)
        problems += _check_name(source, keys, default_name)
    if problems:
        raise StudyFileError(source.name or "the dict", sorted(dict.fromkeys(problems), key=_order))
    return _resolve(keys, import_dir)


def write_study(study: StudySpec) -> str:
    """Return the resolved study as a study file's text; reading it gives the same study."""
    budget = {"trials": study.budget.trials, "time": study.budget.time_s, "patience": study.budget.patience}
    budget["epochs"] = study.budget.epochs
    devices = study.workers.devices
    workers = {
        "devices": list(devices) if isinstance(devices, tuple) else devices,
        "per_device": study.workers.per_device or "auto",
        "threads": study.workers.threads,
    }
    data: dict[str, Any] = {
        "name": study.name,
        "objective": study.objective,
        "command": None if study.command is None else list(study.command),
        **aims.written(study),
        "method": study.method,
        "parameters": _space_keys(study.parameters),
        "sampler": dict(study.sampler) or None,
        "enqueue": [dict(point) for point in study.enqueue] or None,
        "seed": study.seed,
        "repeats": {"count": study.repeats, "allow_failed": study.allow_failed} if study.allow_failed else study.repeats,
        "pruner": dict(study.pruner) or None,
        "budget": _without_none(budget),
        "workers": _without_none(workers),
        "log": asdict(study.log),
        "retries": study.retries,
        "timeout": study.timeout_s,
        "checkpoints": {"keep_best": study.keep_best},
        "stop_after_failures": study.stop_after_failures,
        "output": study.output,
        "earlier": [_space_keys(space) for space in study.earlier] or None,
    }
    lines = [f"# sweep format {FORMAT}"]
    for key, value in data.items():
        if value is None:
            continue
        if key == "parameters":
            lines += ["parameters:", *(f"  {name}: {_flow(domain)}" for name, domain in value.items())]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


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


def _check_trains(source: Source) -> Iterator[Problem]:
    given = [key for key in ("objective", "command") if source.data.get(key) is not None]
    if not given:
        what = StudyModel.model_fields["objective"].description
        yield source.problem(("objective",), "missing", f"it is {what}; or write command: for a script")
    elif len(given) == 2:
        yield source.problem(("command",), "stands beside objective", "keep one of the two")


def _check_objective(source: Source, keys: dict[str, Any], import_dir: str) -> Iterator[Problem]:
    if keys.get("command") is not None:
        for place, message, hint in placeholders.problems(keys["command"], source.data.get("parameters") or (), Path(import_dir)):
            yield source.problem(("command", place), message, hint)
    if keys.get("objective") is not None:
        try:
            locate(keys["objective"], import_dir)
        except ObjectiveNotFound as error:
            yield source.problem(("objective",), str(error))


def _check_together(source: Source, keys: dict[str, Any]) -> Iterator[Problem]:
    domains: dict[str, Domain] = {}
    for name, parameter in keys.get("parameters", {}).items():
        try:
            domains[name] = to_domain(parameter)
        except ValueError as error:
            yield source.problem(("parameters", name), str(error))
    keys["domains"] = domains
    method, budget = keys.get("method"), keys.get("budget")
    yield from _check_seed(source, method, domains.get(SEED))
    yield from _check_repeats(source, keys.get("repeats"), domains)
    yield from _check_conditions(source, domains)
    for option, message, hint in pruner_problems(keys["pruner"]) if keys.get("pruner") else ():
        yield source.problem(("pruner",) if option is None else ("pruner", option), message, hint)
    yield from _check_search(source, method, keys.get("sampler", {}), keys.get("enqueue", []), domains)
    if method == "grid":
        for name, domain in domains.items():
            if axis_size(domain) is None:
                yield source.problem(
                    ("parameters", name),
                    "a grid needs finitely many values",
                    "give values or a step, or use method: random or tpe",
                )
    elif method is not None:
        if budget is not None and budget == Budget():
            yield source.problem(("budget",), f"method {method} never ends by itself", "add budget: {trials: 50}")
        if domains and all(isinstance(domain, Constant) for domain in domains.values()):
            yield source.problem(("parameters",), f"method {method} has nothing to choose: every parameter is a constant")


def _check_conditions(source: Source, domains: dict[str, Domain]) -> Iterator[Problem]:
    names = list(domains)
    for name, domain in domains.items():
        for condition in domain.when:
            where, before = ("parameters", name, "when", condition.parent), names[: names.index(name)]
            if condition.parent not in before:
                below = condition.parent in domains and condition.parent != name
                hint = f"put {condition.parent} above {name}" if below else did_you_mean(condition.parent, before)
                yield source.problem(where, f"no parameter {condition.parent!r} stands above {name}", hint)
                continue
            for value in condition.values:
                if not can_be(domains[condition.parent], value):
                    text = domain_text(domains[condition.parent])
                    yield source.problem(where, f"{condition.parent} is never {value!r}", f"it is {text}")


def _check_search(
    source: Source, method: str | None, options: dict[str, Any], points: list[dict[str, Any]], domains: dict[str, Domain]
) -> Iterator[Problem]:
    if method == "grid":
        if options:
            yield source.problem(("sampler",), "a grid has no sampler", "remove it, or use another method")
        if points:
            yield source.problem(("enqueue",), "a grid tries every point anyway", "remove it, or use another method")
    elif method is not None:
        if missing := missing_packages(SAMPLERS[method]):
            hint = f"pip install {' '.join(missing)}"
            yield source.problem(("method",), f"{method} needs {', '.join(missing)}, which is not installed", hint)
        elif options:
            for option, message, hint in sampler_problems(method, options):
                yield source.problem(("sampler",) if option is None else ("sampler", option), message, hint)
    for place, point in enumerate(points):
        for name, value in point.items():
            if name not in domains:
                yield source.problem(("enqueue",), f"point {place + 1}: no parameter {name!r}", did_you_mean(name, domains))
            elif not can_be(domains[name], value):
                message = f"point {place + 1}: {name} cannot be {value!r}"
                yield source.problem(("enqueue",), message, f"it is {domain_text(domains[name])}")


def _check_repeats(source: Source, repeats: Repeats | None, domains: dict[str, Domain]) -> Iterator[Problem]:
    if repeats is None:
        return
    if repeats.allow_failed >= repeats.count:
        hint = f"at most {repeats.count - 1}: one run has to be complete"
        yield source.problem(("repeats", "allow_failed"), f"{repeats.allow_failed} of {repeats.count} may not fail", hint)
    if repeats.count > 1 and SEED in domains:
        yield source.problem(
            ("repeats",), f"stands beside a parameter {SEED}", "both choose the random numbers: keep one of the two"
        )


def _check_seed(source: Source, method: str | None, domain: Domain | None) -> Iterator[Problem]:
    where = ("parameters", SEED)
    if isinstance(domain, (Choice, Constant)):
        values = domain.values if isinstance(domain, Choice) else (domain.value,)
        if any(type(value) is not int for value in values):
            yield source.problem(
                where, "must be whole numbers: they choose the trial's random numbers", "seed: {values: [0, 1, 2]}"
            )
    if method not in (None, "grid") and domain is not None and not isinstance(domain, Constant):
        yield source.problem(where, f"method {method} would search for the luckiest seed", "use a constant, or method: grid")


def _check_name(source: Source, keys: dict[str, Any], default: str | None) -> Iterator[Problem]:
    if "name" in keys and keys["name"] is None:
        try:
            keys["name"] = TypeAdapter(StudyName).validate_python(default)
        except ValidationError:
            message = "missing" if default is None else f"{default!r} is no folder name"
            yield source.problem(("name",), message, "it is the output folder's name, for example my-study")


def _resolve(keys: dict[str, Any], import_dir: str) -> StudySpec:
    budget, workers = keys["budget"], keys["workers"]
    return StudySpec(
        name=keys["name"],
        objective=keys["objective"],
        command=keys["command"],
        import_dir=import_dir,
        metrics=aims.metrics(keys),
        method=keys["method"],
        parameters=keys["domains"],
        sampler=keys["sampler"],
        enqueue=tuple(_typed(point, keys["domains"]) for point in keys["enqueue"]),
        constraints=aims.constraints(keys),
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


def _space_keys(space: Space) -> dict[str, Any]:
    return {name: domain_keys(domain) for name, domain in space.items()}


def _flow(value: Any) -> str:
    """Write plain data as YAML on one line, every string in quotes: `yes`, `1e3` and `? a` stay what they are."""
    if isinstance(value, dict):
        keys = [key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _OTHER_WORDS else _flow(key) for key in value]
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in zip(keys, value.values(), strict=True)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    return json.dumps(value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if " " <= character <= "~" else f"\\U{ord(character):08x}"


def _without_none(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def _order(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else ("~", 0)
