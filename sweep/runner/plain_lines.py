"""Show a session as plain lines, one for each event: where there is no terminal or notebook to draw on."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sweep.errors import one_line
from sweep.runner.observers import STARTS_AGAIN, RunChange
from sweep.study.formatting import duration_text, error_line, number_text, objectives_text, run_text, tag_text
from sweep.study.progress import TrialCounts
from sweep.study.ranking import verdict
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_in_total, trial_of, trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_PREPARING_S = 2.0


class PlainLines:
    """Print one line for each event, for pipes, logs and batch systems; `quiet` prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._last_preparing = quiet, 0.0

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Print what is about to run."""
        self._study = study
        self._counts = TrialCounts(runs)
        self._finished = sum(trial.state.finished for trial in trials_of(runs, study))
        starting = f"starting {workers} worker{'s' * (workers != 1)}" if workers else "nothing is left to start"
        self.notice(f"study {study.name}: {self._finished_text(' of ')} trials finished, {starting}")

    def preparing(self, text: str, fraction: float | None) -> None:
        """Print the progress of a preparation, every two seconds."""
        if time.monotonic() - self._last_preparing >= _PREPARING_S:
            self._last_preparing = time.monotonic()
            self.notice(text if fraction is None else f"{text}  {fraction:.0%}")

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Print what happened to a run, and how its trial ended if this was the last of several runs."""
        self._counts.update(run)
        trial = self._trial_of(run) if change is RunChange.ENDED else None
        ended = trial is not None and trial.state.finished
        self._finished += ended
        if text := self._change_text(run, change):
            self.notice(f"{run_text(run, self._study)} {text}")
        if ended and trial is not None and trial.runs:
            how = error_line(trial) if trial.state is TrialState.FAILED else objectives_text(trial, self._study)
            self.notice(f"trial {trial.number} {trial.state}  {how}  of {len(trial.runs)} run{'s' * (len(trial.runs) != 1)}")

    def waiting(self, slots: int) -> None:
        """Show nothing: that a slot has lost its room is a line already."""

    def notice(self, text: str) -> None:
        """Print a line."""
        if self._quiet:
            return
        line = f"{time.strftime('%H:%M:%S')}  {one_line(text)}"
        with contextlib.suppress(OSError, ValueError):  # the training goes on without a reader, a file, or room on the disk
            try:
                print(line, flush=True)
            except UnicodeEncodeError:
                print(ascii(line)[1:-1], flush=True)
            except BrokenPipeError:  # the rest too would fail, and the program's end with it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _change_text(self, run: TrialRecord, change: RunChange) -> str:
        match change:
            case RunChange.SUGGESTED:
                return ""  # many come at once: the line of the trial's end has them
            case RunChange.STARTED:
                attempt = f"  (attempt {run.attempts})" if run.attempts > 1 else ""
                return f"started   {tag_text(run, self._study)}  on {run.device}{attempt}"
            case RunChange.RESUMED:
                return f"{'resumed' if run.attempts > 1 else 'goes on'} after step {run.step or 0}"
            case RunChange.REPORTED:
                of = f"/{run.total}" if run.total else ""
                loss = shown_loss(run, self._study)
                more = f"  {loss}={number_text(run.metrics[loss])}" if loss else ""
                return f"step {run.step}{of}  {objectives_text(run, self._study)}{more}"
            case RunChange.STOPPED:
                return f"stopped after step {run.step or 0}"
            case RunChange.RETRIED | RunChange.PUT_BACK:
                return f"{STARTS_AGAIN[change]}: {error_line(run)}"
            case RunChange.DROPPED | RunChange.TAKEN_BACK:
                return str(change)
            case RunChange.ENDED:
                if run.state is TrialState.FAILED:
                    return f"failed    {error_line(run)}"
                broken = "  breaks a constraint" if verdict(self._study, run.metrics) is False else ""
                took = duration_text(run.duration_s)
                tag = f"  {tag_text(run, self._study)}" * self._study.suggests
                return f"{run.state}  {objectives_text(run, self._study)}{broken}{tag}  in {took}{self._left()}"

    def _trial_of(self, run: TrialRecord) -> TrialRecord:
        if self._study.repeats == 1:
            return run
        return trial_of([other for other in self._counts.runs if other.number == run.number], self._study)

    def _left(self) -> str:
        eta = self._counts.eta_s(runs_in_total(self._study), datetime.now(UTC))
        return f"  ({self._finished_text('/')} done" + (f", about {duration_text(eta)} left)" if eta is not None else ")")

    def _finished_text(self, of: str) -> str:
        """Return the number of finished trials, and of how many, unless the budget was lowered since."""
        total = self._study.total
        return str(self._finished) if total is None or total < self._finished else f"{self._finished}{of}{total}"


def shown_loss(run: TrialRecord, study: StudySpec) -> str | None:
    """Return the name of the loss to show beside the objective values, the training loss before others; None without one."""
    own = {metric.name for metric in study.metrics}
    losses = [name for name in run.metrics if "loss" in name.lower() and name not in own]
    return min(losses, key=lambda name: "train" not in name.lower(), default=None)
