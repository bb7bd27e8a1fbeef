"""The report's charts as files for a paper, drawn by matplotlib: PNG or SVG."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweep.report.facts import BEST_CURVES, Axis, Facts
from sweep.study.formatting import tag_text
from sweep.study.ranking import feasible, objective_values

_STYLE = {"svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_STATES = {"complete": "tab:green", "pruned": "goldenrod", "failed": "tab:red", "died": "tab:red", "running": "tab:blue"}
_LEGIBLE_BARS = 40
_Spot = tuple[float | None, float | None]
_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def write_figures(facts: Facts, folder: Path, form: str) -> list[Path]:
    """Write each chart that there is something to show in; return their paths.

    Args:
        facts: of the study.
        folder: is made.
        form: `png` or `svg`.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # the stub wants the keys as literals
        for name, draw in _figures(facts).items():
            path = folder / f"{name}.{form}"
            figure = draw()
            figure.savefig(path, dpi=200)
            written.append(path)
    return written


def _figures(facts: Facts) -> dict[str, Callable[[], Figure]]:
    found: dict[str, Callable[[], Figure]] = {}
    if facts.importances:
        found["importances"] = functools.partial(_importances, facts)
    for x, y in facts.pairs if facts.snapshot.ranking.front else ():
        found["front" if len(facts.pairs) == 1 else f"front_{x + 1}_{y + 1}"] = functools.partial(_front, facts, x, y)
    if facts.snapshot.ranking.order:
        found |= {f"effect_{axis.name}": functools.partial(_effect, facts, axis) for axis in facts.axes}
        found |= {"history": functools.partial(_history, facts), "parallel": functools.partial(_parallel, facts)}
    if any(len(points) > 1 for points in facts.curves.values()):
        found["curves"] = functools.partial(_curves, facts)
    if facts.busy:
        found["timeline"] = functools.partial(_timeline, facts)
    return found


def _new(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _importances(facts: Facts) -> Figure:
    items = list(reversed(facts.importances))
    figure, axes = _new(5, 0.8 + 0.4 * len(items))
    places = range(len(items))
    together = [item.together for item in items]
    if all(share is not None for share in together):
        axes.barh([place - 0.2 for place in places], together, height=0.36, color="tab:orange", label="together with others")
    alone = [item.alone for item in items]
    reach = [[item.alone - item.low for item in items], [item.high - item.alone for item in items]]
    axes.barh(
        [place + 0.2 for place in places], alone, height=0.36, xerr=reach, ecolor="black", capsize=2, label="alone, 95 % interval"
    )
    axes.set_yticks(list(places), [item.name for item in items])
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of the differences in {facts.study.metric.name}")
    axes.legend(frameon=False)
    return figure


def _front(facts: Facts, x: int, y: int) -> Figure:
    figure, axes = _new(4.2, 3.4)
    study, leading = facts.study, facts.snapshot.ranking.front_numbers
    broken: list[_Spot] = []
    others: list[_Spot] = []
    best: list[_Spot] = []
    for record in facts.snapshot.ranking.order:
        values = objective_values(study, record.value, record.metrics)
        group = best if record.number in leading else others if feasible(study, record.metrics) else broken
        group.append((values[x], values[y]))
    axes.scatter(*_columns(others), s=12, alpha=0.6, label="complete trials")
    if broken:
        axes.scatter(*_columns(broken), s=14, facecolors="none", edgecolors="grey", label="break a constraint")
    best.sort()
    if len(study.metrics) == 2:
        axes.step(*_columns(best), where="pre" if study.metrics[x].sign > 0 else "post", color="tab:orange", linewidth=1)
    axes.scatter(*_columns(best), s=26, color="tab:orange", zorder=3, label="Pareto front")
    axes.set_xlabel(study.metrics[x].name)
    axes.set_ylabel(study.metrics[y].name)
    axes.legend(frameon=False)
    return figure


def _columns(points: Sequence[_Spot]) -> tuple[list[float | None], list[float | None]]:
    return [one for one, _ in points], [other for _, other in points]


def _effect(facts: Facts, axis: Axis) -> Figure:
    figure, axes = _new(3.6, 2.8)
    points = [(axis.place(record.params.get(axis.name)), record) for record in facts.snapshot.ranking.order]
    known = [(at, record) for at, record in points if at is not None]
    if axis.categories:
        shift = [((record.number * 0.618034) % 1 - 0.5) * 0.5 for _, record in known]
        axes.set_xticks(range(len(axis.categories)), axis.categories)
    else:
        shift = [0.0] * len(known)
        if axis.log:
            axes.set_xscale("log")
    low, high = facts.shown or (-math.inf, math.inf)
    values = [min(high, max(low, record.value or 0.0)) for _, record in known]  # what lies outside is drawn at the edge
    within = [feasible(facts.study, record.metrics) for _, record in known]
    faces = ["tab:blue" if well else "none" for well in within]
    edges = ["tab:blue" if well else "grey" for well in within]
    places = [at + by for (at, _), by in zip(known, shift, strict=True)]
    axes.scatter(places, values, s=10, alpha=0.6, clip_on=False, facecolors=faces, edgecolors=edges)
    axes.set_xlabel(axis.name)
    axes.set_ylabel(facts.study.metric.name)
    axes.set_ylim(facts.shown)
    return figure


def _history(facts: Facts) -> Figure:
    figure, axes = _new(5, 2.8)
    values = {record.number: record.value for record in facts.snapshot.ranking.order}
    order = range(1, len(facts.history) + 1)
    axes.scatter(order, [values[number] for number, _ in facts.history], s=8, color="grey", label="trials")
    axes.step(
        order,
        [math.nan if best is None else best for _, best in facts.history],
        where="post",
        color="tab:orange",
        label="best so far",
    )
    axes.set_xlabel("complete trials")
    axes.set_ylabel(facts.study.metric.name)
    axes.set_ylim(facts.shown)
    axes.legend(frameon=False)
    return figure


def _parallel(facts: Facts) -> Figure:
    figure, axes = _new(1.5 * (len(facts.axes) + 1), 3.2)
    ranked, metric = facts.snapshot.ranking.order, Axis(name=facts.study.metric.name)
    columns = [(axis, [axis.place(record.params.get(axis.name)) for record in ranked]) for axis in facts.axes]
    columns.append((metric, [record.value for record in ranked]))
    scales = [_Scale.of(axis, places) for axis, places in columns]
    colours = mpl.colormaps["viridis"]
    lines: list[list[tuple[float, float]]] = []
    shades: list[Any] = []
    for row in range(len(ranked) - 1, -1, -1):  # the best last, on top
        lines.append(
            [(at, scale.of_one(places[row])) for at, (scale, (_, places)) in enumerate(zip(scales, columns, strict=True))]
        )
        shades.append(colours(1 - row / max(1, len(ranked) - 1)))
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=0.8, alpha=0.7))
    axes.set_xlim(0, len(columns) - 1)
    axes.set_ylim(-0.02, 1.02)
    for place, scale in enumerate(scales):
        axes.axvline(place, color="black", linewidth=0.6)
        for text, at in scale.marks:
            axes.text(
                place + 0.03, at, text, fontsize=7, va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            )
    axes.set_xticks(range(len(columns)), [axis.name for axis, _ in columns])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """An axis of the parallel coordinates, brought to 0 to 1, with the marks to write on it."""

    low: float
    high: float
    log: bool
    marks: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, axis: Axis, places: list[float | None]) -> _Scale:
        known = [at for at in places if at is not None] or [0.0]
        bare = cls(low=min(known), high=max(known), log=axis.log, marks=())
        texts = dict(enumerate(axis.categories)) if axis.categories else {at: f"{at:.4g}" for at in (bare.low, bare.high)}
        return replace(bare, marks=tuple((text, bare.of_one(at)) for at, text in texts.items()))

    def of_one(self, at: float | None) -> float:
        if at is None:
            return math.nan
        low, high, at = (math.log10(value) if self.log else value for value in (self.low, self.high, at))
        return (at - low) / (high - low) if high > low else 0.5


def _curves(facts: Facts) -> Figure:
    figure, axes = _new(5, 3.2)
    best = {record.number: record for record in facts.snapshot.ranking.order[:BEST_CURVES]}
    others = [points for number, points in facts.curves.items() if number not in best]
    axes.add_collection(LineCollection(others, colors="grey", linewidths=0.6, alpha=0.35))
    for number, record in best.items():
        found = facts.curves.get(number)
        if found:
            axes.plot(*zip(*found, strict=True), linewidth=1.6, label=f"{number}: {tag_text(record, facts.study)}")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(facts.study.metric.name)
    axes.set_ylim(facts.shown_curves)
    axes.legend(frameon=False, fontsize=7)
    return figure


def _timeline(facts: Facts) -> Figure:
    slots = sorted({item.slot for item in facts.busy})
    figure, axes = _new(6.5, 0.9 + 0.35 * len(slots))
    busy, rows = facts.busy, [slots.index(item.slot) for item in facts.busy]
    widths, starts = [item.ended - item.began for item in busy], [item.began for item in busy]
    axes.barh(rows, widths, left=starts, height=0.7, color=[_STATES.get(item.how, "grey") for item in busy], edgecolor="white")
    for item, row in zip(busy, rows, strict=True) if len(busy) <= _LEGIBLE_BARS else ():
        axes.text((item.began + item.ended) / 2, row, item.number, ha="center", va="center", fontsize=6)
    axes.set_yticks(range(len(slots)), [f"slot {slot}" for slot in slots])
    axes.set_xlabel("seconds")
    return figure
