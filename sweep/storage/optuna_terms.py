"""A study in Optuna's terms, for its database and for the in-memory study: states, distributions, results, attributes."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweep.study.distribution import EDGE, Distribution
from sweep.study.ranking import excesses, objective_values
from sweep.study.space import Choice, Range, Space, by_shares, swept
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SamplerState = dict[str, Any]
Attributes = dict[str, Any]

# Optuna has no state for an interrupted trial.
OPTUNA_STATES = {
    TrialState.WAITING: "RUNNING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAILED: "FAIL",
}
# This program's attribute of a trial: what the sampler drew together of parameters that the function may ask for.
RELATIVE = "sweep:relative"
# Optuna's attributes of a trial: the rungs that it has passed, and by how much it exceeds each bound.
RUNG = "completed_rung_"
CONSTRAINT = "constraints:"


@dataclass(frozen=True, kw_only=True)
class SuggestedParam:
    """A parameter that a function has asked for, as Optuna stores it: the value as a float, the distribution as JSON."""

    name: str
    internal: float
    distribution: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is stored after each ask, so that a resumed study proposes the same; plain data.

    Attributes:
        attributes: those that the sampler gave the new trial.
        state: of sampler and pruner, after the ask.
        param: the one that was asked for, where the function suggests its own.
    """

    attributes: Attributes
    state: SamplerState
    param: SuggestedParam | None = None


@dataclass(frozen=True, kw_only=True)
class StoredSearch:
    """What the database holds for sampler and pruner beside the records of the trials.

    Attributes:
        state: `Drawn.state` of the last ask; None if there was none, or an older version of this program stored none.
        attributes: those that sampler and pruner gave each trial, by its number.
        curves: step and objective value of each report, by the trial's number.
        params: those that functions have asked for, by the trial's number.
    """

    state: SamplerState | None = None
    attributes: Mapping[int, Attributes] = field(default_factory=dict)
    curves: Mapping[int, Sequence[tuple[int, float]]] = field(default_factory=dict)
    params: Mapping[int, Sequence[SuggestedParam]] = field(default_factory=dict)


def result_told(
    study: StudySpec, state: TrialState, value: float | None, metrics: Mapping[str, float]
) -> tuple[list[float] | None, Attributes]:
    """Return what Optuna is told of a trial: its objective values (all or None), and the attributes for its constraints."""
    if state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return None, {}
    values = [one for one in objective_values(study, value, metrics) if one is not None]
    attributes = {f"{CONSTRAINT}{name}": excess for name, excess in excesses(study, metrics).items()}
    return values if len(values) == len(study.metrics) else None, attributes


def category(value: Scalar) -> Any:
    """Return a parameter's value as Optuna has it: a list is its JSON text, since Optuna's values are scalars."""
    return json.dumps(value) if isinstance(value, tuple) else value


def domain_in(distribution: str) -> Choice | Range:
    """Return the domain that Optuna has stored as this JSON.

    Raises:
        ValueError, LookupError, TypeError: it is damaged.
    """
    data = json.loads(distribution)
    found = data["attributes"]
    if data["name"] == "CategoricalDistribution":
        return Choice(values=tuple(found["choices"]))
    kind = int if data["name"] == "IntDistribution" else float
    step = found["step"] if (kind, found["step"]) != (int, 1) else None
    return Range(low=kind(found["low"]), high=kind(found["high"]), step=step, log=bool(found["log"]))


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the Optuna distribution of each swept parameter, in order; also of those that apply only to some trials."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    result: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            result[name] = CategoricalDistribution([category(value) for value in domain.values])
        elif isinstance(domain, Range) and domain.integer:
            result[name] = IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        elif isinstance(domain, Distribution):  # Optuna has no such distribution: its tools see the lowest and highest value
            low, high = domain.low, domain.high
            result[name] = IntDistribution(int(low), int(high)) if domain.integer else FloatDistribution(float(low), float(high))
        elif isinstance(domain, Range):
            # Optuna cuts off, with a warning, what is no whole number of steps; half a step more hides the errors of floats.
            high = domain.high if domain.step is None else min(domain.high + domain.step / 2, sys.float_info.max)
            with warnings.catch_warnings(action="ignore"):
                result[name] = FloatDistribution(float(domain.low), float(high), log=domain.log, step=domain.step)
    return result


def searched_distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the distribution of what a sampler draws for each swept parameter: its value, or its share in (0, 1)."""
    from optuna.distributions import FloatDistribution

    shares = (name for name, domain in space.items() if by_shares(domain))
    return distributions(space) | dict.fromkeys(shares, FloatDistribution(EDGE, 1 - EDGE))


def searched(space: Space, params: Params) -> dict[str, Scalar]:
    """Return what a sampler draws in place of these values; constants have none."""
    drawn = {name: space[name] for name in swept(space) if name in params}
    values = {name: category(params[name]) for name in drawn}
    return values | {name: domain.share_of(params[name]) for name, domain in drawn.items() if by_shares(domain)}
