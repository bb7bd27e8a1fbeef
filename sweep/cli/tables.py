"""Trials as tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from sweep.records import TrialRecord
from sweep.results import Snapshot
from sweep.space import swept
from sweep.study import StudySpec
from sweep.trial import TrialState
from sweep.wording import duration_text, error_line, number_text, param_text, value_text

STATE_STYLES = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}
_PIPED_WIDTH = 400

if TYPE_CHECKING:  # what draws needs NumPy; `sweep plan` does not
    from sweep.cli.charts import Sparklines


def console() -> Console:
    """Return a console on stdout: as wide as the terminal, and without limits or colour into a pipe."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, markup=False, emoji=False)


def print_trial_table(records: Iterable[TrialRecord], study: StudySpec, sparks: Sparklines | None = None) -> None:
    """Print a line for each trial, with its curve, if there are any, and as many metrics as the terminal is wide enough for."""
    records, screen = list(records), console()
    others = [name for name in metric_names(records) if name != study.metric.name]
    table = trial_table(records, study, others, sparks)
    widths = {str(column.header): _natural_width(column) for column in table.columns}
    while others and sum(widths.values()) > screen.width:
        del widths[others.pop()]
    if sparks and sum(widths.values()) > screen.width:
        sparks = None
    screen.print(trial_table(records, study, others, sparks))


def _natural_width(column: Column) -> int:
    # An error may be long; it is cut to what is left, but gets its least width.
    return column.min_width or max(cell_len(str(cell)) for cell in [column.header, *column.cells]) + 2


def trial_table(
    records: Sequence[TrialRecord], study: StudySpec, others: Sequence[str] = (), sparks: Sparklines | None = None
) -> Table:
    """Return a table with a line for each trial: its number, state, swept parameters, the metric, its curve and others."""
    names = swept(study.parameters)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("trial", justify="right")
    table.add_column("state")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column(study.metric.name, justify="right", no_wrap=True)
    if sparks:
        table.add_column("curve", no_wrap=True, style="cyan")
    for name in (*others, "duration"):
        table.add_column(name, justify="right", no_wrap=True)
    failed = any(record.error for record in records)
    if failed:
        table.add_column("error", overflow="ellipsis", no_wrap=True, min_width=20, style="red")
    for record in records:
        table.add_row(
            str(record.number),
            Text(str(record.state), style=STATE_STYLES[record.state]),
            *(param_text(record.params[name]) if name in record.params else "" for name in names),
            value_text(record),
            *([Text(sparks.of(record.number))] if sparks else []),
            *(number_text(record.metrics.get(name)) for name in others),
            duration_text(record.duration_s),
            *([Text(error_line(record))] if failed else []),
        )
    return table


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
        from sweep.cli.charts import sparklines

        print_trial_table(records, snapshot.study, sparklines(snapshot, [record.number for record in records]))


def metric_names(records: Iterable[TrialRecord]) -> list[str]:
    """Return the metrics' names in the order in which trials report them."""
    return list(dict.fromkeys(name for record in records for name in record.metrics))


def _csv(snapshot: Snapshot, records: list[TrialRecord]) -> str:
    params, metrics = list(snapshot.study.parameters), metric_names(records)
    spread = ("standard_error",) if snapshot.study.repeats > 1 else ()
    plain = ("value", *spread, "seed", "attempts", "started", "duration_s", "dir", "error")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["number", "state", *params, *metrics, *plain])
    for record in records:
        data = snapshot.trial_json(record)
        row = [data["number"], data["state"], *(data["params"].get(name) for name in params)]
        writer.writerow([*row, *(data["metrics"].get(name) for name in metrics), *(data[name] for name in plain)])
    return out.getvalue()
