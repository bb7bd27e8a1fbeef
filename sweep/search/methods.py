"""Create Optuna's samplers and pruners, and check their options by their signatures; `sweep.study.methods` has the names."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sweep.errors import did_you_mean
from sweep.study.file.checks import OptionProblem
from sweep.study.methods import BRACKETS, PRUNERS, SAMPLERS, WRAPPED

if TYPE_CHECKING:
    import optuna


# The types that a study file can contain; options of other types are functions and objects of Optuna's.
_PLAIN: dict[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "None": type(None),
    "dict[str, Any]": dict,
    "list[int]": list,
}
_OURS = {"self", "seed"}  # the study's seed is the sampler's


def learns_constraints(method: str) -> bool:
    """Return whether a method's proposals respect constraints; Optuna's samplers can since its version 5."""
    import optuna

    return method in SAMPLERS and SAMPLERS[method].constraints and hasattr(optuna.trial.Trial, "set_constraint")


def option_problems(key: str, name: str, options: Mapping[str, Any]) -> Iterator[OptionProblem]:
    """Yield the problems with the options of a sampler or pruner that `sweep.study.methods` lists and that can be imported.

    Args:
        key: `sampler` or `pruner`.
        name: which one.
        options: by Optuna's names.
    """
    import optuna

    if key == "sampler":
        found = [*_option_problems(f"method {name}", getattr(optuna.samplers, SAMPLERS[name].optuna), options)]
        yield from found or _refusal(lambda: make_sampler(name, 0, options))
        return
    pruner = _pruner_class(name)
    found = [*_option_problems(f"pruner {name}", pruner, {key: value for key, value in options.items() if key != WRAPPED})]
    if wrapped := options.get(WRAPPED):
        own = {key: value for key, value in wrapped.items() if key != "type"}
        found += [(WRAPPED, message, hint) for _, message, hint in option_problems(key, wrapped["type"], own)]
    for parameter in inspect.signature(pruner).parameters.values():
        needed = parameter.name
        if parameter.default is inspect.Parameter.empty and needed not in options and needed != WRAPPED:
            found.append((None, f"pruner {name} needs {needed}", f"pruner: {{type: {name}, {needed}: ...}}"))
    yield from found or _refusal(lambda: make_pruner({"type": name, **options}))


def make_sampler(method: str, seed: int, options: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler for a method, with its own defaults for missing options.

    Raises:
        ValueError, TypeError: Optuna refuses the options.
    """
    import optuna

    with _quiet():
        sampler = getattr(optuna.samplers, SAMPLERS[method].optuna)
        return sampler(seed=seed, **options)  # type: ignore[no-any-return]  # getattr knows no types


def make_pruner(options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner for `{type: ..., options}`; without a type one that never prunes.

    Raises:
        ValueError, TypeError: Optuna refuses the options.
    """
    own = {name: value for name, value in options.items() if name != "type"}
    kind = options.get("type", "none")
    if kind == "patient":
        wrapped = own.get(WRAPPED)
        own[WRAPPED] = make_pruner(wrapped) if wrapped else None
    with _quiet():
        return _pruner_class(kind)(**own)


def _pruner_class(kind: str) -> type[optuna.pruners.BasePruner]:
    import optuna

    if kind == BRACKETS:
        from sweep.search.brackets import BracketsPruner

        return BracketsPruner
    return getattr(optuna.pruners, PRUNERS[kind].optuna)  # type: ignore[no-any-return]  # getattr knows no types


def _quiet() -> warnings.catch_warnings[None]:
    """Suppress the warning that something is experimental: the study file asks for it."""
    import optuna

    return warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning)


def _option_problems(owner: str, strategy: type, options: Mapping[str, Any]) -> Iterator[OptionProblem]:
    known = _options(strategy)
    for name, value in options.items():
        if name not in known:
            yield name, f"{owner} has no such option", did_you_mean(name, known)
        elif not any(type(value) is _PLAIN[kind] or (kind == "float" and type(value) is int) for kind in known[name]):
            yield name, f"must be {' or '.join(known[name])}, got {value!r}", ""


def _refusal(make: Callable[[], object]) -> Iterator[OptionProblem]:
    """Yield Optuna's own error for options that are correct one by one."""
    try:
        make()
    except (ValueError, TypeError) as error:
        yield None, str(error), ""


def _options(strategy: type) -> dict[str, list[str]]:
    """Return the options that a study file can set, with their types."""
    annotations = {name: _text(item.annotation) for name, item in inspect.signature(strategy).parameters.items()}
    split = {name: text.split(" | ") for name, text in annotations.items() if name not in _OURS}
    return {name: kinds for name, kinds in split.items() if all(kind in _PLAIN for kind in kinds)}


def _text(annotation: Any) -> str:
    # Without postponed annotations in its module, an annotation is the type itself.
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
