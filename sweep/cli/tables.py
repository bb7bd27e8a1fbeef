"""Trials as tables, with their learning curves, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from sweep.cli.streams import formatted
from sweep.errors import one_line, printable
from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import duration_text, error_line, number_text, objective_texts, param_text
from sweep.study.ranking import verdict
from sweep.study.record import TrialRecord, metric_names, several_codes
from sweep.study.space import swept
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

if TYPE_CHECKING:
    from sweep.report.sentences import Statement

_STATE_STYLES = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
}
_FEASIBLE: dict[bool | None, str | Text] = {True: "yes", False: Text("no", style="red"), None: ""}
_PIPED_WIDTH = 400
_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=*#"
_SPARK_WIDTH = 16


class _Screen(Console):
    """A console on which only rich moves the cursor or sets colours: texts are printed as `print` does."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def console() -> Console:
    """Return a console on stdout: as wide as the terminal; in a pipe wide, and without colour."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    return _Screen(file=formatted(sys.stdout), width=width, highlight=False, markup=False, emoji=False)


class Sparklines:
    """Draw trials' learning curves, given as steps and values by trial, as rows of block characters on one scale."""

    def __init__(self, curves: dict[int, list[tuple[int, float]]]) -> None:
        self._curves = curves
        values = [value for points in curves.values() for _, value in points]
        self._any = any(len(points) > 1 for points in curves.values())
        self._low, self._high = min(values, default=0.0), max(values, default=0.0)
        self._blocks = _BLOCKS if can_draw(_BLOCKS) else _PLAIN_BLOCKS

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


def print_trial_table(
    records: Iterable[TrialRecord],
    study: StudySpec,
    sparks: Sparklines | None = None,
    front: Collection[int] = (),
    metrics: Sequence[str] | None = None,
) -> None:
    """Print a line for each trial: number, state, swept parameters, objective values, learning curve and other metrics.

    With several metrics it marks the trials of the Pareto front; with constraints those that break one. As many of the other
    metrics are left out as the terminal has no room for, then the curves. Those in `metrics` are shown, by default all.
    """
    records, screen = list(records), console()
    columns: list[tuple[Column, list[str | Text]]] = []

    def add(column: Column, cells: Iterable[str | Text]) -> Column:
        columns.append((column, list(cells)))
        return column

    add(Column("trial", justify="right"), (str(record.number) for record in records))
    add(Column("state"), map(_state, records))
    if study.multi_objective:
        add(Column("front", style="bold green"), ("*" if record.number in front else "" for record in records))
    if study.constraints:
        add(Column("feasible"), (_FEASIBLE[verdict(study, record.metrics)] for record in records))
    for name in swept(study.parameters):
        cells = (param_text(record.params[name]) if name in record.params else "" for record in records)
        add(Column(one_line(name), justify="right", overflow="fold"), cells)
    for place, metric in enumerate(study.metrics):
        add(
            Column(one_line(metric.name), justify="right", no_wrap=True),
            (objective_texts(record, study)[place] for record in records),
        )
    optional = []
    if sparks:
        optional.append(add(Column("curve", no_wrap=True, style="cyan"), (Text(sparks.of(record.number)) for record in records)))
    own = {metric.name for metric in study.metrics}
    for name in dict.fromkeys([*study.needed, *(metric_names(records) if metrics is None else metrics)]):
        if name not in own:
            values = (number_text(record.metrics.get(name)) for record in records)
            optional.append(add(Column(one_line(name), justify="right", no_wrap=True), values))
    if several_codes(records):
        add(Column("code", no_wrap=True), (record.code or "unknown" for record in records))
    add(Column("duration", justify="right", no_wrap=True), (duration_text(record.duration_s) for record in records))
    note = Column("note", overflow="ellipsis", no_wrap=True, min_width=6)
    if any(record.note for record in records):
        add(note, (one_line(record.note or "") for record in records))
    if failed := any(record.error for record in records):
        error = Column("error", overflow="ellipsis", no_wrap=True, min_width=20, style="red")
        add(error, (Text(error_line(record)) for record in records))
    while optional and sum(_natural_width(*column) for column in columns) > screen.width:
        left_out = optional.pop()
        columns = [column for column in columns if column[0] is not left_out]
    room = max(0, screen.width - sum(_natural_width(*column) for column in columns))
    note.max_width = 6 + (room // 2 if failed else room)  # an error takes the rest
    table = Table(*(column for column, _ in columns), box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    screen.print(table)


def _state(record: TrialRecord) -> Text:
    text = Text(str(record.state), style=_STATE_STYLES[record.state])
    return Text("dropped", style="dim") if record.dropped else text


def _natural_width(column: Column, cells: Iterable[str | Text]) -> int:
    # An error or a note may be long; it is cut to the room that is left, at least to its minimum width.
    return column.min_width or max(cell_len(str(cell)) for cell in [column.header, *cells]) + 2


def statement_texts(found: Iterable[Statement], study: str) -> list[Text]:
    """Return statements as paragraphs, with their commands for a study file, given as a word for a shell."""
    from sweep.report.sentences import command_in  # with NumPy, which a list of trials does not need

    lines = []
    for one in found:
        lines.append(Text(f"- {one.text}"))
        if one.command:  # in one line, to be copied
            lines.append(Text(f"  {command_in(one.command, study)}", no_wrap=True, overflow="ignore"))
    return lines


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
        sparks = Sparklines(snapshot.curves(record.number for record in records))
        print_trial_table(records, snapshot.study, sparks, snapshot.ranking.front_numbers)


def _csv(snapshot: Snapshot, records: list[TrialRecord]) -> str:
    params, metrics = list(snapshot.study.parameters), metric_names(records)
    verdicts = (*(["front"] if snapshot.study.multi_objective else []), *(["feasible"] if snapshot.study.constraints else []))
    spread = ("standard_error",) if snapshot.study.repeats > 1 else ()
    plain = ("value", *spread, *verdicts, "seed", "attempts", "started", "duration_s", "dir", "error", "code", "dropped", "note")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", "state", *map(one_line, [*params, *metrics]), *plain])
    for record in records:
        data = snapshot.trial_json(record)
        values = [data["params"].get(name) for name in params]
        row = [data["number"], data["state"], *map(_cell, values)]
        writer.writerow([*row, *(data["metrics"].get(name) for name in metrics), *(data[name] for name in plain)])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    return json.dumps(value) if isinstance(value, list | tuple) else value


def can_draw(characters: str) -> bool:
    """Return whether the terminal's encoding has these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
