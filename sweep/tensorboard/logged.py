"""The points of one curve in short: enough to count them as reports of a metric."""

from __future__ import annotations

import math
from typing import NamedTuple


class Logged(NamedTuple):
    """Step and value of the last point; the lowest and the highest value that was finite, or the last one."""

    step: int
    value: float
    low: float
    high: float

    @classmethod
    def after(cls, before: Logged | None, step: int, value: float) -> Logged:
        """Return what is known with one more point."""
        if before is None or not math.isfinite(before.low):
            return cls(step, value, value, value)
        if not math.isfinite(value):
            return cls(step, value, before.low, before.high)
        return cls(step, value, min(before.low, value), max(before.high, value))
