"""A search as one joint additive model: what each parameter explains beyond all others.

A sampler that learns tries better values of all parameters later, so a parameter without any effect goes along with the
result. In a joint model it explains nothing beyond the parameters that it goes along with, and beyond the time.

Each number enters as a polynomial of its ranks or as steps, each other parameter with one level for each value. A number's shape
becomes richer only if that clearly fits better, so that a parameter without any effect rarely gets the shape of its chance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sweep.report.best_setting import Floats
from sweep.report.shares import Share, share
from sweep.study.trial import Scalar

_DEGREES = (1, 2, 3, 4, 5, 6, 8, 10)
_STEPS = (5, 8, 12)
_VALUES_EACH = 2  # for each degree of freedom of the whole model
_PRICE = 8.0  # of a degree of freedom, in twice the log likelihood
_ROUNDS = 2


def joint_shares(ranks: Floats, columns: Mapping[str, Sequence[Scalar]], times: Floats | None) -> dict[str, Share]:
    """Return the share of each parameter for which one can be computed.

    Args:
        ranks: of the values, by trial.
        columns: each parameter's values, by trial.
        times: when each trial was chosen, if by a sampler that learns.
    """
    count = len(ranks)
    nuisance = [np.ones((count, 1))] if times is None else [np.ones((count, 1)), _curve(times, 2)]
    centred = ranks - ranks.mean()
    candidates = {name: shapes for name, values in columns.items() if (shapes := _candidates(values))}
    blocks = _shapes(centred, candidates, nuisance)
    found: dict[str, Share] = {}
    explains = {name: _variance(centred, _others(name, blocks, nuisance), block) for name, block in blocks.items()}
    for name, block in blocks.items():
        others = _others(name, blocks, nuisance)
        beside = sum(variance for other, variance in explains.items() if other != name)
        own = _own_share(centred, others, block, beside)
        if own is None:
            continue
        # A shape that is too simple explains too little: the upper end is the largest of the richer shapes.
        richer = [one for one in candidates[name][1:] if one.shape[1] > block.shape[1] and 2 * _rank([*others, one]) <= count]
        tried = [_own_share(centred, others, one, beside) for one in richer]
        if times is not None and own.low > 0 and len(candidates[name]) > 1:
            # Where trials gather around the good ones, chance has a shape too: an effect has to show in a simple one.
            simple = _own_share(centred, others, candidates[name][1], beside)
            own = replace(own, low=min(own.low, simple.low if simple is not None else 0.0))
        found[name] = replace(own, high=max(own.high, *(one.high for one in tried if one is not None), 0.0))
    return found


def _others(name: str, blocks: Mapping[str, Floats], nuisance: Sequence[Floats]) -> list[Floats]:
    return [*nuisance, *(block for other, block in blocks.items() if other != name)]


def _variance(centred: Floats, others: Sequence[Floats], block: Floats) -> float:
    """Return the variance that a parameter explains, without what chance would."""
    count, (without, smaller) = len(centred), _residual(centred, others)
    left, rank = _residual(centred, [*others, block])
    chance = left / max(1, count - rank)
    return max(0.0, without - left - (rank - smaller) * chance) / max(1, count - smaller)


def _own_share(centred: Floats, others: Sequence[Floats], block: Floats, beside: float) -> Share | None:
    """Return the share of a parameter with these columns beyond the others; None if chance cannot be estimated."""
    count, total = len(centred), float(centred @ centred)
    without, smaller = _residual(centred, others)
    left, rank = _residual(centred, [*others, block])
    freedom, own = count - rank, rank - smaller
    if freedom < 2 or total <= 0 or not own:
        return None
    return share(
        explained=max(0.0, without - left),
        freedom=own,
        error=left / freedom,
        error_freedom=freedom,
        total=total,
        count=count,
        others=smaller - 1,
        drawn=True,
        beside=beside,
    )


def chance_of(values: Floats, columns: Mapping[str, Sequence[Scalar]]) -> tuple[float, int] | None:
    """Return the variance that the additive model leaves, at most that of chance, and its degrees of freedom."""
    count, centred = len(values), values - values.mean()
    constant = [np.ones((count, 1))]
    candidates = {name: found for name, column in columns.items() if (found := _candidates(column))}
    left, rank = _residual(centred, [*constant, *_shapes(centred, candidates, constant).values()])
    return (left / (count - rank), count - rank) if count - rank > 1 else None


def _shapes(centred: Floats, candidates: Mapping[str, Sequence[Floats]], nuisance: Sequence[Floats]) -> dict[str, Floats]:
    """Return the columns of each parameter in the shape that fits best for its price."""
    chosen = {name: found[0] for name, found in candidates.items()}
    count = len(centred)

    def cost(name: str, block: Floats) -> float:
        left, rank = _residual(centred, [*nuisance, *(other for key, other in chosen.items() if key != name), block])
        if block is not candidates[name][0] and _VALUES_EACH * rank > count:
            return math.inf
        return count * math.log(max(left, 1e-12 * float(centred @ centred)) / count + 1e-300) + _PRICE * rank

    for _ in range(_ROUNDS):
        for name, found in candidates.items():
            if len(found) > 1:
                chosen[name] = min(found, key=functools.partial(cost, name))
    return chosen


def _candidates(values: Sequence[Scalar]) -> list[Floats]:
    """Return the columns of each shape that a parameter may have, the simplest first.

    None of them if it does not vary, or if nearly each trial has a value of its own that is no number.
    """
    keys = [(type(value), value) for value in values]
    distinct = list(dict.fromkeys(keys))
    if len(distinct) < 2:
        return []
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        known = np.array(numbers)
        steps = [_levels(_step(known, parts)) for parts in _STEPS if parts < len(distinct) and 6 * parts < len(values)]
        return [*(_curve(known, degree) for degree in _DEGREES if degree < len(distinct)), *steps]
    if 2 * len(distinct) > len(values):
        return []
    places = {key: place for place, key in enumerate(distinct)}
    return [_levels(np.array([places[key] for key in keys]))]


def _rank(blocks: Sequence[Floats]) -> int:
    return sum(block.shape[1] for block in blocks)


def _residual(values: Floats, blocks: Sequence[Floats]) -> tuple[float, int]:
    """Return the sum of squares that a model leaves, and its rank."""
    left, singular, _ = np.linalg.svd(np.hstack(blocks), full_matrices=False)
    basis = left[:, singular > 1e-8 * singular[0]]
    rest = values - basis @ (basis.T @ values)
    return float(rest @ rest), basis.shape[1]


def _levels(places: np.ndarray[Any, Any]) -> Floats:
    levels: Floats = np.eye(int(places.max()) + 1)[places, 1:]
    return levels


def _step(numbers: Floats, parts: int) -> np.ndarray[Any, Any]:
    """Return in which of a few equally large groups each number is."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(numbers)
    _, places = np.unique((middle * parts).astype(int)[inverse], return_inverse=True)
    return places


def _curve(numbers: Floats, degree: int) -> Floats:
    """Return orthogonal polynomials of the ranks."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ((ends - counts + ends) / 2 / len(numbers))[inverse] * 2 - 1
    columns: Floats = np.asarray(np.polynomial.legendre.legvander(middle, degree)[:, 1:], dtype=np.float64)
    return columns
