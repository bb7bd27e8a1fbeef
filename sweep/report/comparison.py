"""Compare two values of a parameter by the trials that are equal in everything else, including the seed.

The interval of the mean difference is Student's. With several seeds it is over the seeds, since settings are chosen and seeds are
random: each seed counts once, by its mean over the settings that all seeds have.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from sweep.report.intervals import mean_and_half_width
from sweep.report.settings import Key, factors, key_of, value_of
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar

Results = dict[tuple[Scalar, Key], float]  # of the trials with one value, by seed and setting
_MOST_COMPARED = 6  # values of one parameter; if there are more than three, the best is compared with the others


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two values of a parameter, everything else being equal.

    Attributes:
        difference, low, high: by how much `better` is better, in the metric's unit, with the 95 % interval.
        wins, pairs: the number of pairs in which it is better, and of all pairs.
        over, unit: the number of units (`seeds` or `settings`) from which the interval is computed.
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
    complete, names = complete_of(records), factors(study)
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
        pairs = [_compared(name, one, other, results) for one, other in itertools.combinations(results, 2)]
        known = [pair for pair in pairs if pair is not None]
        if len(results) > 3 and known:
            best, _ = collections.Counter(pair.better for pair in known).most_common(1)[0]
            known = [pair for pair in known if best in (pair.better, pair.worse)]
        found += known
    return found


def _compared(name: str, one: Scalar, other: Scalar, results: dict[Scalar, Results]) -> Comparison | None:
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
