"""Show a session: a live view on a terminal, one plain line for each event elsewhere."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.cli.streams import settle
from sweep.cli.tables import Sparklines
from sweep.errors import one_line
from sweep.runner.observers import STARTS_AGAIN, Observer, RunChange
from sweep.runner.plain_lines import PlainLines, shown_loss
from sweep.study.formatting import (
    duration_text,
    error_line,
    number_of_run,
    number_text,
    objective_texts,
    run_text,
    states_text,
    tag_text,
    waiting_text,
)
from sweep.study.progress import TrialCounts
from sweep.study.ranking import objective_values, rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_in_total, trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

LEADERS = 3


class LiveView:
    """Keep the terminal up to date: running trials, leaders, counts, time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._study: StudySpec | None = None
        self._counts = TrialCounts()
        self._preparing: tuple[str, float | None] | None = None
        self._waiting = 0

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Show this study from now on."""
        self._study = study
        self._counts = TrialCounts(runs)
        self._preparing = (f"starting {workers} worker{'s' * (workers != 1)}", None) if workers else None

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show the progress of a preparation."""
        self._preparing = (one_line(text), fraction)

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Show a run as it is now; failures and what is started again also stay above the view."""
        self._counts.update(run)
        self._preparing = None
        verb = "failed" if run.state is TrialState.FAILED and change is RunChange.ENDED else STARTS_AGAIN.get(change)
        if self._study is not None and verb:
            self._console.print(Text(f"{run_text(run, self._study)} {verb}: {error_line(run)}", style="red"))

    def waiting(self, slots: int) -> None:
        """Show from now on that so many slots wait."""
        self._waiting = slots

    def notice(self, text: str) -> None:
        """Print a line above the view."""
        self._console.print(Text(one_line(text)))

    def render(self) -> RenderableType:
        """Return the view as it is now."""
        study = self._study
        if study is None:
            return Text("")
        runs = self._counts.runs  # the runner's thread changes them while this one draws
        trials = trials_of(runs, study)
        eta = self._counts.eta_s(runs_in_total(study), datetime.now(UTC))
        left = f"  about {duration_text(eta)} left" if eta is not None else ""
        states = states_text(TrialCounts(trials).counts(study.total))
        return Group(
            Text.assemble((study.name, "bold"), "  ", states, (left, "bold")),
            *self._preparation(),
            *([Text(waiting_text(self._waiting), style="dim")] if self._waiting else []),
            *running_table(study, runs),
            *leaders_text(study, trials),
        )

    def _preparation(self) -> list[RenderableType]:
        if self._preparing is None:
            return []
        text, fraction = self._preparing
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=1.0, completed=fraction or 0.0, width=20, pulse=fraction is None), text)
        return [row]


def running_table(study: StudySpec, runs: Iterable[TrialRecord], sparks: Sparklines | None = None) -> list[RenderableType]:
    """Return a table with a line for each running run, with its trial's curve if `sparks` are given; nothing when none runs."""
    running = sorted((run for run in runs if run.state is TrialState.RUNNING), key=lambda run: run.key)
    if not running:
        return []
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    names = [one_line(metric.name) for metric in study.metrics]
    for heading in ("trial", "", "device", "", "step", "loss", *names, *(["curve"] if sparks else []), "time"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("", "device", "curve") else "right")
    for record in running:
        step = record.step or 0
        bar = ProgressBar(total=record.total or 1, completed=step, width=16, pulse=record.total is None and not step)
        loss = shown_loss(record, study)
        began = datetime.fromisoformat(record.started or "")
        table.add_row(
            number_of_run(record, study),
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
    """Return the first few of the best trials, with their curves if `sparks` are given; nothing when none is complete.

    With several metrics they are from the Pareto front, in the order of the first metric.
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
    names = ", ".join(one_line(metric.name) for metric in study.metrics)
    size = f"{len(best)} of {len(ranking.order)} complete"
    what = f"Pareto front of {names}: {size}" if study.multi_objective else f"best {names}"
    return [Text(what, style="dim"), *lines]


@contextlib.contextmanager
def observer_for(console: Console, *, plain: bool) -> Iterator[Observer]:
    """Give the live view on a terminal that can show it, else plain lines."""
    if plain or not sys.stdout.isatty() or console.is_dumb_terminal:
        yield PlainLines()
        return
    view = LiveView(console)
    with Live(console=console, auto_refresh=True, refresh_per_second=4, get_renderable=view.render) as live, _suspendable(live):
        yield view


@contextlib.contextmanager
def _suspendable(live: Live) -> Iterator[None]:
    """Leave the terminal in order on Ctrl-Z while the block runs, and draw again below when the process continues."""

    def suspend(number: int, _frame: FrameType | None) -> None:
        live.stop()
        live.vertical_overflow = "ellipsis"  # ended pictures are drawn whole
        settle()
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)  # the process stops here
        signal.signal(number, suspend)
        live.start(refresh=True)

    before = signal.getsignal(signal.SIGTSTP)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
