"""Which parameters matter, and which pairs of them through each other.

Shares are of the variance of the trials' ranks, so that the size of a value that diverged does not matter. Failed trials have
the worst rank and pruned ones the next (Lachin 1999): leaving them out would hide the parameter that they fail by. If every
setting of a grid has ended, it is decomposed (`factorial`); otherwise one joint model is fitted (`additive`). A parameter that
only some trials have is measured by these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep.report import additive, factorial
from sweep.report.best_setting import Chance, Floats, two_way
from sweep.report.intervals import variance_within
from sweep.report.settings import Key, by_setting, factors, table, value_of
from sweep.report.shares import Share
from sweep.study.methods import SAMPLERS
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.repeats import trainings
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar, TrialState

FEWEST = 6  # trials; with fewer nothing is computed

Groups = Mapping[Key, Mapping[Scalar, TrialRecord]]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The share of the differences between trials that a parameter explains by itself, with the 95 % interval."""

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Interplay:
    """Two parameters that matter through each other: which value of one is better depends on the other.

    Attributes:
        names: of the two parameters.
        share: what the pair explains beyond its two parameters, with the 95 % interval.
        rows, columns: the values of the first and of the second parameter.
        means: of the objective by row and column; None without a result.
        sign: 1 if larger is better, else -1.
    """

    names: tuple[str, str]
    share: Share
    rows: tuple[Scalar, ...]
    columns: tuple[Scalar, ...]
    means: tuple[tuple[float | None, ...], ...]
    sign: int

    @property
    def scores(self) -> tuple[tuple[float | None, ...], ...]:
        """Return the means with larger values better."""
        return tuple(tuple(None if mean is None else self.sign * mean for mean in row) for row in self.means)


@dataclass(frozen=True, kw_only=True)
class Influence:
    """Which parameters matter.

    Attributes:
        importances: of each parameter for which it can be computed, the largest first.
        interplays: the pairs that matter through each other, the largest first.
        grid: whether every setting of a grid has ended; only then pairs are looked at.
        once: the variance of chance, at most, where each setting was trained once; None if it is unknown.
    """

    importances: tuple[Importance, ...] = ()
    interplays: tuple[Interplay, ...] = ()
    grid: bool = False
    once: Chance | None = None


def influence(records: Iterable[TrialRecord], study: StudySpec) -> Influence:
    """Return which parameters matter; nothing if too few trials have ended."""
    names = factors(study)
    ended = [r for r in trainings(records) if r.state.finished and (r.state is not TrialState.COMPLETE or r.value is not None)]
    complete = complete_of(ended)
    groups = by_setting(ended, names)
    if len(groups) < 2 or len(ended) < FEWEST or not complete or not names:
        return Influence()
    rank = dict(zip(map(id, ended), ranked(ended, study), strict=True))
    axes = [list(dict.fromkeys((type(key[place]), key[place]) for key in groups)) for place in range(len(names))]
    everywhere = all(name in record.params for record in ended for name in names)
    whole = everywhere and math.prod(len(axis) for axis in axes) == len(groups)
    if whole and (found := _of_grid(groups, names, axes, rank, study)) is not None:
        return found
    return _of_search(groups, names, rank, study)


def noise_share(records: Iterable[TrialRecord], study: StudySpec) -> float | None:
    """Return the share of the differences between trials that only the seed explains; None with one seed."""
    complete = complete_of(trainings(records))
    rank = dict(zip(map(id, complete), ranked(complete, study), strict=True))
    groups = [[float(rank[id(r)]) for r in seeds.values()] for seeds in by_setting(complete, factors(study)).values()]
    within = variance_within(groups)
    if within is None:
        return None
    whole = float(np.var([value for group in groups for value in group], ddof=1))
    return min(1.0, within / whole) if whole > 0 else None


def ranked(ended: Sequence[TrialRecord], study: StudySpec) -> Floats:
    """Return the rank of each training that has ended, the best last; equal ones have the mean of their ranks.

    Failed ones are worst; then pruned ones, by how far they came and by their value then.
    """

    def place(record: TrialRecord) -> tuple[float, ...]:
        value = -math.inf if record.value is None else study.metric.sign * record.value
        if record.state is TrialState.COMPLETE:
            return 2, value
        return (1, record.step or 0, value) if record.state is TrialState.PRUNED else (0,)

    places = [place(record) for record in ended]
    order = {item: at for at, item in enumerate(sorted(set(places)))}
    inverse = np.array([order[item] for item in places])
    counts = np.bincount(inverse)
    ends = np.cumsum(counts)
    result: Floats = ((ends - counts + 1 + ends) / 2.0)[inverse]
    return result


def _of_grid(
    groups: Groups, names: Sequence[str], axes: Sequence[list[tuple[type, Scalar]]], rank: Mapping[int, float], study: StudySpec
) -> Influence | None:
    """Return the decomposition of a complete grid; None if there is nothing to compare the effects with."""
    shape = tuple(len(axis) for axis in axes)
    cells = np.ravel_multi_index(
        tuple(np.array([axis.index((type(key[at]), key[at])) for key in groups]) for at, axis in enumerate(axes)), shape
    )
    ordered = dict(sorted(zip(cells.tolist(), groups.values(), strict=True)))
    by_cell: Groups = {(cell,): seeds for cell, seeds in ordered.items()}
    ranks = table(by_cell, lambda record: rank[id(record)])
    clipped, unit = _clipped([r for seeds in groups.values() for r in seeds.values()], study)
    values = table(by_cell, lambda record: clipped[id(record)])
    of_ranks, of_values = two_way(ranks), two_way(values)
    lost = any(r.state is not TrialState.COMPLETE for seeds in groups.values() for r in seeds.values())
    known = ranks[~np.isnan(ranks)]
    total = float(((known - known.mean()) ** 2).sum())
    each = len(groups) / float((1 / (~np.isnan(ranks)).sum(axis=1)).sum())
    sums = factorial.decomposed(of_ranks.means.reshape(shape))
    value_sums = factorial.decomposed(of_values.means.reshape(shape))
    error = value_error = None
    if of_ranks.freedom:
        error = factorial.Error(mean_square=float((of_ranks.residuals**2).sum()) / of_ranks.freedom, freedom=of_ranks.freedom)
        value_error = factorial.Error(
            mean_square=float((of_values.residuals**2).sum()) / of_values.freedom, freedom=of_values.freedom
        )
    pairs = factorial.interplay(value_sums, value_error, each)
    once = None
    if error is None:
        error = factorial.without_seeds(sums, pairs)
        value_error = factorial.without_seeds(value_sums, pairs)
        if error is None or value_error is None:
            return None
        once = _once(value_error.mean_square, value_error.freedom, unit)
    of_axes, of_pairs = factorial.shares(sums, error, each=each, total=total, count=len(known), lost=lost)
    # Ranks are few and coarse where chance is small, so an effect has to show in the values too.
    value_total = float(np.nansum((values - np.nanmean(values)) ** 2))
    assert value_error is not None
    shown, _ = factorial.shares(value_sums, value_error, each=each, total=value_total, count=len(known), lost=lost)
    found = [
        Importance(name=name, share=item.value, low=item.low if other.low > 0 else 0.0, high=item.high)
        for name, item, other, axis in zip(names, of_axes, shown, axes, strict=True)
        if len(axis) > 1
    ]
    interplays = [_interplay(groups, names, axes, pair, of_pairs[pair], study.metric.sign) for pair in pairs]
    return Influence(
        importances=tuple(sorted(found, key=lambda item: -item.share)),
        interplays=tuple(sorted(interplays, key=lambda item: -item.share.value)),
        grid=True,
        once=once,
    )


def _of_search(groups: Groups, names: Sequence[str], rank: Mapping[int, float], study: StudySpec) -> Influence:
    """Return the parameters' shares in the joint model of the settings' mean ranks."""
    first = [next(iter(seeds.values())) for seeds in groups.values()]
    ranks = np.array([math.fsum(rank[id(r)] for r in seeds.values()) / len(seeds) for seeds in groups.values()])
    learns = study.method in SAMPLERS and SAMPLERS[study.method].learns
    found = []
    measured: dict[frozenset[int], dict[str, Share]] = {}
    for name in names:
        having = [at for at, record in enumerate(first) if name in record.params]
        if len(having) < FEWEST:
            continue
        key = frozenset(having)
        if key not in measured:
            shared = [other for other in names if all(other in first[at].params for at in having)]
            columns = {other: [first[at].params[other] for at in having] for other in shared}
            times = np.array([float(first[at].number) for at in having]) if learns else None
            measured[key] = additive.joint_shares(ranks[having], columns, times)
        if name in measured[key]:
            item = measured[key][name]
            found.append(Importance(name=name, share=item.value, low=item.low, high=item.high))
    return Influence(importances=tuple(sorted(found, key=lambda item: -item.share)), once=_chance_once(groups, names, study))


def _chance_once(groups: Groups, names: Sequence[str], study: StudySpec) -> Chance | None:
    """Return the variance that the parameters leave, where each setting was trained once and all parameters apply to all."""
    done = [r for seeds in groups.values() for r in seeds.values() if r.state is TrialState.COMPLETE]
    if len(done) < FEWEST or any(name not in record.params for record in done for name in names):
        return None
    clipped, unit = _clipped(done, study)
    left = additive.chance_of(np.array([clipped[id(r)] for r in done]), {name: [r.params[name] for r in done] for name in names})
    return None if left is None else _once(*left, unit)


def _clipped(ended: Sequence[TrialRecord], study: StudySpec) -> tuple[dict[int, float], float]:
    """Return the value of each training, larger is better, in a unit, and that unit.

    What lies far below the others is at their edge, as what has no value. The unit keeps squares of huge values finite.
    """
    complete = complete_of(ended)
    unit = max(abs(value_of(record)) for record in complete) or 1.0
    values = {id(record): study.metric.sign * value_of(record) / unit for record in complete}
    low, high = np.quantile(list(values.values()), (0.25, 0.75))
    edge = max(min(values.values()), float(low - 3 * (high - low)))
    return {id(record): max(edge, values.get(id(record), edge)) for record in ended}, unit


def _once(mean_square: float, freedom: int, unit: float) -> Chance | None:
    """Return the variance of chance; None if it is not known, or too huge for a number."""
    variance = mean_square * unit * unit
    return Chance(variance=variance, freedom=freedom) if freedom > 1 and math.isfinite(variance) else None


def _interplay(
    groups: Groups,
    names: Sequence[str],
    axes: Sequence[list[tuple[type, Scalar]]],
    pair: tuple[int, int],
    share: Share,
    sign: int,
) -> Interplay:
    rows, columns = (tuple(value for _, value in axes[at]) for at in pair)
    cells: dict[tuple[int, int], list[float]] = {}
    for key, seeds in groups.items():
        one, two = (axes[at].index((type(key[at]), key[at])) for at in pair)
        done = complete_of(seeds.values())
        if done:
            cells.setdefault((one, two), []).append(math.fsum(value_of(r) / len(done) for r in done))
    means = tuple(
        tuple(math.fsum(found) / len(found) if (found := cells.get((row, column))) else None for column in range(len(columns)))
        for row in range(len(rows))
    )
    named = names[pair[0]], names[pair[1]]
    return Interplay(names=named, share=share, rows=rows, columns=columns, means=means, sign=sign)
