"""Compare two values of a parameter by the trials that are equal in everything else, including the seed.

The interval of the mean difference is Student's. With several seeds it is over the seeds, since settings are chosen and seeds are
random: each seed counts once, by its mean over the settings that all seeds have.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweep.report.intervals import mean_and_half_width
from sweep.report.trials import Key, factors, key_of, value_of, varied
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar

_MOST_COMPARED = 6  # values of one parameter; if there are more than three, the best is compared with the others


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two values of a parameter, everything else being equal.

    Attributes:
        difference, low, high: by how much `better` is better, in the metric's unit, with its 95 % interval.
        wins, pairs: the number of pairs in which it is better, and of all pairs.
        over, unit: the number of seeds or settings that the interval is over, and which of both.
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
        """Return whether the whole interval is above 0."""
        return self.low > 0


def comparisons(records: Iterable[TrialRecord], study: StudySpec) -> list[Comparison]:
    """Return the comparisons of each parameter's values, in the order of the parameters."""
    complete, names = complete_of(records), varied(study)
    found = []
    for name in factors(study):
        having = [record for record in complete if name in record.params]  # a conditional parameter is not in all
        values = list(dict.fromkeys(record.params[name] for record in having))
        if not 2 <= len(values) <= _MOST_COMPARED:
            continue
        others = [other for other in names if other != name]
        by_value: dict[Scalar, dict[Key, float]] = {value: {} for value in values}
        for record in having:
            by_value[record.params[name]][key_of(record, others)] = study.metric.sign * value_of(record)
        pairs = [_compared(name, one, other, by_value, others) for one, other in itertools.combinations(values, 2)]
        known = [pair for pair in pairs if pair is not None]
        if len(values) > 3 and known:
            best, _ = collections.Counter(pair.better for pair in known).most_common(1)[0]
            known = [pair for pair in known if best in (pair.better, pair.worse)]
        found += known
    return found


def _compared(
    name: str, one: Scalar, other: Scalar, by_value: dict[Scalar, dict[Key, float]], others: Sequence[str]
) -> Comparison | None:
    shared = [key for key in by_value[one] if key in by_value[other]]
    differences = {key: by_value[one][key] - by_value[other][key] for key in shared}
    unit, units = "settings", list(differences.values())
    if SEED in others:
        by_seed = _whole_seeds(differences, others.index(SEED))
        differences = {(*key, seed): value for seed, found in by_seed.items() for key, value in found.items()}
        units = list(differences.values())
        if len(by_seed) > 1:
            unit, units = "seeds", [mean_and_half_width(list(found.values()))[0] for found in by_seed.values()]
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


def _whole_seeds(differences: dict[Key, float], place: int) -> dict[Scalar, dict[Key, float]]:
    """Return the differences by seed and setting, for the settings that all seeds have. Unfinished seeds are left out."""
    by_seed: dict[Scalar, dict[Key, float]] = {}
    for key, difference in differences.items():
        by_seed.setdefault(key[place], {})[key[:place] + key[place + 1 :]] = difference
    most = max((len(found) for found in by_seed.values()), default=0)
    whole = {seed: found for seed, found in by_seed.items() if 2 * len(found) >= most}
    shared = set.intersection(*(set(found) for found in whole.values())) if whole else set()
    if not shared:
        return {}
    return {seed: {key: value for key, value in found.items() if key in shared} for seed, found in whole.items()}
