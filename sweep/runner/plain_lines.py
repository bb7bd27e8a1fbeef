"""Show a running sweep as plain lines, one for each event: where there is no terminal to draw on, and in Python."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sweep.study.formatting import duration_text, error_line, number_text, objectives_text, run_text, tag_text
from sweep.study.progress import TrialCounts
from sweep.study.ranking import verdict
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_in_total, trial_of, trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_PREPARING_S = 2.0


class PlainLines:
    """Print one line for each event, for pipes, logs, batch systems and notebooks.

    Args:
        quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._said_at = quiet, 0.0

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Say what is about to run."""
        self._study = study
        self._tally = TrialCounts(runs)
        self._done = sum(trial.state.finished for trial in trials_of(runs, study))
        of = f" of {study.total}" if study.total is not None else ""
        self._line(f"study {study.name}: {self._done}{of} trials finished, starting {workers} worker{'s' * (workers != 1)}")

    def preparing(self, text: str, fraction: float | None) -> None:
        """Say how far a preparation is, every two seconds."""
        if time.monotonic() - self._said_at >= _PREPARING_S:
            self._said_at = time.monotonic()
            self._line(text if fraction is None else f"{text}  {fraction:.0%}")

    def update(self, record: TrialRecord, what: str) -> None:
        """Say what happened to a trial."""
        self._tally.update(record)
        trial = self._trial_of(record) if what == "ended" else None
        self._done += trial is not None and trial.state.finished
        head = run_text(record, self._study)
        if what == "started":
            again = f"  (attempt {record.attempts})" if record.attempts > 1 else ""
            self._line(f"{head} started   {tag_text(record, self._study)}  on {record.device}{again}")
        elif what == "resumed":
            self._line(f"{head} goes on after step {record.step or 0}")
        elif what == "reported":
            of = f"/{record.total}" if record.total else ""
            loss = shown_loss(record, self._study)
            more = f"  {loss}={number_text(record.metrics[loss])}" if loss else ""
            self._line(f"{head} step {record.step}{of}  {objectives_text(record, self._study)}{more}")
        elif what == "stopped":
            self._line(f"{head} stopped after step {record.step or 0}")
        elif what == "retried":
            self._line(f"{head} lost its worker and is started again: {error_line(record)}")
        elif record.state is TrialState.FAILED:
            self._line(f"{head} failed    {error_line(record)}")
        else:
            broken = "  breaks a constraint" if verdict(self._study, record.metrics) is False else ""
            took = duration_text(record.duration_s)
            self._line(f"{head} {record.state}  {objectives_text(record, self._study)}{broken}  in {took}{self._left()}")
        if trial is not None and trial.runs and trial.state.finished:
            how = error_line(trial) if trial.state is TrialState.FAILED else objectives_text(trial, self._study)
            self._line(f"trial {trial.number} {trial.state}  {how}  of {len(trial.runs)} run{'s' * (len(trial.runs) != 1)}")

    def notice(self, text: str) -> None:
        """Print a line."""
        self._line(text)

    def tick(self) -> None:
        """Nothing: lines come with events."""

    def _trial_of(self, run: TrialRecord) -> TrialRecord:
        if self._study.repeats == 1:
            return run
        return trial_of([other for other in self._tally.runs if other.number == run.number], self._study)

    def _left(self) -> str:
        eta = self._tally.eta_s(runs_in_total(self._study), datetime.now(UTC))
        of = f"/{self._study.total}" if self._study.total is not None else ""
        return f"  ({self._done}{of} done" + (f", about {duration_text(eta)} left)" if eta is not None else ")")

    def _line(self, text: str) -> None:
        if self._quiet:
            return
        try:
            print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
        except BrokenPipeError:  # nobody reads any more; the training goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shown_loss(record: TrialRecord, study: StudySpec) -> str | None:
    """Return the loss to show beside the metrics: training's before others, never one of them."""
    own = {metric.name for metric in study.metrics}
    losses = [name for name in record.metrics if "loss" in name.lower() and name not in own]
    return min(losses, key=lambda name: "train" not in name.lower(), default=None)
