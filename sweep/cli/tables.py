"""Trials as tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.records import TrialRecord
from sweep.results import Snapshot
from sweep.space import swept
from sweep.study import StudySpec
from sweep.trial import Scalar, TrialState

STATE_STYLES = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}
_PIPED_WIDTH = 400


def console() -> Console:
    """Return a console on stdout: as wide as the terminal, and without limits or colour into a pipe."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, markup=False, emoji=False)


def number_text(value: float | None) -> str:
    """Write a metric for reading: four digits after the point, or six significant ones where that says nothing."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.6g}"


def param_text(value: Scalar) -> str:
    """Write a parameter's value for reading."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def duration_text(seconds: float | None) -> str:
    """Write a duration for reading: `8.3 s`, `4:05`, `2:10:00`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def tag_text(record: TrialRecord, study: StudySpec) -> str:
    """Write a trial's swept parameters in one line."""
    return " ".join(f"{name}={param_text(record.params[name])}" for name in swept(study.parameters))


def print_trial_table(records: Iterable[TrialRecord], study: StudySpec) -> None:
    """Print a line for each trial, with as many of its metrics as the terminal is wide enough for."""
    records, screen = list(records), console()
    others = [name for name in metric_names(records) if name != study.metric.name]
    while others and _natural_width(trial_table(records, study, others), screen) > screen.width:
        others.pop()
    screen.print(trial_table(records, study, others))


def _natural_width(table: Table, screen: Console) -> int:
    # An error may be long; it is cut to what is left, but gets its least width.
    return sum(column.min_width or _column_width(table, index, screen) for index, column in enumerate(table.columns))


def _column_width(table: Table, index: int, screen: Console) -> int:
    column = table.columns[index]
    cells = [column.header, *column.cells]
    return max(screen.measure(cell).maximum for cell in cells) + 2


def trial_table(records: Sequence[TrialRecord], study: StudySpec, others: Sequence[str] = ()) -> Table:
    """Return a table with a line for each trial: its number, state, swept parameters, the metric and others."""
    names = swept(study.parameters)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("trial", justify="right")
    table.add_column("state")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for name in (study.metric.name, *others, "duration"):
        table.add_column(name, justify="right", no_wrap=True)
    failed = any(record.error for record in records)
    if failed:
        table.add_column("error", overflow="ellipsis", no_wrap=True, min_width=20, style="red")
    for record in records:
        table.add_row(
            str(record.number),
            Text(str(record.state), style=STATE_STYLES[record.state]),
            *(param_text(record.params.get(name)) for name in names),
            number_text(record.value),
            *(number_text(record.metrics.get(name)) for name in others),
            duration_text(record.duration_s),
            *([Text(error_line(record))] if failed else []),
        )
    return table


def error_line(record: TrialRecord) -> str:
    """Return the line of a trial's error that says most: the exception, or how its worker died."""
    if not record.error:
        return ""
    lines = [line for line in record.error.strip().splitlines() if line.strip()]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def print_json(data: Any) -> None:
    """Print JSON, alone on stdout."""
    json.dump(data, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_trials(snapshot: Snapshot, records: Iterable[TrialRecord], form: str) -> None:
    """Print trials as `table`, `csv` or `json`."""
    records = list(records)
    if form == "json":
        print_json([snapshot.trial_json(record) for record in records])
    elif form == "csv":
        sys.stdout.write(_csv(snapshot, records))
    else:
        print_trial_table(records, snapshot.study)


def metric_names(records: Iterable[TrialRecord]) -> list[str]:
    """Return the metrics' names in the order in which trials report them."""
    return list(dict.fromkeys(name for record in records for name in record.metrics))


def _csv(snapshot: Snapshot, records: list[TrialRecord]) -> str:
    params, metrics = list(snapshot.study.parameters), metric_names(records)
    plain = ("value", "seed", "attempts", "started", "duration_s", "dir", "error")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["number", "state", *params, *metrics, *plain])
    for record in records:
        data = snapshot.trial_json(record)
        row = [data["number"], data["state"], *(data["params"].get(name) for name in params)]
        writer.writerow([*row, *(data["metrics"].get(name) for name in metrics), *(data[name] for name in plain)])
    return out.getvalue()
