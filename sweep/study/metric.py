"""The metrics of a study: what is optimised, and what is kept within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweep.study.keys import definition, key


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What is optimised."""

    name: str = field(metadata=definition("the TensorBoard tag that the objective reports", "Text"))
    goal: str = field(metadata=definition("whether larger or smaller values are better", "Goal"))
    target: float | None = key(None, "the sweep ends once the metric reaches this value", "Number")

    @property
    def sign(self) -> int:
        """Return 1 if larger is better, else -1."""
        return 1 if self.goal == "maximize" else -1

    def better(self, one: float, other: float) -> float:
        """Return the better of two values."""
        return max(one, other, key=lambda value: self.sign * value)


@dataclass(frozen=True, kw_only=True)
class ConstraintSpec:
    """The bounds of a metric, which a trial must keep to be feasible."""

    metric: str
    low: float | None = key(None, "the metric's last value must be at least this", "Number", name="min")
    high: float | None = key(None, "the metric's last value must be at most this", "Number", name="max")

    @property
    def text(self) -> str:
        """Return the constraint for people: `model/parameters at most 50000`."""
        bounds = [f"{word} {bound}" for word, bound in (("at least", self.low), ("at most", self.high)) if bound is not None]
        return f"{self.metric} {' and '.join(bounds)}"

    def excesses(self, value: float) -> dict[str, float]:
        """Return by how much a value exceeds each bound; 0 and less is within the bound, as in Optuna."""
        beyond = {"min": None if self.low is None else self.low - value, "max": None if self.high is None else value - self.high}
        return {f"{self.metric} {bound}": excess for bound, excess in beyond.items() if excess is not None}
