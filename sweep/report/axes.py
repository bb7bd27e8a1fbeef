"""The axes of the charts: where a parameter's values are on one, and which part of a metric's axis is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.study.formatting import param_text
from sweep.study.record import TrialRecord
from sweep.study.space import Choice, Numbers, swept
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A parameter as an axis of a chart: `values` are the listed ones in their order, None for an axis of numbers."""

    name: str
    values: tuple[Scalar, ...] | None = None
    log: bool = False

    @property
    def categories(self) -> list[str] | None:
        """Return the values as distinct texts; None for an axis of numbers."""
        if self.values is None:
            return None
        texts = [param_text(value) for value in self.values]
        return texts if len(set(texts)) == len(texts) else [repr(value) for value in self.values]

    def place(self, value: Scalar) -> float | None:
        """Return where a value is on the axis; None if it is not on it."""
        if self.values is not None:
            same = (place for place, other in enumerate(self.values) if type(other) is type(value) and other == value)
            return next((float(place) for place in same), None)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def parameter_axes(study: StudySpec, records: Sequence[TrialRecord]) -> tuple[Axis, ...]:
    """Return an axis for each swept parameter; it has the values of the study file and those that were enqueued."""
    found = []
    for name in swept(study.parameters):
        domain = study.parameters[name]
        if isinstance(domain, Numbers):
            found.append(Axis(name=name, log=domain.log))
            continue
        values = domain.values if isinstance(domain, Choice) else ()
        listed = [*values, *(record.params[name] for record in records if name in record.params)]
        found.append(Axis(name=name, values=tuple({(type(value), value): value for value in listed}.values())))
    return tuple(found)


def joint_axis(name: str, studies: Sequence[tuple[StudySpec, Sequence[TrialRecord]]]) -> Axis:
    """Return one axis for a parameter of several studies, which has the values of all."""
    axes = [axis for study, records in studies for axis in parameter_axes(study, records) if axis.name == name]
    tried = [record.params[name] for _, records in studies for record in records if name in record.params]
    as_numbers = Axis(name=name, log=any(axis.log for axis in axes))
    if any(axis.values is None for axis in axes) and all(as_numbers.place(value) is not None for value in tried):
        return as_numbers
    listed = [*(value for axis in axes for value in axis.values or ()), *tried]
    values = tuple({(type(value), value): value for value in listed}.values())
    places = [as_numbers.place(value) for value in values]
    known = [place for place in places if place is not None]
    if len(known) == len(values) and len({axis.values for axis in axes}) > 1:  # joined lists are in the direction of the first
        down = len(axes[0].values or ()) > 1 and known[0] > known[1]
        values = tuple(value for _, value in sorted(zip(known, values, strict=True), key=lambda item: item[0], reverse=down))
    return Axis(name=name, values=values)


def shown_range(values: Sequence[float], sign: int) -> tuple[float, float] | None:
    """Return the range of an axis for these values, rounded outwards; None without any.

    It holds the best value, the best 90 %, and as much again beyond these: one trial that diverged must not press all others
    into a line. Values outside are drawn at the edge.
    """
    ordered = sorted(values, key=lambda value: -sign * value)
    if not ordered:
        return None
    good, bad, worst = ordered[0], ordered[round(0.9 * (len(ordered) - 1))], ordered[-1]
    if good == worst:
        room = 0.05 * abs(good) or 0.5
        return good - room, good + room
    bad += (bad - good) or -sign * (abs(good) or 1.0)
    return rounded(*sorted((good, max(bad, worst) if sign > 0 else min(bad, worst))))


def rounded(low: float, high: float) -> tuple[float, float]:
    """Return a range rounded outwards to half a power of ten of its size."""
    if not math.isfinite(high - low) or high - low < 1e-12 * max(abs(low), abs(high)):
        return low, high
    power = math.floor(math.log10(high - low))
    step = 10.0**power / 2
    return round(math.floor(low / step) * step, 1 - power), round(math.ceil(high / step) * step, 1 - power)
