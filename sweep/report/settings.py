"""Which trials are trainings of one setting, which setting is best, and how certain that is.

- A training that failed or was pruned has no result. The runs of a failed trial have none either, so that it is never best.
- Settings that were trained with several seeds are compared by `best_setting`'s model. Where each was trained once, only the best
  value is corrected for the luck of being selected, as far as the parameters' effects show how much of the values is chance.
- A setting with less than half as many results as others is unfinished, and is not compared.
- A setting of which one trial breaks a constraint is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweep.report.best_setting import Chance, Floats, Posterior, posterior
from sweep.report.intervals import mean_and_half_width, variance_within
from sweep.study.ranking import complete_of, feasible
from sweep.study.record import TrialRecord
from sweep.study.repeats import trainings
from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar, TrialState

Key = tuple[Scalar, ...]
Groups = dict[Key, dict[Scalar, TrialRecord]]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """By how much a setting is worse than the best one, in the metric's unit.

    The 95 % intervals of all settings hold together, so that a study without any difference has a clear one in 5 % of all cases.
    """

    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Return whether the whole interval is above 0."""
        return self.low > 0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An assignment of the hyperparameters, trained once or with several seeds.

    Attributes:
        params: the swept ones that it has, without the seed.
        trainings: the number of results that are counted.
        failed: the number of its trainings that failed.
        trials: the numbers of the trials with these results.
        mean: of the results, at an average seed.
        expected: what further trainings will give on average, with the luck of being selected taken off; `low` and `high` are its
            95 % interval. None if chance cannot be estimated; after one training of each there is no interval.
        behind: the difference to the best setting; None for the best itself, and with one training of each.
        chance: the probability that it is the best one, None with one training of each.
        loss: by how much it is worse than the best one, on average over what is possible.
        contender: whether it is in the smallest set that holds the best one with 95 %.
        finished: whether it has at least half as many results as the others; only then it is compared.
    """

    params: dict[str, Scalar]
    trainings: int
    failed: int
    trials: tuple[int, ...]
    mean: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    behind: Behind | None = None
    chance: float | None = None
    loss: float | None = None
    contender: bool = False
    finished: bool = True


@dataclass(frozen=True, kw_only=True)
class Again:
    """What further trainings of a setting will give on average, the luck of being selected taken off, with its 95 % interval."""

    expected: float
    low: float
    high: float


def factors(study: StudySpec) -> list[str]:
    """Return the swept hyperparameters, without the seed."""
    return [name for name in swept(study.parameters) if name != SEED]


def key_of(record: TrialRecord, names: Iterable[str]) -> Key:
    """Return a trial's values of some parameters."""
    return tuple(record.params.get(name) for name in names)


def by_setting(complete: Iterable[TrialRecord], names: Sequence[str]) -> Groups:
    """Return the trials of each setting by seed; of several with the same seed only the first, since the others repeat it."""
    groups: Groups = {}
    for record in complete:
        groups.setdefault(key_of(record, names), {}).setdefault(record.params.get(SEED), record)
    return groups


def value_of(record: TrialRecord) -> float:
    """Return the objective's value of a complete trial."""
    assert record.value is not None
    return record.value


def settings(records: Iterable[TrialRecord], study: StudySpec, once: Chance | None = None) -> list[Setting]:
    """Return the settings of the complete trials by the first metric, the best first, the unfinished ones last.

    Args:
        records: trials.
        study: whose trials.
        once: chance, for settings that were trained once.
    """
    names, sign, trained = factors(study), study.metric.sign, trainings(records)
    groups, compared = _groups(trained, study)
    if not groups:
        return []
    failed: dict[Key, set[Scalar]] = {}
    for record in trained:
        if record.state is TrialState.FAILED:
            failed.setdefault(key_of(record, names), set()).add(record.params.get(SEED))
    most = max(map(len, groups.values()))
    known = _posterior(sign * table(compared, value_of), once)
    place = {key: at for at, key in enumerate(compared)}
    means = {key: mean_and_half_width([value_of(record) for record in seeds.values()])[0] for key, seeds in groups.items()}
    if known is not None:
        means |= {key: sign * float(known.means[at]) for key, at in place.items()}
    first = {key: min(record.number for record in seeds.values()) for key, seeds in groups.items()}
    found: list[Setting] = []
    for key in sorted(groups, key=lambda key: (key not in compared, -sign * means[key], first[key])):
        seeds = groups[key]
        setting = Setting(
            params={name: value for name, value in next(iter(seeds.values())).params.items() if name in names},
            trainings=len(seeds),
            failed=len(failed.get(key, ())),
            trials=tuple(sorted({record.number for record in seeds.values()})),
            mean=means[key],
            finished=key in compared,
        )
        if known is not None and key in compared:
            setting = _judged(setting, known, place[key], sign, repeated=most > 1, best=not found)
        found.append(setting)
    return found


def best_again(records: Iterable[TrialRecord], study: StudySpec, once: Chance | None = None) -> Again | None:
    """Return what further trainings of the best setting will give, also where each was trained once; None if chance is unknown.

    Args:
        records, study, once: as for `settings`.
    """
    _, compared = _groups(trainings(records), study)
    sign = study.metric.sign
    known = _posterior(sign * table(compared, value_of), once) if compared else None
    if known is None:
        return None
    best = int(np.argmax(known.means))
    low, high = sorted((sign * float(known.low[best]), sign * float(known.high[best])))
    return Again(expected=sign * float(known.expected[best]), low=low, high=high)


def _groups(trained: Iterable[TrialRecord], study: StudySpec) -> tuple[Groups, Groups]:
    """Return the trials of each setting that keeps the constraints, and those of the settings that are compared."""
    groups = {
        key: seeds
        for key, seeds in by_setting(complete_of(trained), factors(study)).items()
        if all(feasible(study, record.metrics) for record in seeds.values())
    }
    most = max(map(len, groups.values()), default=0)
    return groups, {key: seeds for key, seeds in groups.items() if 2 * len(seeds) >= most}


def table(groups: Mapping[Key, Mapping[Scalar, TrialRecord]], value: Callable[[TrialRecord], float]) -> Floats:
    """Return values by setting and seed, NaN where a training is missing."""
    seeds = {seed: at for at, seed in enumerate(dict.fromkeys(seed for group in groups.values() for seed in group))}
    found = np.full((len(groups), len(seeds)), np.nan)
    for row, group in enumerate(groups.values()):
        for seed, record in group.items():
            found[row, seeds[seed]] = value(record)
    return found


def deviation(records: Iterable[TrialRecord], study: StudySpec) -> float | None:
    """Return the standard deviation between trainings of one setting with different seeds. None with one seed."""
    complete = complete_of(trainings(records))
    groups = [[value_of(r) for r in seeds.values()] for seeds in by_setting(complete, factors(study)).values()]
    return None if (within := variance_within(groups)) is None else math.sqrt(within)


def _posterior(values: Floats, once: Chance | None) -> Posterior | None:
    """Return what is known about the settings' means; None if chance is unknown."""
    if (~np.isnan(values)).sum() > len(values):
        return posterior(values)
    return posterior(values, once) if once is not None else None


def _judged(setting: Setting, known: Posterior, at: int, sign: int, *, repeated: bool, best: bool) -> Setting:
    expected = sign * float(known.expected[at])
    if not repeated:
        return replace(setting, expected=expected)
    ends = sorted((sign * float(known.low[at]), sign * float(known.high[at])))
    low, high = float(known.behind_low[at]), float(known.behind_high[at])
    return replace(
        setting,
        expected=expected,
        low=ends[0],
        high=ends[1],
        behind=None if best else Behind(difference=(low + high) / 2, low=low, high=high),
        chance=float(known.chances[at]),
        loss=float(known.losses[at]),
        contender=bool(known.contenders[at]),
    )
