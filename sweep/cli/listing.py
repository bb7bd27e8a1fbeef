"""`sweep list`: all studies below a folder, with their state, their best trial, and what they take on the disk."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sweep.cli.tables import console, print_json
from sweep.errors import SweepError, one_line
from sweep.storage.folder import StudyFolder, near
from sweep.storage.listing import Listed, StudyState, listed, studies_below
from sweep.study.formatting import objective_texts, size_text, states_text
from sweep.study.ranking import objective_values
from sweep.worker.devices import cpu_cores

_STYLES = {
    StudyState.RUNNING: "cyan",
    StudyState.FINISHED: "green",
    StudyState.STOPPED: "yellow",
    StudyState.FAILED: "red",
    StudyState.MOVED_ASIDE: "dim",
    StudyState.DAMAGED: "red",
}
_HEADS = ("study", "state", "trials", "best", "changed", "size")
_STATE = 1  # the column with a colour
# Fewer studies are read before another process is ready.
_WORTH_PROCESSES = 200
_AT_ONCE = 25
# A folder is larger than it needs to be if this much can go, in bytes and as a share.
_WORTH_CLEANING, _SHARE = 10_000_000, 0.2


def list_studies(place: str | None, *, as_json: bool) -> None:
    """Print the studies below a folder, the last changed one last.

    Args:
        place: the folder; default: `runs` if it is there, else the working directory.
        as_json: print JSON.

    Raises:
        SweepError: there is no such folder.
    """
    start = folder_to_search(place)
    found = sorted(read_studies([*studies_below(start)]), key=lambda one: (one.changed, one.folder.root))
    if as_json:
        print_json([_json(one) for one in found])
    elif not found:
        print(f"there is no study below {near(start)} yet; sweep run STUDY makes one in runs")
    else:
        _print(found)


def folder_to_search(place: str | None) -> Path:
    """Return the folder whose studies are meant: by default `runs` if it is there, else the working directory.

    Raises:
        SweepError: it is no folder.
    """
    path = Path(place) if place is not None else Path("runs") if Path("runs").is_dir() else Path()
    try:
        if path.is_dir():
            return path
    except ValueError:  # no path
        pass
    what = f"{place} is no folder"
    raise SweepError("no-such-folder", what, do="sweep list runs   lists the studies in a folder and those below it")


def read_studies(folders: Sequence[StudyFolder]) -> list[Listed]:
    """Read studies, many of them with every core."""
    if len(folders) < _WORTH_PROCESSES or (cores := cpu_cores()) < 2:
        return [*map(listed, folders)]
    sys.stdout.flush()  # else each process would print it, too
    with ProcessPoolExecutor(min(cores, 8), multiprocessing.get_context("fork")) as pool:
        return [*pool.map(listed, folders, chunksize=_AT_ONCE)]


def _print(found: Sequence[Listed]) -> None:
    # By hand: a table of rich's takes 0.4 s for a thousand rows.
    rows = [(*_HEADS, "note" if any(one.note for one in found) else ""), *map(_row, found)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    screen = console()
    for place, row in enumerate(rows):
        style = _STYLES[found[place - 1].state] if place else "bold"
        cells = [set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)]
        parts = [(cell + "  ", style if not place or column == _STATE else "") for column, cell in enumerate(cells)]
        line = Text.assemble(*parts)
        line.rstrip()
        screen.print(line, soft_wrap=True)
    large = [one for one in found if one.spare > _WORTH_CLEANING and one.spare > _SHARE * one.size]
    if large:
        spare = sum(one.spare for one in large)
        names = ", ".join(one_line(near(one.folder.root)) for one in sorted(large, key=lambda one: -one.spare)[:3])
        more = f" and {len(large) - 3} more" if len(large) > 3 else ""
        of = size_text(sum(one.size for one in large))
        print(f"\n{size_text(spare)} of the {of} in {names}{more} are not needed: sweep clean says what, and removes it")


def _row(one: Listed) -> tuple[str, ...]:
    place, changed = one_line(near(one.folder.root)), datetime.fromisoformat(one.changed).astimezone()
    said = one.note if one.error is None else one.error.what
    counts = states_text(one.counts | {"dropped": one.dropped})
    cells = place, _state_text(one), counts, _best_text(one), f"{changed:%Y-%m-%d %H:%M}"
    return *cells, size_text(one.size), one_line(said)


def _state_text(one: Listed) -> str:
    if one.runner is None:
        return f"{one.state}, in use by sweep {one.doing}" if one.doing else one.state
    slots = f", {one.runner['slots']} slots" if "slots" in one.runner else ""
    return f"{one.state} on {one.runner.get('host', '?')}, process {one.runner.get('pid', '?')}{slots}"


def _best_text(one: Listed) -> str:
    if one.study is None or one.best is None:
        return ""
    metrics = zip(one.study.metrics, objective_texts(one.best, one.study), strict=True)
    values = " ".join(f"{one_line(metric.name)}={text}" for metric, text in metrics)
    front = f", one of {one.front} in the front" if one.study.multi_objective else ""
    return f"{values} (trial {one.best.number}{front})"


def _json(one: Listed) -> dict[str, Any]:
    best = None
    if one.study is not None and one.best is not None:
        best = {name: getattr(one.best, name) for name in ("number", "value", "params", "metrics")}
        if one.study.multi_objective:
            best |= {"values": list(objective_values(one.study, one.best.value, one.best.metrics)), "front": one.front}
    return {
        "study": one.study.name if one.study else one.folder.root.name,
        "dir": os.fspath(one.folder.root),
        "state": str(one.state),
        "counts": one.counts,
        "dropped": one.dropped,
        "total": one.study.total if one.study else None,
        "best": best,
        "note": one.note,
        "started": one.started,
        "changed": one.changed,
        "bytes": one.size,
        "spare_bytes": one.spare,
        "runner": one.runner,
        "ended": one.ended,
        "error": str(one.error) if one.error else None,
    }
