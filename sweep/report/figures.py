"""The report's charts as files for a paper: matplotlib draws the same descriptions as the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter

from sweep.report.charts import BEST, QUIET, Chart, Scale, Series

_STYLE = {"svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_STATES = {"complete": "tab:green", "pruned": "goldenrod", "failed": "tab:red", "died": "tab:red", "running": "tab:blue"}
_LEGIBLE_SPANS = 40
_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def write_figures(charts: Sequence[Chart], folder: Path, form: str) -> list[Path]:
    """Write each chart to a file; return the paths.

    Args:
        charts: of a study, or of several.
        folder: created if it does not exist.
        form: `png` or `svg`.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / f"{chart.name}.{form}": chart for chart in charts}
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # the stub wants the keys as literals
        for path, chart in paths.items():
            _drawn(chart).savefig(path, dpi=200)
    return list(paths)


def _drawn(chart: Chart) -> Figure:
    parallel = chart.series[0].mark == "lines"
    rows = len(chart.scales[1].names or ()) if not parallel else 0
    size = (1.5 * len(chart.scales), 3.2) if parallel else (5.5, 0.9 + 0.4 * rows) if rows else (4.4, 3.0)
    figure = Figure(figsize=size, layout="constrained")
    axes: Any = figure.add_subplot()
    if parallel:
        _draw_parallel(axes, chart)
        return figure
    for series in chart.series:
        _draw(axes, chart, series)
    for side, scale in zip("xy", chart.scales, strict=True):
        axis = getattr(axes, f"{side}axis")
        if scale.log:
            axes.set(**{f"{side}scale": "log"})
            axis.set_major_formatter(LogFormatter())  # matplotlib's default needs parse_math
            axis.set_minor_formatter(LogFormatter())
        axes.set(**{f"{side}label": scale.label, f"{side}lim": scale.range})
        if scale.names is not None:
            axis.set_ticks(range(len(scale.names)), scale.names)
        elif scale.share:
            axis.set_major_formatter(PercentFormatter(1))
        elif scale.whole:
            axis.set_major_locator(MaxNLocator(integer=True))
    if any(series.name for series in chart.series):
        axes.legend(frameon=False, fontsize=7)
    return figure


def _draw(axes: Any, chart: Chart, series: Series) -> None:
    colour = "grey" if series.colour == QUIET else f"C{series.colour}"
    look: dict[str, Any] = {"color": colour, "label": series.name or None}
    match series.mark:
        case "points" | "rings" | "dashes" | "before" | "after":
            x, y, *_ = np.array(series.data, dtype=float).reshape(len(series.data), -1).T if series.data else ([], [])
            y = np.clip(y, *(chart.scales[1].range or (-math.inf, math.inf)))
            if series.mark == "points":
                size, alpha = (26, 1.0) if series.colour == BEST else (14, 0.6)
                axes.scatter(x, y, s=size, alpha=alpha, clip_on=False, zorder=3, linewidths=0, **look)
            elif series.mark == "rings":
                axes.scatter(x, y, s=12, clip_on=False, facecolors="none", edgecolors=colour, label=series.name)
            elif series.mark == "dashes":
                axes.scatter(x, y, s=500, marker="_", zorder=3, **look)
            else:
                axes.step(x, y, where="pre" if series.mark == "before" else "post", linewidth=1.2, **look)
        case "curves" if series.colour == QUIET:
            axes.add_collection(LineCollection([points for _, points in series.data], colors="grey", linewidths=0.6, alpha=0.35))
        case "curves":
            for _, points in series.data:
                axes.plot(*zip(*points, strict=True), linewidth=1.6, marker="" if len(points) > 1 else "o", **look)
        case "bars":
            length, low, high = np.array(series.data, dtype=float).T
            reach = [length - low, high - length]
            axes.barh(np.arange(len(length)), length, height=0.36, xerr=reach, ecolor="black", capsize=2, **look)
        case "spans":
            for row, start, end, number, how in series.data:
                axes.barh(row, end - start, left=start, height=0.7, color=_STATES.get(how, "grey"), edgecolor="white")
                if len(series.data) <= _LEGIBLE_SPANS:
                    axes.text((start + end) / 2, row, number, ha="center", va="center", fontsize=6)


def _draw_parallel(axes: Any, chart: Chart) -> None:
    table = np.array(chart.series[0].data, dtype=float)[:, :-1]
    for place, scale in enumerate(chart.scales):
        table[:, place], marks = _to_unit(table[:, place], scale)
        axes.axvline(place, color="black", linewidth=0.6)
        for at, text in marks:
            axes.text(place + 0.03, at, text, fontsize=7, va="center", bbox=_BOX)
    lines = [list(enumerate(row)) for row in table]
    axes.add_collection(LineCollection(lines, cmap="viridis", array=np.arange(len(lines)), linewidths=0.8, alpha=0.7))
    axes.set(xlim=(0, len(chart.scales) - 1), ylim=(-0.02, 1.02), yticks=[])
    axes.set_xticks(range(len(chart.scales)), [scale.label for scale in chart.scales])
    axes.spines["left"].set_visible(False)


def _to_unit(values: np.ndarray[Any, Any], scale: Scale) -> tuple[np.ndarray[Any, Any], list[tuple[float, str]]]:
    """Return the values scaled to 0 to 1, and the texts on their axis with their places."""
    if scale.range is not None:
        values = np.clip(values, *scale.range)
    known = values[~np.isnan(values)]
    ends = (0, len(scale.names) - 1) if scale.names else (known.min(), known.max()) if len(known) else (0, 0)
    names = dict(enumerate(scale.names)) if scale.names else {end: f"{end:.4g}" for end in ends}
    low, high = np.log10(ends) if scale.log else ends

    def unit(at: Any) -> Any:
        return ((np.log10(at) if scale.log else at) - low) / (high - low) if high > low else at * 0 + 0.5

    return unit(values), [(float(unit(at)), text) for at, text in names.items()]
