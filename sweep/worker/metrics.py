"""What an objective reports, with names and numbers of exact types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweep.study import plain


class MetricNotFinite(ValueError):
    """A metric became NaN or infinite: the training diverged."""


def checked(metrics: Any, step: int) -> dict[str, float]:
    """Return metrics as tag to number; nothing has happened if this raises.

    Raises:
        MetricNotFinite: a value is NaN or infinite, or too large for a float.
        TypeError: they are no mapping, a name is no text, or a value no number.
        ValueError: a name is empty, too long, or cannot be shown.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f'trial.report needs a dict of metrics, as trial.report(3, {{"loss": 0.1}}), got {plain.shown(metrics)}')
    values = {}
    for key, value in metrics.items():
        name = plain.name(key, "the name of a metric")
        try:
            values[name] = found = plain.number(value, f"metric {name!r}")
        except ValueError as error:
            raise MetricNotFinite(f"{error} at step {step}: the training diverged") from None
        if not math.isfinite(found):
            raise MetricNotFinite(
                f"{name} is {found} at step {step}: the training diverged (often a learning rate that is too high)"
            )
    return values
