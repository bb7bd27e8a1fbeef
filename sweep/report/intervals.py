"""Intervals of means and shares, and the variance within groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Student's t, 97.5 %, for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
      2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
_Z = 1.959964


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of Student's 95 % interval around it, which is None for a single value."""
    count, freedom = len(values), len(values) - 1
    scale = max((abs(value) for value in values), default=0.0) or 1.0  # squares of huge values overflow
    scaled = [value / scale for value in values]
    mean = math.fsum(scaled) / count
    if count < 2:
        return mean * scale, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / freedom)
    return mean * scale, student(freedom) * deviation / math.sqrt(count) * scale


def student(freedom: int) -> float:
    """Return the quantile of Student's t that a 95 % interval needs."""
    return _T[freedom - 1] if freedom <= len(_T) else _Z + 2.4 / freedom


def wilson(share: float, samples: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of the samples (Wilson 1927), such as an accuracy on a test set."""
    centre, spread = share + _Z**2 / (2 * samples), _Z * math.sqrt(share * (1 - share) / samples + _Z**2 / (4 * samples**2))
    return (centre - spread) / (1 + _Z**2 / samples), (centre + spread) / (1 + _Z**2 / samples)


def variance_within(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the variance within groups, infinite if it overflows; None if no group has two values."""
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return sum(float(np.var(group)) * len(group) for group in groups) / freedom
