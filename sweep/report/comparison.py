"""Compare two values of a parameter by the trials that are equal in everything else, including the seed.

The interval of the mean difference is Student's. With several seeds it is over the seeds, since settings are chosen and seeds are
random: each seed counts once, by its mean over the settings that all seeds have. With more than three values, the best of them
is compared with the others. The intervals then hold together: their quantile is that of the largest of all pairs' statistics,
because the best value was chosen by the same results.
"""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sweep.report.intervals import mean_and_half_width, student
from sweep.report.settings import Key, factors, key_of, value_of
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.repeats import trainings
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar, TrialState

Results = dict[tuple[Scalar, Key], float]  # of the trials with one value, by seed and setting
_MOST_COMPARED = 6  # values of one parameter
_EACH = 3  # values, of which all pairs are compared, each for itself
_DRAWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two values of a parameter, everything else being equal.

    Attributes:
        difference, low, high: by how much `better` is better, in the metric's unit, with the 95 % interval.
        wins, pairs: the number of pairs in which it is better, and of all pairs.
        over, unit: the number of units (`seeds` or `settings`) from which the interval is computed.
        together: whether the interval holds together with those of the parameter's other comparisons, else for itself.
        failed: the number of trainings with either value that failed, which are in no pair.
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
    together: bool = False
    failed: int = 0

    @property
    def clear(self) -> bool:
        """Return whether the whole interval is above 0."""
        return self.low > 0


def comparisons(records: Iterable[TrialRecord], study: StudySpec) -> list[Comparison]:
    """Return the comparisons of each parameter's values, in the order of the parameters."""
    trained, names = trainings(records), factors(study)
    complete = complete_of(trained)
    lost = [record for record in trained if record.state is TrialState.FAILED]
    found = []
    for name in names:
        others = [other for other in names if other != name]
        results: dict[Scalar, Results] = {}
        for record in complete:
            if name in record.params:  # a conditional parameter is not in all
                place = record.params.get(SEED), key_of(record, others)
                results.setdefault(record.params[name], {})[place] = study.metric.sign * value_of(record)
        if len(results) > _MOST_COMPARED:
            continue
        pairs = [compared(name, one, other, results) for one, other in itertools.combinations(results, 2)]
        known = [pair for pair in pairs if pair is not None]
        if len(results) > _EACH and known:
            best, _ = collections.Counter(pair.better for pair in known).most_common(1)[0]
            known = [_together(pair, len(results)) for pair in known if best in (pair.better, pair.worse)]
        failed = collections.Counter(record.params.get(name) for record in lost)
        found += [replace(pair, failed=failed[pair.better] + failed[pair.worse]) for pair in known]
    return found


def _together(pair: Comparison, values: int) -> Comparison:
    """Return a comparison with the wider interval that holds together with those of all pairs of this many values."""
    half = (pair.high - pair.difference) / student(pair.over - 1) * _largest(values, pair.over)
    return replace(pair, low=pair.difference - half, high=pair.difference + half, together=True)


@functools.lru_cache(maxsize=64)
def _largest(values: int, units: int) -> float:
    """Return the 95 % quantile of the largest of all pairs' t statistics, without any difference."""
    random = np.random.default_rng(0)
    most = np.zeros(_DRAWS)
    drawn = random.standard_normal((_DRAWS, units, values))
    for one, two in itertools.combinations(range(values), 2):
        differences = drawn[:, :, one] - drawn[:, :, two]
        most = np.maximum(most, np.abs(differences.mean(axis=1)) / differences.std(axis=1, ddof=1) * units**0.5)
    return float(np.quantile(most, 0.95))


def compared(name: str, one: Scalar, other: Scalar, results: Mapping[Scalar, Results]) -> Comparison | None:
    """Return how two values compare by the trials that are equal in everything else; None with fewer than two pairs.

    Args:
        name: the parameter's.
        one, other: the values.
        results: the results of the trials with each value, larger is better.
    """
    by_seed: dict[Scalar, dict[Key, float]] = {}
    for (seed, setting), value in results[one].items():
        if (seed, setting) in results[other]:
            by_seed.setdefault(seed, {})[setting] = value - results[other][seed, setting]
    most = max(map(len, by_seed.values()), default=0)
    whole = [found for found in by_seed.values() if 2 * len(found) >= most]  # the other seeds are unfinished
    rows = [[found[setting] for setting in found if all(setting in each for each in whole)] for found in whole]
    differences = [difference for row in rows for difference in row]
    unit, units = "settings", differences
    if len(rows) > 1 and differences:
        unit, units = "seeds", [mean_and_half_width(row)[0] for row in rows]
    if len(units) < 2:
        return None
    mean, half = mean_and_half_width(units)
    assert half is not None
    better, worse, turn = (one, other, 1) if mean >= 0 else (other, one, -1)
    return Comparison(
        name=name,
        better=better,
        worse=worse,
        difference=abs(mean),
        low=abs(mean) - half,
        high=abs(mean) + half,
        wins=sum(turn * difference > 0 for difference in differences),
        pairs=len(differences),
        over=len(units),
        unit=unit,
    )
