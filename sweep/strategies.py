"""Optuna's samplers and pruners by the names of the study file, with Optuna's own options, checked before anything runs."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Iterator, Mapping
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
    """

    optuna: str
    packages: tuple[str, ...] = ()


SAMPLERS = {
    "random": Strategy(optuna="RandomSampler"),
    "tpe": Strategy(optuna="TPESampler"),
    "gp": Strategy(optuna="GPSampler", packages=("scipy",)),
    "cmaes": Strategy(optuna="CmaEsSampler", packages=("cmaes",)),
    "qmc": Strategy(optuna="QMCSampler", packages=("scipy",)),
    "nsgaii": Strategy(optuna="NSGAIISampler"),
}
# What a study file can write; other types of options are functions and objects of Optuna's.
_PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "None": type(None), "dict[str, Any]": dict}
_OURS = {"self", "seed"}  # the study's seed is the sampler's


def missing_packages(method: str) -> list[str]:
    """Return the packages that a method needs and that are not installed."""
    return [name for name in SAMPLERS[method].packages if importlib.util.find_spec(name) is None]


def option_problems(method: str, options: Mapping[str, Any]) -> Iterator[tuple[str | None, str, str]]:
    """Yield what is wrong with a sampler's options: the option (None: all together), a message, and what to write."""
    import optuna

    known = _options(getattr(optuna.samplers, SAMPLERS[method].optuna))
    well = True
    for name, value in options.items():
        if name not in known:
            well = False
            yield name, f"method {method} has no such option", did_you_mean(name, known)
            continue
        if not any(type(value) is _PLAIN[kind] or (kind == "float" and type(value) is int) for kind in known[name]):
            well = False
            yield name, f"must be {' or '.join(known[name])}, got {value!r}", ""
    if well:
        try:
            make_sampler(method, 0, options)
        except (ValueError, TypeError) as error:
            yield None, str(error), ""


def make_sampler(method: str, seed: int, options: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler for a method, with its own defaults for what is not given.

    Raises:
        ValueError, TypeError: Optuna refuses the options.
    """
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # who writes an option wants it
        sampler = getattr(optuna.samplers, SAMPLERS[method].optuna)
        return sampler(seed=seed, **options)  # type: ignore[no-any-return]  # getattr knows no types


def _options(strategy: type) -> dict[str, list[str]]:
    """Return the options that a study file can write, with their types."""
    annotations = {name: str(item.annotation) for name, item in inspect.signature(strategy).parameters.items()}
    split = {name: text.split(" | ") for name, text in annotations.items() if name not in _OURS}
    return {name: kinds for name, kinds in split.items() if all(kind in _PLAIN for kind in kinds)}
