"""Optuna's samplers and pruners by the names of the study file, and what each can do; `sweep.search.methods` makes them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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


def missing_packages(strategy: Strategy) -> list[str]:
    """Return the packages that a sampler or pruner needs and that are not installed."""
    return [name for name in strategy.packages if importlib.util.find_spec(name) is None]
