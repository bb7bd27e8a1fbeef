"""Show a running sweep: a live view on a terminal, one plain line for each event elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.runner.plain_lines import PlainLines, shown_loss
from sweep.study.formatting import duration_text, error_line, number_text, objective_texts, run_text, states_text, tag_text
from sweep.study.progress import TrialCounts
from sweep.study.ranking import objective_values, rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_in_total, trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

LEADERS = 3

if TYPE_CHECKING:  # as in `tables`
    from sweep.cli.charts import Sparklines


class LiveView:
    """Keep a picture of the sweep on the terminal: running trials, leaders, counts, time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._study: StudySpec | None = None
        self._tally = TrialCounts()
        self._preparing: tuple[str, float | None] | None = None
        # The last: it draws at once, and again from a thread of its own.
        self._live = Live(console=console, auto_refresh=True, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Take the study to show."""
        self._study = study
        self._tally = TrialCounts(runs)
        self._preparing = (f"starting {workers} worker{'s' * (workers != 1)}", None) if workers else None

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show a preparation's progress."""
        self._preparing = (text, fraction)

    def update(self, record: TrialRecord, what: str) -> None:
        """Take a trial's news; failures and retries also stay above the picture."""
        self._tally.update(record)
        self._preparing = None
        if self._study is not None and (what == "retried" or record.state is TrialState.FAILED):
            verb = "failed" if record.state is TrialState.FAILED else "lost its worker and is started again"
            self._console.print(Text(f"{run_text(record, self._study)} {verb}: {error_line(record)}", style="red"))

    def notice(self, text: str) -> None:
        """Print a line above the picture."""
        self._console.print(Text(text))

    def tick(self) -> None:
        """Nothing: the picture refreshes itself."""

    def _render(self) -> RenderableType:
        study = self._study
        if study is None:
            return Text("")
        runs = self._tally.runs  # the runner's thread changes it while this one draws
        trials = trials_of(runs, study)
        return Group(
            self._heading(study, trials),
            *self._preparation(),
            *running_table(study, runs),
            *leaders_text(study, trials),
        )

    def _heading(self, study: StudySpec, trials: list[TrialRecord]) -> Text:
        eta = self._tally.eta_s(runs_in_total(study), datetime.now(UTC))
        left = f"  about {duration_text(eta)} left" if eta is not None else ""
        return Text.assemble((study.name, "bold"), "  ", states_text(TrialCounts(trials).counts(study.total)), (left, "bold"))

    def _preparation(self) -> list[RenderableType]:
        if self._preparing is None:
            return []
        text, fraction = self._preparing
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=fraction or 0.0, width=20, pulse=fraction is None)
        row.add_row(bar, text)
        return [row]


def running_table(study: StudySpec, runs: Iterable[TrialRecord], sparks: Sparklines | None = None) -> list[RenderableType]:
    """Return a table with a line for each running run, with its trial's curve if there are any, nothing when none runs."""
    running = sorted((run for run in runs if run.state is TrialState.RUNNING), key=lambda run: run.key)
    if not running:
        return []
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    names = [metric.name for metric in study.metrics]
    for heading in ("trial", "", "device", "", "step", "loss", *names, *(["curve"] if sparks else []), "time"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("", "device", "curve") else "right")
    for record in running:
        step = record.step or 0
        bar = ProgressBar(total=record.total or 1, completed=step, width=16, pulse=record.total is None and not step)
        loss = shown_loss(record, study)
        began = datetime.fromisoformat(record.started or "")
        table.add_row(
            str(record.number) if study.repeats == 1 else f"{record.number}.{record.repeat}",
            tag_text(record, study),
            record.device or "",
            bar,
            f"{step}/{record.total}" if record.total else str(step),
            number_text(record.metrics.get(loss)) if loss else "-",
            *(number_text(value) for value in objective_values(study, record.value, record.metrics)),
            *([Text(sparks.of(record.number), style="cyan")] if sparks else []),
            duration_text((datetime.now(UTC) - began).total_seconds()),
        )
    return [table]


def leaders_text(study: StudySpec, records: list[TrialRecord], sparks: Sparklines | None = None) -> list[RenderableType]:
    """Return the first few of the best trials, with their curves if there are any, nothing when none is complete.

    Of several metrics they are of the front, in the order of the first metric.
    """
    ranking = rank(records, study)
    best = ranking.top(LEADERS)
    if not best:
        return []
    lines = [
        Text.assemble(
            (f"{place}. ", "dim"),
            ("  ".join(objective_texts(r, study)), "bold green" if place == 1 else ""),
            (f"  {sparks.of(r.number)}" if sparks else "", "cyan"),
            f"  {tag_text(r, study)}  ",
            (f"trial {r.number}", "dim"),
        )
        for place, r in enumerate(best[:LEADERS], 1)
    ]
    names = ", ".join(metric.name for metric in study.metrics)
    size = f"{len(best)} of {len(ranking.order)} complete"
    what = f"Pareto front of {names}: {size}" if study.multi_objective else f"best {names}"
    return [Text(what, style="dim"), *lines]


def observer_for(stream_console: Console, *, plain: bool) -> PlainLines | LiveView:
    """Return the live view on a terminal that can show it, else plain lines."""
    return PlainLines() if plain or not sys.stdout.isatty() or stream_console.is_dumb_terminal else LiveView(stream_console)
