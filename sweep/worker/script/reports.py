"""Reports of a script, whichever way they come: the first way that reports the metric is the one that counts."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.worker.handle import Trial

METRICS = "metrics.jsonl"


class Reports:
    """Give the live trial what a script reports.

    Args:
        trial: the live one.
        metric: the name that makes a line or a scalar a report.
        logdir: where the script may write event files, beside the run folder.
        goes_on: the script was told the last reported step and goes on from there by itself.

    Attributes:
        after: the last step that an earlier attempt reported, if the script goes on by itself; else 0.
    """

    def __init__(self, trial: Trial, metric: str, logdir: Path, *, goes_on: bool) -> None:
        from sweep.tensorboard.script_events import ScriptEvents
        from sweep.tensorboard.writer import TrialWriter

        assert isinstance(trial.writer, TrialWriter)
        self._trial, self._metric, self._goes_on = trial, metric, goes_on
        self.after: int = (trial.state or {}).get("step", 0) if goes_on else 0
        if not self.after:
            (trial.dir / METRICS).unlink(missing_ok=True)  # of an attempt that is not gone on with
        self._step = self.after
        self._way: str | None = None
        self._complained = False
        report = functools.partial(self._reported, "events")
        self._events = ScriptEvents(logdir, trial.dir, trial.writer, metric, report)

    def line(self, text: str) -> bool:
        """Report a JSON line that has the metric; return whether it is one."""
        found = _metrics_in(text, self._metric)
        if found is None or not self._counts("lines"):
            return False
        step = found.pop("step", None)
        self._reported("lines", self._step + 1 if step is None else int(step), found)
        return True

    def look(self) -> None:
        """Report what the script's event files have become."""
        self._events.read()

    def finish(self) -> None:
        """Report the rest of the event files, now that the script has ended."""
        self._events.finish()

    def remove_files(self) -> None:
        """Remove the script's event files from the run folder: the trial has ended."""
        self._events.remove()

    def connected(self, step: Any, metrics: Mapping[str, Any], state: dict[str, Any] | None) -> None:
        """Report what the script reports itself.

        Raises:
            Whatever `Trial.report` raises.
        """
        if self._counts("connected") and not (self._goes_on and isinstance(step, int) and step <= self.after):
            self._trial.report(step, metrics, self.state(step, state))
            self._step = step

    def save(self, state: dict[str, Any]) -> None:
        """Make a checkpoint with a state that the script gives."""
        self._trial.save(self.state(self._step, state) or {})

    def state(self, step: int, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what a checkpoint keeps for a script; None if it needs none."""
        return {"step": step, "script": given} if self._goes_on or given is not None else None

    def _reported(self, way: str, step: int, metrics: Mapping[str, Any]) -> None:
        if not self._counts(way):
            return
        if step > self._step:
            self._step = step  # first: what raises has taken it too
            self._trial.report(step, metrics, self.state(step, None))
        elif step > self.after and not self._complained:
            self._complained = True
            text = f"sweep: step {step} came after step {self._step}; a report whose step does not grow is dropped"
            print(text, file=sys.stderr, flush=True)

    def _counts(self, way: str) -> bool:
        if self._way is None:
            self._way = way
            if way != "events":
                self._events.give_way(self._trial.metrics)
        return self._way == way


def _metrics_in(line: str, metric: str) -> dict[str, float] | None:
    """Return the numbers of a JSON line that has the metric, None of any other line."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    numbers = {name: value for name, value in found.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    return numbers if metric in numbers and float(numbers.get("step", 0)).is_integer() else None
