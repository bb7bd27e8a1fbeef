"""Which trials are trainings of one setting, which setting is best, and how certain that is.

- Settings that were trained with several seeds are compared by the seeds that they share. Each has an interval of its mean and
  of its difference to the best.
- The bootstrap (Efron 1979) estimates how often each would come first if the seeds were drawn again. With fewer than five seeds
  it is too optimistic, and is not computed.
- A setting with less than half as many seeds as others is unfinished, and is not compared.
- A setting of which one trial breaks a constraint is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sweep.report.intervals import mean_and_half_width, variance_within
from sweep.study.ranking import complete_of, feasible
from sweep.study.record import TrialRecord
from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar

Key = tuple[Scalar, ...]
_RESAMPLES = 4_000
_AT_ONCE = 250
_FEWEST_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Behind:
    """By how much a setting is worse than the best one, seed by seed, in the metric's unit, with the 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An assignment of the hyperparameters, trained once or with several seeds.

    Attributes:
        params: the swept ones that it has, without the seed.
        trainings: the number that is counted: one for each seed that the compared settings share.
        trials: the numbers of their trials.
        mean: of the metric over the trainings; `low` and `high` are its 95 % interval, None with one seed.
        behind: the difference to the best setting; None for the best itself, and with one seed.
        chance: how often it comes first if the seeds are drawn again; None with fewer than five seeds.
        finished: whether it has at least half as many seeds as the others; only then it is compared.
    """

    params: dict[str, Scalar]
    trainings: int
    trials: tuple[int, ...]
    mean: float
    low: float | None = None
    high: float | None = None
    behind: Behind | None = None
    chance: float | None = None
    finished: bool = True


def factors(study: StudySpec) -> list[str]:
    """Return the swept hyperparameters, without the seed."""
    return [name for name in swept(study.parameters) if name != SEED]


def key_of(record: TrialRecord, names: Iterable[str]) -> Key:
    """Return a trial's values of some parameters."""
    return tuple(record.params.get(name) for name in names)


def by_setting(complete: Iterable[TrialRecord], names: Sequence[str]) -> dict[Key, dict[Scalar, TrialRecord]]:
    """Return the trials of each setting by seed; of several with the same seed only the first, since the others repeat it."""
    groups: dict[Key, dict[Scalar, TrialRecord]] = {}
    for record in complete:
        groups.setdefault(key_of(record, names), {}).setdefault(record.params.get(SEED), record)
    return groups


def value_of(record: TrialRecord) -> float:
    """Return the objective's value of a complete trial."""
    assert record.value is not None
    return record.value


def settings(records: Iterable[TrialRecord], study: StudySpec) -> list[Setting]:
    """Return the settings of the complete trials by the first metric, the best first, the unfinished ones last."""
    names, sign = factors(study), study.metric.sign
    groups = {
        key: seeds
        for key, seeds in by_setting(complete_of(records), names).items()
        if all(feasible(study, record.metrics) for record in seeds.values())
    }
    if not groups:
        return []
    most = max(len(seeds) for seeds in groups.values())
    compared = {key: seeds for key, seeds in groups.items() if 2 * len(seeds) >= most}
    shared = [seed for seed in next(iter(compared.values())) if all(seed in seeds for seeds in compared.values())]
    counted = {  # if no seed is common to all, each setting has its own
        key: [seeds[seed] for seed in (shared if shared and key in compared else seeds)] for key, seeds in groups.items()
    }
    values = {key: [value_of(record) for record in found] for key, found in counted.items()}
    means = {key: mean_and_half_width(found) for key, found in values.items()}
    first = {key: min(record.number for record in seeds.values()) for key, seeds in groups.items()}
    order = sorted(groups, key=lambda key: (key not in compared, -sign * means[key][0], first[key]))
    best, table = values[order[0]], [values[key] for key in compared]
    chances = dict(zip(compared, _chances(table, sign), strict=True)) if len(shared) >= _FEWEST_SEEDS else {}
    found = []
    for key in order:
        mean, half = means[key]
        found.append(
            Setting(
                params={name: value for name, value in counted[key][0].params.items() if name in names},
                trainings=len(counted[key]),
                trials=tuple(sorted({record.number for record in counted[key]})),
                mean=mean,
                low=None if half is None else mean - half,
                high=None if half is None else mean + half,
                behind=_behind(best, values[key], sign) if shared and key in compared and key != order[0] else None,
                chance=chances.get(key),
                finished=key in compared,
            )
        )
    return found


def deviation(records: Iterable[TrialRecord], study: StudySpec) -> float | None:
    """Return the standard deviation between trainings of one setting with different seeds. None with one seed."""
    groups = [[value_of(r) for r in seeds.values()] for seeds in by_setting(complete_of(records), factors(study)).values()]
    return None if (within := variance_within(groups)) is None else math.sqrt(within)


def _chances(values: Sequence[Sequence[float]], sign: int) -> list[float]:
    """Return how often each setting comes first if the seeds, the same for all, are drawn again; equal ones share it."""
    table = sign * np.array(values)
    random = np.random.default_rng(0)
    shares = np.zeros(len(values))
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = random.integers(0, table.shape[1], (_AT_ONCE, table.shape[1]))
        means = table[:, drawn].mean(axis=2)
        first = means >= means.max(axis=0) - 1e-12 * np.abs(means).max(axis=0)
        shares += (first / first.sum(axis=0)).sum(axis=1)
    return [float(share) for share in shares / _RESAMPLES]


def _behind(best: Sequence[float], other: Sequence[float], sign: int) -> Behind | None:
    mean, half = mean_and_half_width([sign * (one - two) for one, two in zip(best, other, strict=True)])
    return None if half is None else Behind(difference=mean, low=mean - half, high=mean + half)
