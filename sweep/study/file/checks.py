"""The checks of a study file beyond its single keys: combinations of keys, and things that do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sweep.errors import Problem, did_you_mean
from sweep.study.command import place_problems, resumes_itself
from sweep.study.command import problems as command_problems
from sweep.study.file import hints
from sweep.study.file.dependent import check_dependent
from sweep.study.file.parameters import Parameter, to_domain
from sweep.study.file.schema import StudyModel
from sweep.study.file.source import Source
from sweep.study.file.values import StudyName
from sweep.study.grid import Grid
from sweep.study.methods import PRUNERS, SAMPLERS, WRAPPED, missing_packages
from sweep.study.objective import ObjectiveNotFound, locate
from sweep.study.plain import LARGEST
from sweep.study.space import (
    PARENT,
    Choice,
    Constant,
    Domain,
    Fixed,
    Range,
    axis_size,
    can_be,
    conditional,
    domain_text,
    listed,
)
from sweep.study.spec import SEED, BudgetSpec, RepeatsSpec, TimeoutSpec, WorkersSpec

# The option (None for all of them together), what is wrong, and what to write instead.
OptionProblem = tuple[str | None, str, str]
_EXACT = 2**53
_INSTEAD = "keep one metric, and write bounds for the others:  constraints: {name: {max: 0.1}}"
# Called with `sampler` or `pruner`, its name and its options.
OptionProblems = Callable[[str, str, Mapping[str, Any]], Iterable[OptionProblem]]


def check_one_of(source: Source, first: str, second: str, of_second: str) -> Iterator[Problem]:
    """Yield what is wrong with two keys of which a study file has exactly one."""
    given = [key for key in (first, second) if source.data.get(key) is not None]
    if not given:
        what = StudyModel.model_fields[first].description
        yield source.problem((first,), "missing", f"it is {what}; or write {second}: {of_second}")
    elif len(given) == 2:
        yield source.problem((second,), f"cannot be combined with {first}", "keep one of the two")


def to_domains(source: Source, parameters: Mapping[str, Parameter]) -> dict[str, Domain]:
    """Return the domain of each parameter that has one, and record what is wrong with the others in the source."""
    domains: dict[str, Domain] = {}
    for name, parameter in parameters.items():
        try:
            domains[name] = to_domain(parameter)
        except ValueError as error:
            source.add(("parameters", name), str(error))
    return domains


def check_name(source: Source, default: str | None) -> Iterator[Problem]:
    """Yield what is wrong with the default as the study's name, for a file that gives none."""
    try:
        TypeAdapter(StudyName).validate_python(default)
    except ValidationError:
        message = "missing" if default is None else f"{default!r} is no folder name"
        yield source.problem(("name",), message, "it is the output folder's name, for example my-study")


def check_objective(source: Source, values: Mapping[str, Any], import_dir: str) -> Iterator[Problem]:
    """Yield why the function, or what the command names, does not exist."""
    if values.get("command") is not None:
        given = source.data.get("parameters")
        parameters = {name: keys for name, keys in given.items() if isinstance(name, str)} if isinstance(given, dict) else {}
        if source.data.get("from"):
            parameters.pop(PARENT, None)  # which the command does not get
        for place, message, hint in command_problems(values["command"], parameters, Path(import_dir)):
            yield source.problem(("command", place), message, hint)
        for place, group in enumerate(values.get("nested", ())):
            if not any(name.startswith(f"{group}.") for name in parameters):
                yield source.problem(("nested", place), f"no parameter's name begins with {group}.", "remove it")
            for name in parameters:
                if name.startswith(f"{group}.") and any(other.startswith(f"{name}.") for other in parameters):
                    yield source.problem(("parameters", name), "is a value and a group of others in one mapping", "rename one")
        cwd, env = values.get("cwd"), values.get("env", {})
        for where, message, hint in place_problems(cwd, env, parameters, Path(import_dir)):
            yield source.problem(where, message, hint)
    elif source.data.get("command") is None:
        for key in [key for key in ("cwd", "env") if values.get(key)]:
            yield source.problem((key,), "is for a command only", "a function runs in sweep's own process: set it there")
    if values.get("objective") is not None:
        try:
            locate(values["objective"], import_dir)
        except ObjectiveNotFound as error:
            module = values["objective"].partition(":")[0]
            yield source.problem(
                ("objective",), str(error), hints.objective(values["objective"]) if module.endswith(".py") else ""
            )


def check_metrics(source: Source, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the metrics and constraints; the values are those of the keys that are valid by themselves."""
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


def check_together(
    source: Source, values: Mapping[str, Any], domains: dict[str, Domain], option_problems: OptionProblems
) -> Iterator[Problem]:
    """Yield what is wrong with the keys and parameters together.

    Args:
        source: the study file's keys as they are written.
        values: those that are valid by themselves.
        domains: the parameters that are valid by themselves.
        option_problems: yields what is wrong with the options of a sampler or pruner.
    """
    method, budget, command = values.get("method"), values.get("budget"), values.get("command")
    yield from _check_seed(source, method, domains.get(SEED))
    yield from _check_repeats(source, values.get("repeats"), domains)
    yield from _check_workers(source, values.get("workers"))
    yield from check_dependent(source, values.get("from"), domains)
    if pruner := values.get("pruner"):
        yield from _check_pruner(source, pruner, ("pruner",), option_problems)
    yield from _check_sampler(source, method, values.get("sampler", {}), option_problems)
    yield from _check_points(source, method, values.get("enqueue", []), domains)
    yield from _check_whole_numbers(source, values, domains)
    yield from _check_size(source, method, budget, domains)
    if command is not None and values.get("from") is not None and resumes_itself(command, domains):
        message = "a script that goes on from ${step} by itself has its state in files of its own, in the first study"
        yield source.problem(("from",), message, "give trial.report a state (sweep docs own-code)")
    if values.get("determinism") == "strict" and command is not None:
        message = "strict cannot be set for a command, which is a program of its own"
        hint = "remove it, and call torch.use_deterministic_algorithms(True) in the script"
        yield source.problem(("determinism",), message, hint)
    timeout = values.get("timeout")
    if isinstance(timeout, TimeoutSpec) and timeout.after_s is None and timeout.then == "complete":
        yield source.problem(
            ("timeout",), "says what happens then, but not after which time", "write {after: 30m, then: complete}"
        )
    if method == "grid":
        for name, domain in domains.items():
            if axis_size(domain) is None:
                hint = "give values or a step, or use method: random or tpe"
                yield source.problem(("parameters", name), "a grid needs finitely many values", hint)
            elif isinstance(domain, Choice) and domain.probabilities is not None:
                where = ("parameters", name, "probabilities")
                yield source.problem(where, "a grid has each value equally often", "remove it, or use method: random or tpe")
    elif method is not None:
        if budget is not None and budget == BudgetSpec():
            yield source.problem(("budget",), f"method {method} never ends by itself", "add budget: {trials: 50}")
        if domains and all(isinstance(domain, Constant) for domain in domains.values()):
            yield source.problem(("parameters",), f"method {method} has nothing to choose: every parameter is a constant")


def _check_workers(source: Source, workers: WorkersSpec | None) -> Iterator[Problem]:
    given = source.data.get("workers")
    if workers is None or not isinstance(given, dict):
        return
    if workers.engine == "ray" and isinstance(workers.devices, tuple):
        message = "indices mean nothing on a cluster, where Ray says which GPUs a trial gets"
        yield source.problem(("workers", "devices"), message, "write auto, or cpu for trials without GPUs")
    elif "engine" not in given:  # with engine: local they wait for another session
        for key in [key for key in ("address", "resources") if given.get(key)]:
            yield source.problem(("workers", key), "is for a Ray cluster only", "add engine: ray")


def _check_whole_numbers(source: Source, values: Mapping[str, Any], domains: dict[str, Domain]) -> Iterator[Problem]:
    """Yield the ranges of whole numbers that Optuna, which stores floats, would change."""
    if values.get("method") in (None, "grid") and values.get("pruner", {}).get("type", "none") == "none":
        return
    for name, domain in domains.items():
        if not isinstance(domain, Range) or not domain.integer or max(abs(domain.low), abs(domain.high)) <= _EXACT:
            continue
        if domain.spacing != 1 or float(domain.low) != domain.low or float(domain.high) != domain.high:
            message = f"Optuna stores numbers as floats, which hold whole numbers exactly only up to {_EXACT}"
            yield source.problem(("parameters", name), message, f"write min: {float(domain.low)} for a range of floats")


def _check_size(source: Source, method: str | None, budget: BudgetSpec | None, domains: dict[str, Domain]) -> Iterator[Problem]:
    if not domains or any(axis_size(domain) is None for domain in domains.values()):
        return
    try:
        size = Grid(spaces=[domains]).size
    except ValueError as error:
        yield source.problem(("parameters",), str(error), "use fewer parameters with conditions")
        return
    if method == "grid" and size > LARGEST and (budget is None or budget.trials is None):
        message = f"a grid of more than 10^{int((size.bit_length() - 1) * 0.30103)} trials has no end"
        yield source.problem(("parameters",), message, "add budget: {trials: 50}, use fewer values, or method: random or tpe")


def _check_pruner(source: Source, pruner: Any, where: tuple[str, ...], option_problems: OptionProblems) -> Iterator[Problem]:
    if not isinstance(pruner, dict):
        yield source.problem(where, f"must be a pruner, got {pruner!r}", "{type: median}")
        return
    kind = pruner.get("type")
    if kind not in PRUNERS:
        what = f"{kind!r} is not known" if "type" in pruner else "missing"
        hint = did_you_mean(str(kind), PRUNERS) if "type" in pruner else f"it is one of {', '.join(PRUNERS)}"
        yield source.problem(where if len(where) > 1 else (*where, "type"), what, hint)
    elif missing := missing_packages(kind, PRUNERS[kind]):
        yield source.problem((*where, "type"), *missing)
    else:
        options = {name: value for name, value in pruner.items() if name != "type"}
        inner = options.get(WRAPPED)
        if wrapped := [*_check_pruner(source, inner, (*where, WRAPPED), option_problems)] if inner else []:
            yield from wrapped
        else:
            yield from _check_options(source, where, option_problems("pruner", kind, options))


def _check_sampler(
    source: Source, method: str | None, options: dict[str, Any], option_problems: OptionProblems
) -> Iterator[Problem]:
    if method == "grid":
        if options:
            yield source.problem(("sampler",), "a grid has no sampler", "remove it, or use another method")
    elif method is not None:
        if missing := missing_packages(method, SAMPLERS[method]):
            yield source.problem(("method",), *missing)
        elif options:
            yield from _check_options(source, ("sampler",), option_problems("sampler", method, options))


def _check_options(source: Source, where: tuple[str, ...], found: Iterable[OptionProblem]) -> Iterator[Problem]:
    for option, message, hint in found:
        yield source.problem(where if option is None else (*where, option), message, hint)


def _check_points(
    source: Source, method: str | None, points: list[dict[str, Any]], domains: dict[str, Domain]
) -> Iterator[Problem]:
    if method == "grid" and points and conditional(domains):
        message = "the order of a grid with conditions cannot be changed"
        yield source.problem(("enqueue",), message, "remove it, or use another method")
    for place, point in enumerate(points if source.data.get("parameters") else ()):
        if method == "grid" and domains and all(axis_size(domain) for domain in domains.values()) and not conditional(domains):
            number = Grid(spaces=[domains]).find(point)
            if number is not None and number > LARGEST:
                message = f"point {place + 1}: it is too far back in a grid of so many points"
                yield source.problem(("enqueue",), message, "use fewer values, or method: random or tpe")
        for name, value in point.items():
            if name not in domains:
                yield source.problem(("enqueue",), f"point {place + 1}: no parameter {name!r}", did_you_mean(name, domains))
            elif not can_be(domains[name], value):
                message = f"point {place + 1}: {name} cannot be {value!r}"
                yield source.problem(("enqueue",), message, f"it is {domain_text(domains[name])}")


def _check_repeats(source: Source, repeats: RepeatsSpec | None, domains: dict[str, Domain]) -> Iterator[Problem]:
    if repeats is None:
        return
    if repeats.allow_failed >= repeats.count:
        hint = f"at most {repeats.count - 1}: one run must be complete"
        yield source.problem(("repeats", "allow_failed"), f"{repeats.allow_failed} of {repeats.count} may not fail", hint)
    if repeats.count > 1 and SEED in domains:
        hint = "both select the random seed: keep one of the two"
        yield source.problem(("repeats",), f"cannot be combined with a parameter {SEED}", hint)


def _check_seed(source: Source, method: str | None, domain: Domain | None) -> Iterator[Problem]:
    where = ("parameters", SEED)
    if isinstance(domain, Choice | Fixed) and any(type(value) is not int for value in listed(domain)):
        yield source.problem(where, "must be whole numbers: they select the trial's random seed", "seed: {values: [0, 1, 2]}")
    if method not in (None, "grid") and domain is not None and not isinstance(domain, Fixed):
        yield source.problem(where, f"method {method} would search for the luckiest seed", "use a constant, or method: grid")
