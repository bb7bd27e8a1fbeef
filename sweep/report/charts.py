"""The report's charts as plain descriptions, which `figures` draws with matplotlib and `report.js` with ECharts.

A description says which marks are where on which axes. `figures` and `report.js` choose colours, sizes and fonts.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.report.axes import Axis, shown_range
from sweep.report.facts import Busy, Facts
from sweep.report.settings import value_of
from sweep.study.formatting import tag_text
from sweep.study.metric import MetricSpec
from sweep.study.ranking import feasible, objective_values
from sweep.study.record import TrialRecord

QUIET, PLAIN, BEST = -1, 0, 1  # grey, and the first two colours of the palette
_BEST_CURVES = 5
_MOST_PAIRS = 6  # of metrics
Place = tuple[float | None, float | None]
Curve = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis of a chart.

    Attributes:
        range: points outside are drawn at the edge; None: the range of the data.
        names: the texts at 0, 1, 2, ...; None for an axis of numbers.
        share: the numbers are written as percentages.
        whole: the numbers are integers.
    """

    label: str = ""
    range: tuple[float, float] | None = None
    log: bool = False
    names: list[str] | None = None
    share: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """Marks of one kind.

    Attributes:
        mark: the kind, which determines the items of `data`:

            points, rings   (x, y, trial); rings are trials that break a constraint
            dashes          (x, y): a short horizontal line
            before, after   (x, y): a line of steps that change before or after each point; y may be None
            curves          (trial, [(x, y), ...])
            bars            (length, low, high) with an interval, from bottom to top; a chart's only series
            spans           (row, start, end, trial, how it ended)
            lines           (a value for each axis, ..., trial) in parallel coordinates, the best last

        colour: an index into the palette, or `QUIET` for grey.
        name: for the legend.
    """

    mark: Literal["points", "rings", "dashes", "before", "after", "curves", "bars", "spans", "lines"]
    data: Sequence[Any]
    colour: int = PLAIN
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, with its name in the page and of its file, and a title for screen readers.

    `scales` are the horizontal and the vertical axis, or all parallel ones.
    """

    name: str
    title: str
    scales: list[Scale]
    series: list[Series]


def charts(facts: Facts) -> list[Chart]:
    """Return a description of each chart that has data."""
    found: list[Chart] = []
    if facts.answer.influence.importances:
        found.append(_importances(facts))
    if facts.snapshot.ranking.order:
        if facts.snapshot.ranking.front:
            found += [_front(facts, x, y) for x, y in itertools.combinations(range(len(facts.study.metrics)), 2)][:_MOST_PAIRS]
        found += [*(effect(facts, axis) for axis in facts.axes), _history(facts), _parallel(facts)]
        if any(facts.curves.values()):
            found.append(_curves(facts))
    if facts.busy:
        found.append(timeline(facts.busy))
    return found


def _importances(facts: Facts) -> Chart:
    matter = facts.answer.influence
    items = [(item.name, item.share, item.low, item.high) for item in matter.importances]
    items += [(" × ".join(item.names), item.share.value, item.share.low, item.share.high) for item in matter.interplays]
    items.sort(key=lambda item: item[1])
    series = [Series(mark="bars", name="share, 95 % interval", data=[item[1:] for item in items])]
    share = Scale(label=f"share of the differences in {facts.study.metric.name}", range=(0, 1), share=True)
    scales = [share, Scale(names=[item[0] for item in items])]
    return Chart(name="importances", title="Importance of each parameter", scales=scales, series=series)


def _front(facts: Facts, x: int, y: int) -> Chart:
    study, ranking = facts.study, facts.snapshot.ranking
    across, up = study.metrics[x], study.metrics[y]

    def place(record: TrialRecord) -> Place:
        values = objective_values(study, record.value, record.metrics)
        return values[x], values[y]

    others = [record for record in ranking.order if record.number not in ranking.front_numbers]
    series = _trials(facts, others, place, name="trials")
    best = sorted(_trials(facts, ranking.front, place)[0].data)
    if len(study.metrics) == 2:  # no trial is beyond these steps
        series.append(Series(mark="before" if across.sign > 0 else "after", colour=BEST, data=[at[:2] for at in best]))
    series.append(Series(mark="points", name="Pareto front", colour=BEST, data=best))
    name = "front" if len(study.metrics) == 2 else f"front_{x + 1}_{y + 1}"
    scales = [Scale(label=across.name), Scale(label=up.name)]
    return Chart(name=name, title=f"{up.name} against {across.name}", scales=scales, series=series)


def effect(facts: Facts, axis: Axis, *, scale: Scale | None = None, shown: tuple[float, float] | None = None) -> Chart:
    """Return a parameter's values against the metric.

    Args:
        facts: of the study.
        axis: the parameter's.
        scale: of the parameter's axis; default: one for the trials' values.
        shown: the range of the metric's axis; default: the study's own.
    """
    metric, order = facts.study.metric.name, facts.snapshot.ranking.order
    at = {record.number: short_place(axis, record) for record in order}

    def place(record: TrialRecord) -> Place:
        found = at[record.number]
        if found is not None and axis.categories:  # side by side, so that equal values can be seen
            found = round(found + (record.number * 0.618034 % 1 - 0.5) * 0.5, 4)
        return found, record.value

    series = _trials(facts, order, place)
    if axis.categories:
        values = [[record.value or 0.0 for record in order if at[record.number] == row] for row in range(len(axis.categories))]
        medians = [(row, statistics.median(found)) for row, found in enumerate(values) if found]
        series.append(Series(mark="dashes", name="median", colour=BEST, data=medians))
    scales = [scale or axis_scale(axis, list(at.values())), Scale(label=metric, range=shown or facts.shown)]
    return Chart(name=f"effect_{axis.name}", title=f"{axis.name} against {metric}", scales=scales, series=series)


def _history(facts: Facts) -> Chart:
    order = facts.snapshot.ranking.order
    ended = sorted(order, key=lambda record: (record.ended or "", record.number))
    place_of = {record.number: place for place, record in enumerate(ended, 1)}
    trials = _trials(facts, order, lambda record: (place_of[record.number], record.value), name="trials", colour=QUIET)
    metric = facts.study.metric
    values = (metric.sign * value_of(record) if feasible(facts.study, record.metrics) else -math.inf for record in ended)
    best = enumerate(itertools.accumulate(values, max), 1)
    data = [(place, None if value == -math.inf else metric.sign * value) for place, value in best]
    series = [*trials, Series(mark="after", name="best so far", colour=BEST, data=data)]
    scales = [Scale(label="complete trials", whole=True), Scale(label=metric.name, range=facts.shown)]
    return Chart(name="history", title="Best value so far, as trials ended", scales=scales, series=series)


def _parallel(facts: Facts) -> Chart:
    metric = facts.study.metric
    ranked = sorted(facts.snapshot.ranking.order, key=lambda record: metric.sign * (record.value or 0.0))
    columns = [[short_place(axis, record) for record in ranked] for axis in facts.axes]
    rows = list(zip(*columns, (record.value for record in ranked), (record.number for record in ranked), strict=True))
    scales = [axis_scale(axis, column) for axis, column in zip(facts.axes, columns, strict=True)]
    scales.append(Scale(label=metric.name, range=facts.shown))
    series = [Series(mark="lines", data=rows)]
    return Chart(name="parallel", title="Parallel coordinates of all complete trials", scales=scales, series=series)


def _curves(facts: Facts) -> Chart:
    best = {record.number: record for record in facts.snapshot.ranking.order[:_BEST_CURVES]}
    short = {number: short_curve(points) for number, points in facts.curves.items()}
    others = [item for item in short.items() if item[0] not in best]
    series = [Series(mark="curves", colour=QUIET, data=others)]
    for number, record in best.items():
        if short.get(number):
            name = f"trial {number}: {tag_text(record, facts.study)}"
            series.append(Series(mark="curves", colour=len(series) - 1, name=name, data=[(number, short[number])]))
    scales = curve_scales(short.values(), facts.study.metric)
    return Chart(name="curves", title="Learning curves of all trials", scales=scales, series=series)


def short_curve(points: Curve) -> Curve:
    """Return a curve with six digits, to keep the page small."""
    return [(step, float(f"{value:.6g}")) for step, value in points]


def curve_scales(curves: Iterable[Curve], metric: MetricSpec) -> list[Scale]:
    """Return the axes that hold these learning curves."""
    steps, values = zip(*(point for points in curves for point in points), strict=True)
    first = min(steps)
    return [
        Scale(label="step", whole=True, range=(first, max(first + 1, *steps))),
        Scale(label=metric.name, range=shown_range(values, metric.sign)),
    ]


def timeline(busy: Sequence[Busy]) -> Chart:
    """Return which trial was in which slot when."""
    slots = sorted({item.slot for item in busy}, reverse=True)
    end = max(item.ended for item in busy) or 1.0
    unit, size = ("hours", 3600) if end > 7200 else ("minutes", 60) if end > 180 else ("seconds", 1)
    spans = [
        (slots.index(item.slot), round(item.began / size, 5), round(item.ended / size, 5), item.number, item.how) for item in busy
    ]
    nodes = {item.slot: f" on {item.node}" for item in busy if item.node}  # the last one of each
    names = [f"slot {slot}{nodes.get(slot, '')}" for slot in slots]
    scales = [Scale(label=unit, range=(0, end / size)), Scale(names=names)]
    series = [Series(mark="spans", data=spans)]
    return Chart(name="timeline", title="Trials on each slot over time", scales=scales, series=series)


def _trials(
    facts: Facts, records: Iterable[TrialRecord], place: Callable[[TrialRecord], Place], *, name: str = "", colour: int = PLAIN
) -> list[Series]:
    """Return points for the trials that have a place, and rings for those that break a constraint."""
    marks: dict[bool, list[tuple[float, float, int]]] = {True: [], False: []}
    for record in records:
        x, y = place(record)
        if x is not None and y is not None:
            marks[feasible(facts.study, record.metrics)].append((x, y, record.number))
    points = Series(mark="points", name=name, colour=colour, data=marks[True])
    rings = Series(mark="rings", name="break a constraint", colour=QUIET, data=marks[False])
    return [points, rings] if rings.data else [points]


def short_place(axis: Axis, record: TrialRecord) -> float | None:
    """Return a trial's place on an axis with six digits, to keep the page small."""
    found = axis.place(record.params.get(axis.name))
    return None if found is None else float(f"{found:.6g}")


def axis_scale(axis: Axis, places: Sequence[float | None]) -> Scale:
    """Return a parameter's axis, which holds these places."""
    known = [place for place in places if place is not None]
    reach = (0.9 * min(known), 1.1 * max(known)) if axis.log and known else None
    return Scale(label=axis.name, range=reach, log=axis.log, names=axis.categories)
