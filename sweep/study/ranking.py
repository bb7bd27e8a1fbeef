"""Which trials are best: `rank` orders trials that are known, `ParetoFront` is updated as trials end.

- A trial is **feasible** if its metrics keep every constraint. The others are never best. They come last, in the order of the
  sum by which they exceed the bounds, as in Optuna's samplers.
- The **Pareto front** of several metrics is the set of feasible trials that no other trial dominates: none is at least as good
  in every metric and better in one. Equal trials are in it together. It comes first, then the other feasible trials, both in
  the order of the first metric.
- With one metric the Pareto front is the best trial alone, the earliest of equal ones, so that callers need no special case.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

Point = tuple[float, ...]


def objective_values(study: StudySpec, value: float | None, metrics: Mapping[str, float]) -> tuple[float | None, ...]:
    """Return a trial's value of each metric of the study, in order: `value` is the first, the others are last values by tag."""
    return (value, *(metrics.get(metric.name) for metric in study.metrics[1:]))


def excesses(study: StudySpec, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return by how much a trial exceeds each bound of its metrics; 0 and less is within the bound."""
    known = (one.excesses(metrics[one.metric]) for one in study.constraints if one.metric in metrics)
    return {bound: beyond for found in known for bound, beyond in found.items()}


def excess(study: StudySpec, metrics: Mapping[str, float]) -> float:
    """Return the sum by which a trial exceeds the bounds: 0 for a feasible trial, infinite if a metric is missing."""
    if any(constraint.metric not in metrics for constraint in study.constraints):
        return math.inf
    return sum(max(0.0, beyond) for beyond in excesses(study, metrics).values())


def feasible(study: StudySpec, metrics: Mapping[str, float]) -> bool:
    """Return whether a trial's last metrics keep every constraint."""
    return excess(study, metrics) == 0


def verdict(study: StudySpec, metrics: Mapping[str, float]) -> bool | None:
    """Return whether a trial keeps every constraint; None until it has reported all metrics of the constraints."""
    known = all(constraint.metric in metrics for constraint in study.constraints)
    return feasible(study, metrics) if known else None


def goodness(study: StudySpec, value: float | None, metrics: Mapping[str, float]) -> Point:
    """Return a trial as a point with a coordinate for each metric; larger is better, and a missing metric is worst."""
    values = zip(study.metrics, objective_values(study, value, metrics), strict=True)
    return tuple([-math.inf if one is None else metric.sign * one for metric, one in values])


def reaches_targets(study: StudySpec, value: float, metrics: Mapping[str, float]) -> bool:
    """Return whether a trial is feasible and reaches every target; False if there are none."""
    points = zip(study.metrics, goodness(study, value, metrics), strict=True)
    reached = [point >= metric.sign * metric.target for metric, point in points if metric.target is not None]
    return bool(reached) and all(reached) and feasible(study, metrics)


def complete_of(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that have a value and were not dropped."""
    return [r for r in records if r.state is TrialState.COMPLETE and r.value is not None and not r.dropped]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The complete trials of a study, best first.

    Attributes:
        study: whose trials.
        order: the Pareto front, the other feasible trials, the trials that are not feasible.
        feasible: the number of feasible trials.
        front: the Pareto front in the order of the first metric; with one metric, the best trial alone.
    """

    study: StudySpec
    order: tuple[TrialRecord, ...]
    feasible: int
    front: tuple[TrialRecord, ...]

    @property
    def leaders(self) -> tuple[TrialRecord, ...]:
        """Return the feasible trials, best first."""
        return self.order[: self.feasible]

    @property
    def best(self) -> TrialRecord | None:
        """Return the best trial; with several metrics, the best of the Pareto front in the first metric."""
        return self.order[0] if self.feasible else None

    @functools.cached_property
    def front_numbers(self) -> frozenset[int]:
        """Return the numbers of the trials to be marked as the Pareto front; empty with one metric."""
        return frozenset(record.number for record in self.front) if self.study.multi_objective else frozenset()

    def top(self, count: int) -> tuple[TrialRecord, ...]:
        """Return the `count` best trials; with several metrics, the whole Pareto front."""
        return self.front if self.study.multi_objective else self.leaders[:count]


def rank(records: Iterable[TrialRecord], study: StudySpec) -> Ranking:
    """Rank those trials that are complete."""
    by_first = sorted(complete_of(records), key=lambda record: (-study.metric.sign * (record.value or 0.0), record.number))
    if not study.multi_objective and not study.constraints:
        return Ranking(study=study, order=tuple(by_first), feasible=len(by_first), front=tuple(by_first[:1]))
    beyond = {record.number: excess(study, record.metrics) for record in by_first}
    within = [record for record in by_first if beyond[record.number] == 0]
    front = within[:1]
    if study.multi_objective:
        front = [within[place] for place in undominated([goodness(study, record.value, record.metrics) for record in within])]
    first = {record.number for record in front}
    ordered = sorted(by_first, key=lambda record: (beyond[record.number], record.number not in first))
    return Ranking(study=study, order=tuple(ordered), feasible=len(within), front=tuple(front))


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a trial that has ended changes the Pareto front.

    Attributes:
        inside: it is in the front.
        new_best: it is in the front, and no other trial there equals it.
        removed: the numbers of the trials that it dominates, which leave the front.
    """

    inside: bool = False
    new_best: bool = False
    removed: tuple[int, ...] = ()


class ParetoFront:
    """The Pareto front of a study; with one metric, its best value."""

    def __init__(self, study: StudySpec) -> None:
        self._study = study
        self._points: dict[int, Point] = {}

    def add(self, number: int, value: float, metrics: Mapping[str, float]) -> Change:
        """Add a complete trial by its number, its first metric's value and the last value of every other tag."""
        if not feasible(self._study, metrics):
            return Change()
        point = goodness(self._study, value, metrics)
        better = [other for other in self._points.values() if _at_least_as_good(other, point)]
        if any(other != point for other in better):
            return Change()
        removed = tuple(n for n, other in self._points.items() if other != point and _at_least_as_good(point, other))
        for beaten in removed:
            del self._points[beaten]
        if self._study.multi_objective or not better:
            self._points[number] = point
        return Change(inside=number in self._points, new_best=not better, removed=removed)


def undominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other point dominates, equal points included; larger coordinates are better."""
    places: dict[Point, list[int]] = {}
    for place, point in enumerate(points):
        places.setdefault(point, []).append(place)
    # No point can dominate one that comes before it in this order.
    distinct = sorted(places, reverse=True)
    kept = (_kept_of_two if len(distinct[0]) <= 2 else _kept_of_more)(distinct) if distinct else []
    return sorted(place for point in kept for place in places[point])


def _at_least_as_good(one: Point, other: Point) -> bool:
    """Return whether a point is at least as good as another in every metric."""
    return all(own >= its for own, its in zip(one, other, strict=True))


def _kept_of_two(ordered: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in ordered:
        if not kept or point[-1] > kept[-1][-1]:
            kept.append(point)
    return kept


def _kept_of_more(ordered: list[Point]) -> list[Point]:
    """Compare each point with the front so far, by every column except the first, which the points are ordered by."""
    import numpy as np

    front = np.empty((len(ordered[0]) - 1, len(ordered)))
    kept: list[Point] = []
    for point in ordered:
        beaten = np.ones(len(kept), dtype=bool)
        for column, own in zip(front[:, : len(kept)], point[1:], strict=True):
            beaten &= column >= own
        if not beaten.any():
            front[:, len(kept)] = point[1:]
            kept.append(point)
    return kept
