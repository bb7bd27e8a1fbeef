"""What Optuna's database and in-memory studies share: states, distributions, directions, attributes, in Optuna's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.study.ranking import excesses, objective_values
from sweep.study.space import Choice, Range, Space
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


SamplerState = dict[str, Any]


Attributes = dict[str, Any]


# What Optuna calls a trial's state; it knows nothing of one that was interrupted.
OPTUNA_STATES = {
    TrialState.WAITING: "RUNNING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAILED: "FAIL",
}


RUNG = "completed_rung_"


_CONSTRAINT = "constraints:"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What must survive of an ask: the sampler's attributes of the trial, and all memory afterwards; plain data."""

    attributes: Attributes
    memory: SamplerState


def directions(study: StudySpec) -> list[Any]:
    """Return where each metric is to go, in Optuna's terms."""
    from optuna.study import StudyDirection

    return [StudyDirection[metric.goal.upper()] for metric in study.metrics]


def values_told(study: StudySpec, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> list[float] | None:
    """Return what Optuna is told of a finished trial's metrics, None for nothing; it has all of them or none."""
    values = [one for one in objective_values(study, value, metrics) if one is not None]
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return values if ended and len(values) == len(study.metrics) else None


def constraint_attributes(study: StudySpec, state: TrialState, metrics: Mapping[str, float]) -> Attributes:
    """Return what Optuna's `Trial.set_constraint` would have written down about a finished trial."""
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return {f"{_CONSTRAINT}{name}": beyond for name, beyond in excesses(study, metrics).items()} if ended else {}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the Optuna distributions of the swept parameters, in order, those that apply only to some trials too."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    result: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            result[name] = CategoricalDistribution(domain.values)
        elif isinstance(domain, Range) and domain.integer:
            result[name] = IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        elif isinstance(domain, Range):
            result[name] = FloatDistribution(float(domain.low), float(domain.high), log=domain.log, step=domain.step)
    return result
