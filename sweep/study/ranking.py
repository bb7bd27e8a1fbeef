"""Which trials are best: by one metric, or the Pareto front of several, among those that keep the constraints.

- A trial is **feasible** if it is within every bound. One that is not is never best: such trials come last, those nearest to
  the bounds first (by the sum of what is beyond them, as Optuna's samplers have it).
- The **front** of several metrics are the feasible trials that no other one beats, being at least as good in every metric and
  better in one. Equal trials stand in it together. It comes first, then the others; both in the order of the first metric.
- With one metric the front is the best trial alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sweep.study.spec import StudySpec

if TYPE_CHECKING:  # `records` stands above: it ranks by what is here
    from sweep.study.record import TrialRecord

Point = tuple[float, ...]


def objectives(study: StudySpec, value: float | None, metrics: Mapping[str, float]) -> tuple[float | None, ...]:
    """Return a trial's value of each metric, in their order.

    Args:
        study: says which.
        value: the first one's.
        metrics: last values by tag.
    """
    return (value, *(metrics.get(metric.name) for metric in study.metrics[1:]))


def excesses(study: StudySpec, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return by how much a trial is beyond each bound that its metrics tell of; 0 and less is within it."""
    found: dict[str, float] = {}
    for constraint in study.constraints:
        if constraint.metric in metrics:
            found |= constraint.excesses(metrics[constraint.metric])
    return found


def excess(study: StudySpec, metrics: Mapping[str, float]) -> float:
    """Return how far a trial is beyond all bounds together: 0 for a feasible one, infinite where a metric is missing."""
    if not study.constraints:
        return 0.0
    if any(constraint.metric not in metrics for constraint in study.constraints):
        return math.inf
    return sum(max(0.0, beyond) for beyond in excesses(study, metrics).values())


def feasible(study: StudySpec, metrics: Mapping[str, float]) -> bool:
    """Tell whether a trial's last metrics keep every constraint."""
    return excess(study, metrics) == 0


def verdict(study: StudySpec, metrics: Mapping[str, float]) -> bool | None:
    """Tell whether a trial keeps every constraint; None while it has not reported all that they are about."""
    known = all(constraint.metric in metrics for constraint in study.constraints)
    return feasible(study, metrics) if known else None


def goodness(study: StudySpec, value: float | None, metrics: Mapping[str, float]) -> Point:
    """Return a trial as a point whose coordinates, one for each metric, are the larger the better; a missing one is the worst."""
    values = objectives(study, value, metrics)
    return tuple([-math.inf if one is None else metric.sign * one for metric, one in zip(study.metrics, values, strict=True)])


def in_order(complete: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return complete trials, the best first: the front, the other feasible ones, the others."""
    by_first = _by_first(complete, study)
    if len(study.metrics) == 1 and not study.constraints:
        return by_first
    beyond = {record.number: excess(study, record.metrics) for record in by_first}
    within = [record for record in by_first if beyond[record.number] == 0]
    leading = {record.number for record in _leading(within, study)}
    rest = {record.number for record in within} - leading
    return sorted(by_first, key=lambda record: (beyond[record.number], record.number in rest))


def front_of(complete: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return the front of all complete trials: of one metric the best one, nothing if none is feasible."""
    return _leading(_by_first([record for record in complete if feasible(study, record.metrics)], study), study)


def undominated(points: Sequence[Point]) -> list[int]:
    """Return the places of the points that no other one dominates; larger coordinates are better, equal points stay together."""
    places: dict[Point, list[int]] = {}
    for place, point in enumerate(points):
        places.setdefault(point, []).append(place)
    # No point can dominate one that comes before it in this order.
    distinct = sorted(places, reverse=True)
    kept = (_kept_of_two if len(distinct[0]) <= 2 else _kept_of_more)(distinct) if distinct else []
    return sorted(place for point in kept for place in places[point])


def dominated(point: Point, others: Iterable[Point]) -> bool:
    """Tell whether one of some points is at least as good in everything, equal ones included."""
    return any(all(one >= own for one, own in zip(other, point, strict=True)) for other in others)


def _by_first(records: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    return sorted(records, key=lambda record: (-study.metric.sign * (record.value or 0.0), record.number))


def _leading(within: list[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    if len(study.metrics) == 1:
        return within[:1]
    return [within[place] for place in undominated([goodness(study, record.value, record.metrics) for record in within])]


def _kept_of_two(ordered: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in ordered:
        if not kept or point[-1] > kept[-1][-1]:
            kept.append(point)
    return kept


def _kept_of_more(ordered: list[Point]) -> list[Point]:
    """Compare each point with the whole front so far, column by column, but for the first one, by which they are ordered."""
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
