"""Optuna's samplers and pruners by their names in the study file, and their abilities; `sweep.search.methods` creates them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A sampler or pruner of Optuna's.

    Attributes:
        optuna: the name of its class; empty if it is this program's own.
        packages: its requirements beyond this package's own; each is an extra of this package.
        several_metrics: the sampler can search for a Pareto front.
        constraints: the sampler avoids trials that break a constraint.
        learns: the sampler uses trials that it has not proposed itself.
    """

    optuna: str
    packages: tuple[str, ...] = ()
    several_metrics: bool = True
    constraints: bool = False
    learns: bool = False


SAMPLERS = {
    "random": Strategy(optuna="RandomSampler"),
    "tpe": Strategy(optuna="TPESampler", constraints=True, learns=True),
    "gp": Strategy(optuna="GPSampler", constraints=True, learns=True),
    "cmaes": Strategy(optuna="CmaEsSampler", packages=("cmaes",), several_metrics=False),
    "qmc": Strategy(optuna="QMCSampler"),
    "nsgaii": Strategy(optuna="NSGAIISampler", constraints=True),
}
BRACKETS = "brackets"
PRUNERS = {
    "none": Strategy(optuna="NopPruner"),
    "median": Strategy(optuna="MedianPruner"),
    "percentile": Strategy(optuna="PercentilePruner"),
    "asha": Strategy(optuna="SuccessiveHalvingPruner"),
    "hyperband": Strategy(optuna="HyperbandPruner"),
    "patient": Strategy(optuna="PatientPruner"),
    "wilcoxon": Strategy(optuna="WilcoxonPruner"),
    "threshold": Strategy(optuna="ThresholdPruner"),
    BRACKETS: Strategy(optuna=""),
}
WRAPPED = "wrapped_pruner"  # the option of a pruner that is another pruner


def missing_packages(name: str, strategy: Strategy) -> tuple[str, str] | None:
    """Return that a sampler or pruner needs packages that are not installed, and how to install them; None if it needs none."""
    missing = [package for package in strategy.packages if importlib.util.find_spec(package) is None]
    return (f"{name} needs {', '.join(missing)}, which is not installed", f"pip install {' '.join(missing)}") if missing else None
