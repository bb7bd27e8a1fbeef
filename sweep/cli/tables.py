"""Trials as tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import duration_text, error_line, number_text, objective_texts, param_text
from sweep.study.ranking import verdict
from sweep.study.record import TrialRecord, metric_names
from sweep.study.space import swept
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

STATE_STYLES = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}
_FEASIBLE: dict[bool | None, str | Text] = {True: "yes", False: Text("no", style="red"), None: ""}
_PIPED_WIDTH = 400

if TYPE_CHECKING:  # it needs NumPy, which `sweep plan` does not
    from sweep.cli.charts import Sparklines


def console() -> Console:
    """Return a console on stdout: as wide as the terminal; in a pipe wide, and without colour."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, markup=False, emoji=False)


def print_trial_table(
    records: Iterable[TrialRecord], study: StudySpec, sparks: Sparklines | None = None, front: Collection[int] = ()
) -> None:
    """Print a line for each trial: with its curve if there are curves, and with as many metrics as the terminal has room for."""
    records, screen = list(records), console()
    own = {metric.name for metric in study.metrics}
    others = [name for name in dict.fromkeys([*study.needed, *metric_names(records)]) if name not in own]
    table = trial_table(records, study, others, sparks, front)
    widths = {str(column.header): _natural_width(column) for column in table.columns}
    while others and sum(widths.values()) > screen.width:
        del widths[others.pop()]
    if sparks and sum(widths.values()) > screen.width:
        sparks = None
    screen.print(trial_table(records, study, others, sparks, front))


def _natural_width(column: Column) -> int:
    # An error may be long; it is cut to the room that is left, at least to its minimum width.
    return column.min_width or max(cell_len(str(cell)) for cell in [column.header, *column.cells]) + 2


def trial_table(
    records: Sequence[TrialRecord],
    study: StudySpec,
    others: Sequence[str] = (),
    sparks: Sparklines | None = None,
    front: Collection[int] = (),
) -> Table:
    """Return a table with a line for each trial: number, state, swept parameters, metrics, learning curve, `others`.

    With several metrics it marks the trials of the Pareto front; with constraints those that break one.
    """
    names, several = swept(study.parameters), study.multi_objective
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("trial", justify="right")
    table.add_column("state")
    if several:
        table.add_column("front", style="bold green")
    if study.constraints:
        table.add_column("feasible")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for metric in study.metrics:
        table.add_column(metric.name, justify="right", no_wrap=True)
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
            *_verdicts(record, study, front),
            *(param_text(record.params[name]) if name in record.params else "" for name in names),
            *objective_texts(record, study),
            *([Text(sparks.of(record.number))] if sparks else []),
            *(number_text(record.metrics.get(name)) for name in others),
            duration_text(record.duration_s),
            *([Text(error_line(record))] if failed else []),
        )
    return table


def _verdicts(record: TrialRecord, study: StudySpec, front: Collection[int]) -> list[str | Text]:
    marks: list[str | Text] = []
    if study.multi_objective:
        marks.append("*" if record.number in front else "")
    if study.constraints:
        marks.append(_FEASIBLE[verdict(study, record.metrics)])
    return marks


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
        from sweep.cli.charts import Sparklines

        sparks = Sparklines(snapshot.curves(record.number for record in records))
        print_trial_table(records, snapshot.study, sparks, snapshot.ranking.front_numbers)


def _csv(snapshot: Snapshot, records: list[TrialRecord]) -> str:
    params, metrics = list(snapshot.study.parameters), metric_names(records)
    verdicts = (*(["front"] if snapshot.study.multi_objective else []), *(["feasible"] if snapshot.study.constraints else []))
    spread = ("standard_error",) if snapshot.study.repeats > 1 else ()
    plain = ("value", *spread, *verdicts, "seed", "attempts", "started", "duration_s", "dir", "error")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["number", "state", *params, *metrics, *plain])
    for record in records:
        data = snapshot.trial_json(record)
        row = [data["number"], data["state"], *(data["params"].get(name) for name in params)]
        writer.writerow([*row, *(data["metrics"].get(name) for name in metrics), *(data[name] for name in plain)])
    return out.getvalue()
