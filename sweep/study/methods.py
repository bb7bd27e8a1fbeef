"""Optuna's samplers and pruners by the names of the study file, with Optuna's own options, checked before anything runs."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.errors import did_you_mean

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A class of Optuna's.

    Attributes:
        optuna: its name there.
        packages: what it needs beside Optuna's own dependencies; extras of this package have them too.
        several_metrics: a sampler that can search for a Pareto front.
        constraints: a sampler that keeps away from trials that broke a constraint.
        learns: of a sampler: whether it looks at trials that it has not proposed itself.
    """

    optuna: str
    packages: tuple[str, ...] = ()
    several_metrics: bool = True
    constraints: bool = False
    learns: bool = False


SAMPLERS = {
    "random": Strategy(optuna="RandomSampler"),
    "tpe": Strategy(optuna="TPESampler", constraints=True, learns=True),
    "gp": Strategy(optuna="GPSampler", packages=("scipy",), constraints=True, learns=True),
    "cmaes": Strategy(optuna="CmaEsSampler", packages=("cmaes",), several_metrics=False),
    "qmc": Strategy(optuna="QMCSampler", packages=("scipy",)),
    "nsgaii": Strategy(optuna="NSGAIISampler", constraints=True),
}
PRUNERS = {
    "none": Strategy(optuna="NopPruner"),
    "median": Strategy(optuna="MedianPruner"),
    "percentile": Strategy(optuna="PercentilePruner"),
    "asha": Strategy(optuna="SuccessiveHalvingPruner"),
    "hyperband": Strategy(optuna="HyperbandPruner"),
    "patient": Strategy(optuna="PatientPruner"),
    "wilcoxon": Strategy(optuna="WilcoxonPruner", packages=("scipy",)),
    "threshold": Strategy(optuna="ThresholdPruner"),
}
WRAPPED = "wrapped_pruner"  # the option of a pruner that is another pruner
# What a study file can write; other types of options are functions and objects of Optuna's.
_PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "None": type(None), "dict[str, Any]": dict}
_OURS = {"self", "seed"}  # the study's seed is the sampler's
OptionProblem = tuple[str | None, str, str]


def learns_constraints(method: str) -> bool:
    """Tell whether a method's proposals heed constraints; Optuna's samplers are told of them as of its version 5."""
    import optuna

    return method in SAMPLERS and SAMPLERS[method].constraints and hasattr(optuna.trial.Trial, "set_constraint")


def missing_packages(strategy: Strategy) -> list[str]:
    """Return the packages that a sampler or pruner needs and that are not installed."""
    return [name for name in strategy.packages if importlib.util.find_spec(name) is None]


def sampler_problems(method: str, options: Mapping[str, Any]) -> Iterator[OptionProblem]:
    """Yield what is wrong with a sampler's options: the option (None: all together), a message, and what to write."""
    import optuna

    found = [*_option_problems(f"method {method}", getattr(optuna.samplers, SAMPLERS[method].optuna), options)]
    yield from found or _refusal(lambda: make_sampler(method, 0, options))


def pruner_problems(options: Mapping[str, Any]) -> Iterator[OptionProblem]:
    """Yield what is wrong with a pruner, given as `{type: ..., options}`, as `sampler_problems` does."""
    import optuna

    kind = options.get("type")
    if kind not in PRUNERS:
        what = f"{kind!r} is not known" if "type" in options else "missing"
        yield "type", what, did_you_mean(str(kind), PRUNERS) if "type" in options else f"it is one of {', '.join(PRUNERS)}"
        return
    if missing := missing_packages(PRUNERS[kind]):
        yield "type", f"{kind} needs {', '.join(missing)}, which is not installed", f"pip install {' '.join(missing)}"
        return
    strategy = getattr(optuna.pruners, PRUNERS[kind].optuna)
    own = {name: value for name, value in options.items() if name != "type"}
    wrapped = own.pop(WRAPPED, None) if kind == "patient" else None
    if wrapped is not None and not isinstance(wrapped, Mapping):
        yield WRAPPED, f"must be a pruner, got {wrapped!r}", "{type: median}"
        return
    found: list[OptionProblem] = [(WRAPPED, message, hint) for _, message, hint in (pruner_problems(wrapped) if wrapped else ())]
    found += _option_problems(f"pruner {kind}", strategy, own)
    needed = [p.name for p in inspect.signature(strategy).parameters.values() if p.default is inspect.Parameter.empty]
    for name in needed:
        if name not in options and name != WRAPPED:
            found.append((None, f"pruner {kind} needs {name}", f"pruner: {{type: {kind}, {name}: ...}}"))
    yield from found or _refusal(lambda: make_pruner(options))


def make_sampler(method: str, seed: int, options: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler for a method, with its own defaults for what is not given.

    Raises:
        ValueError, TypeError: Optuna refuses the options.
    """
    import optuna

    with _quiet():
        sampler = getattr(optuna.samplers, SAMPLERS[method].optuna)
        return sampler(seed=seed, **options)  # type: ignore[no-any-return]  # getattr knows no types


def make_pruner(options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Return Optuna's pruner for `{type: ..., options}`; without a type one that ends nothing.

    Raises:
        ValueError, TypeError: Optuna refuses the options.
    """
    import optuna

    own = {name: value for name, value in options.items() if name != "type"}
    kind = options.get("type", "none")
    if kind == "patient":
        wrapped = own.get(WRAPPED)
        own[WRAPPED] = make_pruner(wrapped) if wrapped else None
    with _quiet():
        return getattr(optuna.pruners, PRUNERS[kind].optuna)(**own)  # type: ignore[no-any-return]


def _quiet() -> warnings.catch_warnings[None]:
    """Leave out the warning that something is experimental: who writes it wants it."""
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
    """Yield what Optuna itself says against options that are well one by one."""
    try:
        make()
    except (ValueError, TypeError) as error:
        yield None, str(error), ""


def _options(strategy: type) -> dict[str, list[str]]:
    """Return the options that a study file can write, with their types."""
    annotations = {name: _text(item.annotation) for name, item in inspect.signature(strategy).parameters.items()}
    split = {name: text.split(" | ") for name, text in annotations.items() if name not in _OURS}
    return {name: kinds for name, kinds in split.items() if all(kind in _PLAIN for kind in kinds)}


def _text(annotation: Any) -> str:
    # A module without postponed annotations has the types themselves.
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
