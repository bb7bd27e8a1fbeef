"""What a study's trials say about its hyperparameters, and how sure that is. Plain statistics, for every method and metric.

- **Importance** of a parameter *alone*: the share of the differences between trials that its value explains, as the
  epsilon-squared of Kruskal and Wallis's ranks (Kelley 1935; Tomczak & Tomczak 2014): 0 for what changes nothing, whatever the
  number of trials, and not swayed by trials that diverged. Numbers that were drawn from a range are first cut into a
  few equal groups. Its interval is the delete-half jackknife's (Shao & Wu 1989): the spread over random halves of the trials,
  drawn without replacement, is that of the estimate itself. Optuna's PED-ANOVA asks another question, what separates the
  best tenth: of twelve trials that is one.
- **Together with others**: what changing this parameter alone still changes when all others are given (the total effect of
  Sobol' 1993), exact in a full grid, where a parameter may matter only through another one.
- **Comparisons** of two values pair the trials that are equal in everything else, seeds included, and give Student's interval of
  the mean difference. With several seeds, each seed's mean over all settings counts once: the settings are chosen, the
  seeds are chance.
- **Settings** trained with several seeds have a mean and its interval. How often each comes first when the seeds are
  drawn again (the bootstrap, Efron 1979) tells how sure the winner is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.records import TrialRecord
from sweep.space import Range, swept
from sweep.study import SEED, StudySpec
from sweep.trial import Scalar, TrialState

_FEWEST = 6  # trials; with fewer nothing is said about importance
_HALVES = 400
_MANY = 2_000  # trials: a quarter of the halves tells their narrow interval well enough
_RESAMPLES = 4_000
_MOST_COMPARED = 6  # values of one parameter; of more than three, the best is held against each other
# Student's t, 97.5 %, for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
      2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
_Z = 1.959964

Floats = np.ndarray[Any, np.dtype[np.float64]]
Key = tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much a parameter matters: shares from 0 to 1.

    Attributes:
        alone, low, high: what it explains by itself, with its 95 % interval.
        together: with what it does through other parameters; None unless every point of a grid is complete.
    """

    name: str
    alone: float
    low: float
    high: float
    together: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One value of a parameter against another, everything else being equal.

    Attributes:
        difference, low, high: by how much `better` is better, in the metric's unit, with its 95 % interval.
        wins, pairs: in how many of the pairs it is better.
        over: how many `seeds` or `settings` the interval is over.
    """

    name: str
    better: Scalar
    worse: Scalar
    difference: float
    low: float
    high: float
    wins: int
    pairs: int
    over: int
    unit: str

    @property
    def clear(self) -> bool:
        """Tell whether the interval leaves no doubt which is better."""
        return self.low > 0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An assignment of the hyperparameters, trained once or with several seeds.

    Attributes:
        params: the swept ones without the seed.
        trials: their numbers.
        mean: of the metric over the seeds; `low` and `high` its 95 % interval, None with one seed.
        chance: how often it comes first when the seeds are drawn again; None with one seed.
    """

    params: dict[str, Scalar]
    trials: tuple[int, ...]
    mean: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None


def importances(records: Iterable[TrialRecord], study: StudySpec) -> list[Importance]:
    """Return the swept parameters, the most important first; nothing when too few trials are complete to tell."""
    complete = _complete(records)
    names = factors(study)
    if len(complete) < _FEWEST or not names:
        return []
    ranks = _ranks([record.value or 0.0 for record in complete])
    together = _together(complete, names)
    random = np.random.default_rng(0)
    count = _HALVES if len(ranks) <= _MANY else _HALVES // 4
    halves = np.argsort(random.random((count, len(ranks))), axis=1)[:, : len(ranks) // 2]
    found = []
    for name in names:
        groups = _groups([record.params.get(name) for record in complete], study.parameters[name])
        alone = _explained(groups, ranks)
        spread = [_explained(groups[half], ranks[half]) for half in halves]
        low, high = np.quantile(spread, (0.025, 0.975))
        found.append(
            Importance(
                name=name, alone=alone, low=min(alone, float(low)), high=max(alone, float(high)), together=together.get(name)
            )
        )
    return sorted(found, key=lambda item: -max(item.alone, item.together or 0.0))


def noise_share(records: Iterable[TrialRecord], study: StudySpec) -> float | None:
    """Return the share of the differences between trials that is chance: trainings of one setting differ. None with one seed."""
    groups: dict[Key, list[float]] = {}
    complete = _complete(records)
    for record, rank in zip(complete, _ranks([record.value or 0.0 for record in complete]), strict=True):
        groups.setdefault(_key(record, factors(study)), []).append(float(rank))
    within = [value - sum(group) / len(group) for group in groups.values() if len(group) > 1 for value in group]
    freedom = sum(len(group) - 1 for group in groups.values())
    if not freedom:
        return None
    everything = np.var([value for group in groups.values() for value in group], ddof=1)
    return min(1.0, float(sum(value * value for value in within) / freedom / everything)) if everything > 0 else None


def settings(records: Iterable[TrialRecord], study: StudySpec) -> list[Setting]:
    """Return the settings of the complete trials, the best first; those with fewer seeds than others come after them."""
    names, sign = factors(study), study.metric.sign
    groups: dict[Key, list[TrialRecord]] = {}
    for record in _complete(records):
        groups.setdefault(_key(record, names), []).append(record)
    if not groups:
        return []
    most = max(len(group) for group in groups.values())
    full = {key: group for key, group in groups.items() if len(group) == most}
    chances = dict(zip(full, _chances(list(full.values()), sign), strict=True))
    found = []
    for key, group in groups.items():
        values = [record.value or 0.0 for record in group]
        mean, half = mean_and_half_width(values)
        found.append(
            Setting(
                params=dict(zip(names, key, strict=True)),
                trials=tuple(record.number for record in group),
                mean=mean,
                low=None if half is None else mean - half,
                high=None if half is None else mean + half,
                chance=chances.get(key),
            )
        )
    return sorted(found, key=lambda item: (-len(item.trials), -sign * item.mean, item.trials[0]))


def comparisons(records: Iterable[TrialRecord], study: StudySpec) -> list[Comparison]:
    """Return what values of a parameter are better than which, in the order of the parameters."""
    complete, names = _complete(records), swept(study.parameters)
    found = []
    for name in factors(study):
        values = list(dict.fromkeys(record.params.get(name) for record in complete))
        if not 2 <= len(values) <= _MOST_COMPARED:
            continue
        others = [other for other in names if other != name]
        by_value: dict[Scalar, dict[Key, float]] = {value: {} for value in values}
        for record in complete:
            by_value[record.params.get(name)][_key(record, others)] = study.metric.sign * (record.value or 0.0)
        pairs = [_compared(name, one, other, by_value, others) for one, other in itertools.combinations(values, 2)]
        known = [pair for pair in pairs if pair is not None]
        if len(values) > 3:
            best = max(values, key=lambda value: float(np.mean(list(by_value[value].values()))))
            known = [pair for pair in known if pair.better == best]
        found += known
    return found


def factors(study: StudySpec) -> list[str]:
    """Return the hyperparameters that are varied: the seed is none."""
    return [name for name in swept(study.parameters) if name != SEED]


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of Student's 95 % interval around it, None for a single value."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return mean, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    freedom = count - 1
    quantile = _T[freedom - 1] if freedom <= len(_T) else _Z + 2.4 / freedom
    return mean, quantile * deviation / math.sqrt(count)


def wilson(share: float, samples: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of so many samples (Wilson 1927), such as an accuracy on a test set."""
    centre, spread = share + _Z**2 / (2 * samples), _Z * math.sqrt(share * (1 - share) / samples + _Z**2 / (4 * samples**2))
    return (centre - spread) / (1 + _Z**2 / samples), (centre + spread) / (1 + _Z**2 / samples)


def _complete(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state is TrialState.COMPLETE and record.value is not None]


def _key(record: TrialRecord, names: Iterable[str]) -> Key:
    return tuple(record.params.get(name) for name in names)


def _ranks(values: Sequence[float]) -> Floats:
    """Return the rank of each value, equal ones sharing the mean of theirs."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    result: Floats = ((ends - counts + 1 + ends) / 2.0)[inverse]
    return result


def _groups(values: Sequence[Scalar], domain: object) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return a group's number for each value: the value itself, or one of a few equal parts of a range."""
    distinct = list(dict.fromkeys(values))
    few = min(5, math.isqrt(len(values)))
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if not isinstance(domain, Range) or len(distinct) <= few or len(numbers) < len(values):
        places = {(type(value), value): place for place, value in enumerate(distinct)}
        return np.array([places[type(value), value] for value in values])
    order = _ranks(numbers)
    return np.minimum(((order - 0.5) * few / len(order)).astype(np.intp), few - 1)


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
    """Return each parameter's total effect on the settings' mean ranks, nothing unless they are a full grid."""
    by_setting: dict[Key, list[float]] = {}
    for record in complete:
        by_setting.setdefault(_key(record, names), []).append(record.value or 0.0)
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


def _chances(groups: Sequence[Sequence[TrialRecord]], sign: int) -> list[float | None]:
    """Return how often each setting comes first; the seeds are drawn for all at once where they have the same."""
    seeds = [{record.params.get(SEED): record.value or 0.0 for record in group} for group in groups]
    common = [seed for seed in seeds[0] if all(seed in values for values in seeds)]
    if len(common) < 2 or len(groups) < 2:
        return [None] * len(groups)
    table = sign * np.array([[values[seed] for seed in common] for values in seeds])
    drawn = np.random.default_rng(0).integers(0, len(common), (_RESAMPLES, len(common)))
    firsts = table[:, drawn].mean(axis=2).argmax(axis=0)
    return [float(share) for share in np.bincount(firsts, minlength=len(groups)) / _RESAMPLES]


def _compared(
    name: str, one: Scalar, other: Scalar, by_value: dict[Scalar, dict[Key, float]], others: Sequence[str]
) -> Comparison | None:
    shared = [key for key in by_value[one] if key in by_value[other]]
    differences = {key: by_value[one][key] - by_value[other][key] for key in shared}
    unit, units = "settings", list(differences.values())
    if SEED in others:
        place = others.index(SEED)
        by_seed: dict[Scalar, list[float]] = {}
        for key, difference in differences.items():
            by_seed.setdefault(key[place], []).append(difference)
        if len(by_seed) > 1:
            unit, units = "seeds", [math.fsum(values) / len(values) for values in by_seed.values()]
    if len(units) < 2:
        return None
    mean, half = mean_and_half_width(units)
    assert half is not None
    better, worse = (one, other) if mean >= 0 else (other, one)
    turn = 1 if mean >= 0 else -1
    return Comparison(
        name=name,
        better=better,
        worse=worse,
        difference=abs(mean),
        low=abs(mean) - half,
        high=abs(mean) + half,
        wins=sum(turn * difference > 0 for difference in differences.values()),
        pairs=len(differences),
        over=len(units),
        unit=unit,
    )
