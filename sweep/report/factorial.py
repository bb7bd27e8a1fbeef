"""A complete grid of settings as a factorial experiment: what each parameter explains, and each pair beyond its two parameters.

Chance is what the seeds change. Where each setting was trained once, it is what the interactions leave, without the pairs that
are found to matter (Montgomery, Design and Analysis of Experiments, chapter 5). A pair is tested against the highest
interaction, and against all other interactions together. The smallest p-value of all pairs is compared with its distribution
without any interaction, so that hardly one study in thirty names a pair where there is none. An error that contains a real
interaction makes both tests more cautious.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from sweep.report.best_setting import Floats
from sweep.report.shares import Share, share

Pair = tuple[int, int]
# One study in thirty names a pair where there is none. With seeds the level is lower, because their variance may differ between
# settings, which the F test does not know.
_LEVEL, _LEVEL_WITH_SEEDS = 0.03, 0.015
_DRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums of squares and degrees of freedom: of each axis, of each pair of axes beyond them, and of all higher interactions."""

    axes: list[tuple[float, int]]
    pairs: dict[Pair, tuple[float, int]]
    higher: tuple[float, int]


@dataclass(frozen=True, kw_only=True)
class Error:
    """The mean square of chance, with its degrees of freedom."""

    mean_square: float
    freedom: int


def decomposed(table: Floats) -> Sums:
    """Decompose the sum of squares of a table of settings' means, one axis for each parameter."""
    centred = table - table.mean()
    cells, axes = table.size, range(table.ndim)
    main = [centred.mean(axis=tuple(other for other in axes if other != axis), keepdims=True) for axis in axes]
    sums = [float((effect**2).sum()) * cells / effect.size for effect in main]
    pairs = {}
    for one, two in itertools.combinations(axes, 2):
        mean = centred.mean(axis=tuple(axis for axis in axes if axis not in (one, two)), keepdims=True)
        effect = mean - main[one] - main[two]
        pairs[one, two] = float((effect**2).sum()) * cells / effect.size, (table.shape[one] - 1) * (table.shape[two] - 1)
    left = float((centred**2).sum()) - sum(sums) - sum(value for value, _ in pairs.values())
    freedom = cells - 1 - sum(length - 1 for length in table.shape) - sum(count for _, count in pairs.values())
    of_axes = [(value, length - 1) for value, length in zip(sums, table.shape, strict=True)]
    return Sums(axes=of_axes, pairs=pairs, higher=(max(0.0, left), freedom))


def interplay(sums: Sums, error: Error | None, each: float) -> dict[Pair, float]:
    """Return the pairs that matter through each other, with their p-values, each corrected for the number of pairs.

    Args:
        sums: of values whose bad end is clipped. Ranks would show interplay that is not there.
        error: of one training, from the seeds; None if each setting was trained once.
        each: the number of trainings of a setting.
    """
    found: dict[Pair, float] = {}
    left = {pair: item for pair, item in sums.pairs.items() if item[1]}
    if error is not None:
        of_means = Error(mean_square=error.mean_square / each, freedom=error.freedom)
        for pair, p in sorted(((pair, _p(item, of_means)) for pair, item in left.items()), key=lambda item: item[1]):
            corrected = min(1.0, p * (len(left) - len(found)))
            if corrected > _LEVEL_WITH_SEEDS:
                break
            found[pair] = corrected
        return found
    while left and (len(left) > 1 or sums.higher[1]):
        tests = {pair: _unreplicated(pair, left, sums.higher) for pair in left}
        pair = min(tests, key=lambda one: tests[one])
        null = _smallest(tuple(count for _, count in left.values()), sums.higher[1])
        corrected = float((np.searchsorted(null, tests[pair], side="right") + 1) / (len(null) + 1))
        if corrected > _LEVEL:
            break
        found[pair] = corrected
        del left[pair]
    return found


def without_seeds(sums: Sums, found: dict[Pair, float]) -> Error | None:
    """Return chance as the interactions that were not found to matter; None if nothing is left."""
    rest = [sums.higher, *(item for pair, item in sums.pairs.items() if pair not in found)]
    value, freedom = sum(value for value, _ in rest), sum(count for _, count in rest)
    return Error(mean_square=value / freedom, freedom=freedom) if freedom else None


def shares(
    sums: Sums, error: Error, *, each: float, total: float, count: int, lost: bool
) -> tuple[list[Share], dict[Pair, Share]]:
    """Return the share of each axis and of each pair in the sum of squares of all trainings.

    Args:
        sums: of the settings' means of ranks.
        error: of one training.
        each: the number of trainings of a setting.
        total: the sum of squares of all trainings.
        count: of all trainings.
        lost: whether some failed or were pruned: others may then, so that shares vary as those of values that were drawn.
    """

    def of(item: tuple[float, int]) -> Share:
        chance, freedom = error.mean_square, error.freedom
        return share(
            explained=item[0] * each,
            freedom=item[1],
            error=chance,
            error_freedom=freedom,
            total=total,
            count=count,
            drawn=lost,
        )

    return [of(item) for item in sums.axes], {pair: of(item) for pair, item in sums.pairs.items() if item[1]}


def _p(item: tuple[float, int], error: Error) -> float:
    """Return the probability of a larger F statistic without any effect."""
    from scipy.special import fdtrc

    value, freedom = item
    if error.mean_square <= 0:
        return 0.0 if value > 0 else 1.0
    return float(fdtrc(freedom, error.freedom, value / freedom / error.mean_square))


def _unreplicated(pair: Pair, left: dict[Pair, tuple[float, int]], higher: tuple[float, int]) -> float:
    """Return the smaller p-value of a pair against the highest interaction and against all that is left."""
    rest = [higher, *(item for other, item in left.items() if other != pair)]
    pooled = sum(value for value, _ in rest), sum(count for _, count in rest)
    small = 1e-12 * left[pair][0]
    return min(_p(left[pair], Error(mean_square=(v + small) / f, freedom=f)) for v, f in (higher, pooled) if f)


@functools.lru_cache(maxsize=64)
def _smallest(freedoms: tuple[int, ...], higher: int) -> Floats:
    """Return the smallest p-value of pairs in sorted draws without any interaction."""
    from scipy.special import fdtrc

    random = np.random.default_rng(0)
    draws = max(1_000, _DRAWS // math.isqrt(len(freedoms)))
    pairs = random.chisquare(freedoms, (draws, len(freedoms)))
    top = random.chisquare(higher, draws)[:, None] if higher else np.zeros((draws, 1))
    counts = np.array(freedoms)
    others = pairs.sum(axis=1, keepdims=True) - pairs + top
    pooled = counts.sum() - counts + higher
    values = fdtrc(counts, pooled, (pairs / counts) / (others / pooled))
    if higher:
        values = np.minimum(values, fdtrc(counts, higher, (pairs / counts) / (top / higher)))
    result: Floats = np.sort(values.min(axis=1))
    return result
