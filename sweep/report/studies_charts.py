"""The charts of several studies: the best curves over each other, and each parameter's effect on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweep.report.axes import Axis, joint_axis, rounded, shown_range
from sweep.report.charts import Chart, Scale, Series, axis_scale, curve_scales, effect, short_curve, short_place
from sweep.report.facts import Facts
from sweep.report.settings import value_of
from sweep.report.studies import Studies
from sweep.study.formatting import objectives_text, tag_text
from sweep.study.record import TrialRecord

_SEEDS_SHOWN = 5  # curves of one setting
_COLOURS = 5  # of the palette


def studies_charts(found: Studies) -> list[Chart]:
    """Return a description of each chart that has data."""
    curves = _curves(found)
    return [*([curves] if curves else []), *(chart for name in found.parameters for chart in _effects(found, name))]


def effect_name(parameter: str, place: int) -> str:
    """Return the name of the chart of a parameter's effect in the study at this place."""
    return f"effect_{parameter}_{place + 1}"


def numbered_trials(found: Studies) -> list[dict[str, Any]]:
    """Return each trial for the charts' tooltips, with a number of its own among those of all studies."""
    return [
        {"n": first + record.number, "name": f"{label}: trial {record.number}", "text": _told(record, one)}
        for first, label, one in zip(_firsts(found), found.labels, found.facts, strict=True)
        for record in one.snapshot.ranking.order
    ]


def _told(record: TrialRecord, one: Facts) -> str:
    return f"{tag_text(record, one.study)}  {objectives_text(record, one.study)}".strip()


def _firsts(found: Studies) -> list[int]:
    """Return what is added to the trials' numbers of each study, so that no two are equal."""
    sums = [0]
    for one in found.facts:
        sums.append(sums[-1] + 1 + max((record.number for record in one.snapshot.records), default=0))
    return sums[:-1]


def _curves(found: Studies) -> Chart | None:
    """Return the learning curves of the best settings over each other; None where they cannot be compared, or there are none."""
    firsts, series = _firsts(found), []
    for place, best in found.bests():
        one, name = found.facts[place], found.labels[place]
        for number in best.trials[:_SEEDS_SHOWN]:
            if points := one.curves.get(number):
                data = [(firsts[place] + number, short_curve(points))]
                series.append(Series(mark="curves", colour=place % _COLOURS, name=name, data=data))
                name = ""  # once in the legend
    if found.apart or not series:
        return None
    scales = curve_scales([points for one in series for _, points in one.data], found.facts[0].study.metric)
    return Chart(name="curves", title="Learning curves of the best settings", scales=scales, series=series)


def _effects(found: Studies, name: str) -> list[Chart]:
    """Return the effect of a parameter in each study that has complete trials."""
    axis = joint_axis(name, [(one.study, one.kept) for one in found.facts])
    every = [record for one in found.facts for record in one.snapshot.ranking.order]
    scale = _joint_scale(axis, [short_place(axis, record) for record in every])
    values = [value_of(record) for record in every]
    shown = None if found.apart else shown_range(values, found.facts[0].study.metric.sign)
    charts = []
    for place, (first, one) in enumerate(zip(_firsts(found), found.facts, strict=True)):
        if one.snapshot.ranking.order:
            chart = effect(one, axis, scale=scale, shown=shown)
            series = [_renumbered(item, first) for item in chart.series]
            title = f"{found.labels[place]}: {chart.title}"
            charts.append(replace(chart, name=effect_name(name, place), title=title, series=series))
    return charts


def _joint_scale(axis: Axis, places: Sequence[float | None]) -> Scale:
    scale, known = axis_scale(axis, places), [place for place in places if place is not None]
    if scale.range is not None or scale.names is not None or not known:
        return scale
    return replace(scale, range=rounded(min(known), max(known)) if min(known) < max(known) else (known[0] - 0.5, known[0] + 0.5))


def _renumbered(series: Series, first: int) -> Series:
    if series.mark not in ("points", "rings"):
        return series
    return replace(series, data=[(x, y, first + number) for x, y, number in series.data])
