"""Show a session in a notebook: one block below the cell, which is drawn again in its place while trials run.

A thread draws it, since the runner waits for its workers in the cell's own.
"""

from __future__ import annotations

import contextlib
import contextvars
import html
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

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
from sweep.study.html_table import Bar, block_html, lines_html, table_html
from sweep.study.progress import TrialCounts
from sweep.study.ranking import objective_values, rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_in_total, trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_EVERY_S = 0.5
_IDLE_S = 2.0  # between two pictures when nothing has happened: the times go on
_SHARE = 20  # so many times the seconds that a picture takes pass before the next one
_LEADERS, _RUNNING, _LINES = 3, 16, 12
Picture = dict[str, str]  # a text for each kind of page


@contextlib.contextmanager
def observer_for(*, quiet: bool) -> Iterator[Observer]:
    """Give what shows a session of a Python program: the view in a notebook, else plain lines; nothing if it is to be quiet."""
    show = None if quiet else _display()
    if show is None:
        yield PlainLines(quiet=quiet)
    else:
        view = NotebookView()
        with drawn(view, show), warnings.catch_warnings():
            # Optuna's tqdm looks for a widget, which nothing here needs.
            warnings.filterwarnings("ignore", message="IProgress not found")
            yield view


class NotebookView:
    """Know what a notebook shows of a session: counts, running trials, leaders, time left, and lines that stay."""

    def __init__(self) -> None:
        self.changed = True  # since the last picture
        self._study: StudySpec | None = None
        self._counts = TrialCounts()
        self._preparing = ""
        self._waiting = 0
        self._lines: deque[str] = deque(maxlen=_LINES)

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Show this study from now on."""
        self._study, self._counts = study, TrialCounts(runs)
        self._preparing = f"starting {workers} worker{'s' * (workers != 1)}" if workers else ""
        self.changed = True

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show the progress of a preparation."""
        self._preparing = one_line(text) + (f"  {fraction:.0%}" if fraction is not None else "")
        self.changed = True

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Show a run as it is now; what fails and what is started again also stays as a line."""
        self._counts.update(run)
        self._preparing = ""
        failed = change is RunChange.ENDED and run.state is TrialState.FAILED
        if self._study is not None and (verb := "failed" if failed else STARTS_AGAIN.get(change)):
            self._lines.append(f"{run_text(run, self._study)} {verb}: {error_line(run)}")
        self.changed = True

    def waiting(self, slots: int) -> None:
        """Show from now on that so many slots wait."""
        self._waiting, self.changed = slots, True

    def notice(self, text: str) -> None:
        """Show a line below the tables."""
        self._lines.append(one_line(text))
        self.changed = True

    @property
    def runs(self) -> bool:
        """Return whether any trial is running."""
        return any(run.state is TrialState.RUNNING for run in self._counts.runs)

    def picture(self) -> Picture:
        """Return the view as it is now, as HTML and as plain text."""
        self.changed = False
        lines = list(self._lines)
        study = self._study
        if study is None:
            return {"text/html": block_html(lines_html(lines)), "text/plain": "\n".join(lines)}
        runs = self._counts.runs  # the runner's thread changes them while this one draws
        trials = trials_of(runs, study)
        eta = self._counts.eta_s(runs_in_total(study), datetime.now(UTC))
        left = f"about {duration_text(eta)} left" if eta is not None else ""
        states = states_text(TrialCounts(trials).counts(study.total))
        more = [self._preparing, waiting_text(self._waiting) if self._waiting else ""]
        head = f"<div><b>{html.escape(study.name)}</b>&ensp;{states}&ensp;<b>{left}</b></div>"
        body = [head, lines_html(filter(None, more)), _running(study, runs), _leaders(study, trials), lines_html(lines)]
        plain = [f"{one_line(study.name)}  {states}  {left}".rstrip(), *filter(None, more), *lines]
        return {"text/html": block_html(*body), "text/plain": "\n".join(plain)}


def _running(study: StudySpec, runs: Iterable[TrialRecord]) -> str:
    running = sorted((run for run in runs if run.state is TrialState.RUNNING), key=lambda run: run.key)
    rows: list[list[str | Bar]] = []
    for run in running[:_RUNNING]:
        step, loss = run.step or 0, shown_loss(run, study)
        began = datetime.fromisoformat(run.started or "")
        rows.append(
            [
                number_of_run(run, study),
                tag_text(run, study),
                run.device or "",
                Bar(step / run.total if run.total else 0.0),
                f"{step}/{run.total}" if run.total else str(step),
                number_text(run.metrics.get(loss)) if loss else "-",
                *(number_text(value) for value in objective_values(study, run.value, run.metrics)),
                duration_text((datetime.now(UTC) - began).total_seconds()),
            ]
        )
    names = [metric.name for metric in study.metrics]
    table = table_html(["trial", "", "device", "", "step", "loss", *names, "time"], rows) if rows else ""
    return table + lines_html([f"and {len(running) - _RUNNING} more are running"] if len(running) > _RUNNING else [])


def _leaders(study: StudySpec, trials: list[TrialRecord]) -> str:
    ranking = rank(trials, study)
    best = ranking.top(_LEADERS)
    rows = [
        [f"{place}.", *objective_texts(trial, study), tag_text(trial, study), f"trial {trial.number}"]
        for place, trial in enumerate(best[:_LEADERS], 1)
    ]
    what = f"front: {len(best)}" if study.multi_objective else "best"
    return table_html([what, *(metric.name for metric in study.metrics), "", ""], rows) if rows else ""


def _display() -> Callable[[Picture], Any] | None:
    """Return what shows a picture, in the place of the one before; None where no page does, as in a script or a terminal."""
    ipython = sys.modules.get("IPython")  # if it is not loaded, this is no notebook
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    shown: Any = None

    def show(picture: Picture) -> None:
        nonlocal shown
        if shown is None:
            shown = ipython.display.display(picture, raw=True, display_id=True)
        else:
            shown.update(picture, raw=True)

    return show


@contextlib.contextmanager
def drawn(view: NotebookView, show: Callable[[Picture], Any]) -> Iterator[None]:
    """Draw a view while the block runs, at most twice a second, and as it is at the end.

    Args:
        view: what is drawn.
        show: is called with each picture, also in another thread.
    """
    ended = threading.Event()

    def draw() -> None:
        wait, last = _EVERY_S, time.monotonic()
        while not ended.wait(wait):
            began = time.monotonic()
            if view.changed or (began - last > _IDLE_S and view.runs):
                with contextlib.suppress(Exception):  # the training goes on, whatever has become of the page
                    show(view.picture())
                last = time.monotonic()
                wait = max(_EVERY_S, _SHARE * (last - began))

    show(view.picture())
    # In the cell's context, by which the kernel knows where the output belongs.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(draw,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(Exception):
            show(view.picture())
