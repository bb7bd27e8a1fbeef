"""A search as one joint additive model: what each parameter explains beyond all others.

A sampler that learns tries better values of all parameters later, so a parameter without any effect goes along with the
result. In a joint model it explains nothing beyond the parameters that it goes along with, and beyond the time. Each parameter
enters as a smooth curve of few degrees of freedom over its ranks, or as one level for each value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweep.report.shares import Share, share
from sweep.study.trial import Scalar

Floats = np.ndarray[Any, np.dtype[np.float64]]
_STEEPEST = 4  # degree
_TRIALS_EACH = 3  # for each degree of freedom


def joint_shares(ranks: Floats, columns: Mapping[str, Sequence[Scalar]], times: Floats | None) -> dict[str, Share]:
    """Return the share of each parameter for which one can be computed.

    Args:
        ranks: of the values, by trial.
        columns: each parameter's values, by trial.
        times: when each trial was chosen, if by a sampler that learns.
    """
    count = len(ranks)
    degree = max(1, min(_STEEPEST, (count - 1) // (_TRIALS_EACH * max(1, len(columns)))))
    blocks = {name: block for name, values in columns.items() if (block := _block(values, degree)) is not None}
    nuisance = [np.ones((count, 1))] if times is None else [np.ones((count, 1)), _curve(times, 2)]
    centred = ranks - ranks.mean()
    total = float(centred @ centred)
    left, rank = _residual(centred, [*nuisance, *blocks.values()])
    freedom = count - rank
    if freedom < 2 or total <= 0:
        return {}
    error = left / freedom
    found = {}
    for name in blocks:
        others = [block for other, block in blocks.items() if other != name]
        without, smaller = _residual(centred, [*nuisance, *others])
        own = rank - smaller
        if own:
            found[name] = share(
                explained=max(0.0, without - left),
                freedom=own,
                error=error,
                error_freedom=freedom,
                total=total,
                count=count,
                others=smaller - 1,
                drawn=True,
            )
    return found


def chance_of(values: Floats, columns: Mapping[str, Sequence[Scalar]]) -> tuple[float, int] | None:
    """Return the variance that the additive model leaves, at most that of chance, and its degrees of freedom."""
    count = len(values)
    degree = max(1, min(_STEEPEST, (count - 1) // (_TRIALS_EACH * max(1, len(columns)))))
    blocks = [block for column in columns.values() if (block := _block(column, degree)) is not None]
    left, rank = _residual(values - values.mean(), [np.ones((count, 1)), *blocks])
    return (left / (count - rank), count - rank) if count - rank > 1 else None


def _residual(values: Floats, blocks: Sequence[Floats]) -> tuple[float, int]:
    """Return the sum of squares that a model leaves, and its rank."""
    left, singular, _ = np.linalg.svd(np.hstack(blocks), full_matrices=False)
    basis = left[:, singular > 1e-8 * singular[0]]
    rest = values - basis @ (basis.T @ values)
    return float(rest @ rest), basis.shape[1]


def _block(values: Sequence[Scalar], degree: int) -> Floats | None:
    """Return a parameter's columns.

    None if it does not vary, or if nearly each trial has a value of its own that is no number.
    """
    keys = [(type(value), value) for value in values]
    distinct = list(dict.fromkeys(keys))
    if len(distinct) < 2:
        return None
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return _curve(np.array(numbers), min(degree, len(distinct) - 1))
    if 2 * len(distinct) > len(values):
        return None
    places = {key: place for place, key in enumerate(distinct)}
    levels: Floats = np.eye(len(distinct))[[places[key] for key in keys], 1:]
    return levels


def _curve(numbers: Floats, degree: int) -> Floats:
    """Return orthogonal polynomials of the ranks."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ((ends - counts + ends) / 2 / len(numbers))[inverse] * 2 - 1
    columns: Floats = np.asarray(np.polynomial.legendre.legvander(middle, degree)[:, 1:], dtype=np.float64)
    return columns
