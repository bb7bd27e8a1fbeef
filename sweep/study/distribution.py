"""Distributions of probability by their quantile functions: a share in (0, 1) becomes a value, and a value its share.

A sampler then searches shares, which it knows how to draw and to compare, and the values have the distribution. Each function of
a kind takes its two parameters: the ends of a uniform distribution, mu and sigma of a normal one, a and b of a beta distribution.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

from sweep.study.condition import Condition
from sweep.study.trial import Scalar

if TYPE_CHECKING:
    from statistics import NormalDist

# The keys of the distributions that a study file names.
PARAMETERS_OF = {"normal": ("mu", "sigma"), "log_normal": ("mu", "sigma"), "beta": ("a", "b")}
KINDS = ("uniform", "log_uniform", "normal", "log_normal", "beta")
# Shares are at least this and at most 1 minus this: the quantiles of 0 and 1 may be infinite. A normal distribution's are then
# 4.3 sigma from its mean.
EDGE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A number that is drawn with a distribution of probability; a sampler searches the shares of its quantile function.

    Attributes:
        kind: one of `KINDS`.
        first, second: its parameters: min and max, mu and sigma, or a and b.
        multiple: values are rounded to a multiple of this, an int if this is one; None if they are not rounded.
        when: the parameter applies if all of these conditions hold.
    """

    kind: str
    first: int | float
    second: int | float
    multiple: int | float | None = None
    when: tuple[Condition, ...] = ()

    @property
    def integer(self) -> bool:
        """Return whether the values are ints."""
        return isinstance(self.multiple, int)

    @property
    def log(self) -> bool:
        """Return whether the logarithms of the values are comparable: it is they that are drawn, and no value is rounded to 0."""
        return self.kind.startswith("log_") and self.low > 0

    @functools.cached_property
    def low(self) -> int | float:
        """Return the smallest value that is drawn."""
        return self.at(EDGE)

    @functools.cached_property
    def high(self) -> int | float:
        """Return the largest value that is drawn."""
        return self.at(1 - EDGE)

    def at(self, share: float) -> int | float:
        """Return the value at a share in (0, 1): that part of all draws is below it."""
        value = _quantile(self.kind, self.first, self.second, share)
        return value if self.multiple is None else steps_from(self.multiple, round(value / self.multiple))

    def share_of(self, value: Scalar) -> float:
        """Return the share at which a value is: if values are rounded, the middle of those that are rounded to it."""
        assert isinstance(value, (int, float))
        half = (self.multiple or 0) / 2
        ends = [_share_below(self.kind, self.first, self.second, value + away) for away in (-half, half)]
        return min(max(sum(ends) / 2, EDGE), 1 - EDGE)


def steps_from(step: int | float, count: int, start: int | float = 0) -> int | float:
    """Return a number so many steps from another one: an int if both are ints."""
    if isinstance(step, int) and isinstance(start, int):
        return start + count * step
    # In decimals, as the numbers are written, since binary fractions have rounding errors: 0.1 + 2 * 0.1 is 0.3.
    return float(Decimal(str(start)) + count * Decimal(str(step)))


def _quantile(kind: str, first: float, second: float, share: float) -> float:
    """Return the value that a share of all draws is below.

    Raises:
        OverflowError: it is too large for a float.
    """
    match kind:
        case "uniform":
            return first + share * (second - first)
        case "normal":
            return _normal(first, second).inv_cdf(share)
        case "beta":
            from scipy.special import betaincinv

            return float(betaincinv(first, second, share))
    return math.exp(_quantile(kind.removeprefix("log_"), *_exponents(kind, first, second), share))


def _share_below(kind: str, first: float, second: float, value: float) -> float:
    """Return the share of all draws that are below a value, the inverse of `_quantile`."""
    match kind:
        case "uniform":
            return min(max((value - first) / (second - first), 0.0), 1.0)
        case "normal":
            return _normal(first, second).cdf(value)
        case "beta":
            from scipy.special import betainc

            return float(betainc(first, second, min(max(value, 0.0), 1.0)))
    if value <= 0:
        return 0.0
    return _share_below(kind.removeprefix("log_"), *_exponents(kind, first, second), math.log(value))


def place_at(weights: Sequence[float], share: float) -> int:
    """Return the index that a share falls to, if each index has its weight of the shares; one without weight gets none."""
    ends = [*accumulate(weights)]
    return min(bisect_right(ends, share * ends[-1]), max(place for place, weight in enumerate(weights) if weight))


def middle_of(weights: Sequence[float], place: int) -> float:
    """Return the middle of the shares that fall to an index."""
    return (sum(weights[:place]) + weights[place] / 2) / sum(weights)


def _exponents(kind: str, first: float, second: float) -> tuple[float, float]:
    return (math.log(first), math.log(second)) if kind == "log_uniform" else (first, second)


def _normal(mu: float, sigma: float) -> NormalDist:
    from statistics import NormalDist  # not in workers, where a user's own statistics.py may stand beside the study file

    return NormalDist(mu, sigma)
