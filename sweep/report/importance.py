"""Which parameters matter.

- **Alone**: the share of the differences between trials that the parameter explains by itself, as Kelley's epsilon-squared (1935)
  of the ranks: 0 on average for a parameter without influence, for any number of trials, and robust to trials that diverged.
  Numbers with many values are first divided into a few equal groups. The interval is the delete-half jackknife's (Shao & Wu
  1989): the spread over random halves of the trials, drawn without replacement. A conditional parameter is measured by the trials
  that have it. Optuna's PED-ANOVA asks what distinguishes the best tenth, which is one of twelve trials.
- **Together with others**: the share that changing this parameter alone changes when all others are fixed (the total effect of
  Sobol' 1993). It is exact in a full grid, where a parameter may matter only together with another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.report.intervals import variance_within
from sweep.report.settings import Key, by_setting, factors, key_of, value_of
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar

_FEWEST = 6  # trials; with fewer nothing is computed
_HALVES = 400
_MANY = 2_000  # trials: their interval is narrow, and a quarter of the halves is enough

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of a parameter, as shares from 0 to 1: alone, with the 95 % interval, and together with others.

    `together` is None unless every point of a grid is complete.
    """

    name: str
    alone: float
    low: float
    high: float
    together: float | None = None


def importances(records: Iterable[TrialRecord], study: StudySpec) -> list[Importance]:
    """Return the swept parameters, the most important first; none if too few trials are complete."""
    complete = complete_of(records)
    names = factors(study)
    if len(complete) < _FEWEST or not names:
        return []
    together = _together(complete, names)
    found = []
    for name in names:
        having = [record for record in complete if name in record.params]  # a conditional parameter is not in all
        if len(having) < _FEWEST or (groups := _groups([record.params[name] for record in having])) is None:
            continue
        ranks, random = _ranks([value_of(record) for record in having]), np.random.default_rng(0)
        count = _HALVES if len(ranks) <= _MANY else _HALVES // 4
        halves = np.argsort(random.random((count, len(ranks))), axis=1)[:, : len(ranks) // 2]
        alone = _explained(groups, ranks)
        spread = [_explained(groups[half], ranks[half]) for half in halves]
        low, high = np.quantile(spread, (0.025, 0.975)).tolist()
        found.append(Importance(name=name, alone=alone, low=min(alone, low), high=max(alone, high), together=together.get(name)))
    return sorted(found, key=lambda item: -max(item.alone, item.together or 0.0))


def noise_share(records: Iterable[TrialRecord], study: StudySpec) -> float | None:
    """Return the share of the differences between trials that only the seed explains; None with one seed."""
    complete = complete_of(records)
    rank = dict(zip((r.key for r in complete), _ranks([value_of(r) for r in complete]), strict=True))
    groups = [[float(rank[r.key]) for r in seeds.values()] for seeds in by_setting(complete, factors(study)).values()]
    within = variance_within(groups)
    if within is None:
        return None
    whole = float(np.var([value for group in groups for value in group], ddof=1))
    return min(1.0, within / whole) if whole > 0 else None


def _ranks(values: Sequence[float]) -> Floats:
    """Return the rank of each value; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    result: Floats = ((ends - counts + 1 + ends) / 2.0)[inverse]
    return result


def _groups(values: Sequence[Scalar]) -> np.ndarray[Any, np.dtype[np.intp]] | None:
    """Return the group of each value: one for each value, or a few equal groups of many numbers.

    None if most values occur once and are not numbers: then nothing can be computed.
    """
    places = {item: place for place, item in enumerate(dict.fromkeys((type(value), value) for value in values))}
    if 2 * len(places) <= len(values):
        return np.array([places[type(value), value] for value in values])
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return None
    few = min(5, math.isqrt(len(values)))
    return np.minimum(((_ranks(numbers) - 0.5) * few / len(numbers)).astype(np.intp), few - 1)


def _explained(groups: np.ndarray[Any, np.dtype[np.intp]], ranks: Floats) -> float:
    count = np.bincount(groups)
    used = int((count > 0).sum())
    deviations = ranks - ranks.mean()
    total = float(deviations @ deviations)
    if used < 2 or used >= len(ranks) or total == 0:
        return 0.0
    sums = np.bincount(groups, weights=deviations)
    between = float((sums[count > 0] ** 2 / count[count > 0]).sum())
    return max(0.0, (between - (used - 1) * (total - between) / (len(ranks) - used)) / total)


def _together(complete: Sequence[TrialRecord], names: Sequence[str]) -> dict[str, float]:
    """Return each parameter's total effect on the ranks of the settings' means; none unless they are a full grid."""
    by_setting: dict[Key, list[float]] = {}
    for record in complete:
        by_setting.setdefault(key_of(record, names), []).append(value_of(record))
    axes = [list(dict.fromkeys(key[place] for key in by_setting)) for place in range(len(names))]
    shape = tuple(len(axis) for axis in axes)
    if len(names) < 2 or math.prod(shape) != len(by_setting):
        return {}
    ranks = _ranks([math.fsum(values) / len(values) for values in by_setting.values()])
    table = np.zeros(shape)
    for key, rank in zip(by_setting, ranks, strict=True):
        table[tuple(axis.index(value) for axis, value in zip(axes, key, strict=True))] = rank
    total = float(table.var())
    if total == 0:
        return {}
    return {name: float(table.var(axis=place).mean()) / total for place, name in enumerate(names)}
