"""Small charts made of characters: learning curves in one line, importances as bars."""

from __future__ import annotations

import math
import sys

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sweep.report.importance import importances
from sweep.storage.snapshot import Snapshot
from sweep.study.repeats import trainings

Curves = dict[int, list[tuple[int, float]]]
_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=*#"
_SPARK_WIDTH = 16
_BAR_WIDTH = 24


class Sparklines:
    """Draw trials' learning curves as rows of block characters, all on one scale.

    Args:
        curves: step and value of each report, by trial.
    """

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        values = [value for points in curves.values() for _, value in points]
        self._any = any(len(points) > 1 for points in curves.values())
        self._low, self._high = min(values, default=0.0), max(values, default=0.0)
        self._blocks = _BLOCKS if _can_draw(_BLOCKS) else _PLAIN_BLOCKS

    def __bool__(self) -> bool:
        return self._any

    def of(self, number: int) -> str:
        """Return a trial's curve, at most 16 characters wide; empty when it never reported."""
        values = [value for _, value in self._curves.get(number, [])]
        if len(values) > _SPARK_WIDTH:  # the last of each part
            values = [values[(place + 1) * len(values) // _SPARK_WIDTH - 1] for place in range(_SPARK_WIDTH)]
        room = self._high - self._low
        top = len(self._blocks) - 1
        if not (room and math.isfinite(room)):
            return self._blocks[top // 2] * len(values)
        return "".join(self._blocks[round((value - self._low) / room * top)] for value in values)


def importance_bars(snapshot: Snapshot) -> list[RenderableType]:
    """Return a bar for the importance of each parameter; nothing when too few trials are complete."""
    found = importances(trainings(snapshot.records), snapshot.study)
    if not found:
        return []
    full, light = ("█", "░") if _can_draw("█░") else ("#", ".")
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(no_wrap=True, justify=justify, overflow="ellipsis")
    for item in found:
        alone, whole = round(item.alone * _BAR_WIDTH), round((item.together or 0) * _BAR_WIDTH)
        through = "" if item.together is None else f", {item.together:.0%} together with others"
        table.add_row(
            item.name,
            Text.assemble((full * alone, "green"), (light * (whole - alone), "green")),
            f"{item.alone:.0%}",
            Text(f"({item.low:.0%} to {item.high:.0%}){through}", style="dim"),
        )
    others = "" if found[0].together is None else f", {light} together with others"
    return [Text(f"\nwhat explains {snapshot.study.metric.name}: {full} alone (95 % interval){others}", style="dim"), table]


def _can_draw(characters: str) -> bool:
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
