"""Reports of a script, by any of the three ways: the first way that reports the metric counts."""

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
    """Give the trial's handle what a script reports.

    Args:
        trial: the handle.
        metric: the name that makes a line or a scalar a report.
        logdir: where the script may write event files, besides the run folder.
        continues: the script was given the last reported step and continues from there itself.

    Attributes:
        after: the last step that an earlier attempt reported, if the script continues itself; else 0.
        events: the event files that the script writes.
    """

    def __init__(self, trial: Trial, metric: str, logdir: Path, *, continues: bool) -> None:
        from sweep.tensorboard.script_events import ScriptEvents
        from sweep.tensorboard.writer import TrialWriter

        assert isinstance(trial.writer, TrialWriter)
        self._trial, self._metric, self._continues = trial, metric, continues
        self.after: int = (trial.state or {}).get("step", 0) if continues else 0
        if not self.after:
            (trial.dir / METRICS).unlink(missing_ok=True)  # of an attempt that starts over
        self._step = self.after
        self._way: str | None = None
        self._warned = False
        report = functools.partial(self._report, "events")
        self.events = ScriptEvents(logdir, trial.dir, trial.writer, metric, report)

    def line(self, text: str) -> bool:
        """Report a JSON line that has the metric; return whether it is one."""
        found = _metrics_in(text, self._metric)
        if found is None or not self._counts("lines"):
            return False
        step = found.pop("step", None)
        self._report("lines", self._step + 1 if step is None else int(step), found)
        return True

    def connected(self, step: Any, metrics: Mapping[str, Any], state: dict[str, Any] | None) -> None:
        """Report what the script reports through the client.

        Raises:
            Whatever `Trial.report` raises.
        """
        if self._counts("connected") and not (self._continues and isinstance(step, int) and step <= self.after):
            self._trial.report(step, metrics, self._state(step, state))
            self._step = step

    def save(self, state: dict[str, Any]) -> None:
        """Make a checkpoint with a state that the script gives."""
        self._trial.save(self._state(self._step, state) or {})

    def _state(self, step: int, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what a checkpoint keeps for a script; None if it needs none."""
        return {"step": step, "script": given} if self._continues or given is not None else None

    def _report(self, way: str, step: int, metrics: Mapping[str, Any]) -> None:
        if not self._counts(way):
            return
        if step > self._step:
            self._step = step  # before the report, which may raise
            self._trial.report(step, metrics, self._state(step, None))
        elif step > self.after and not self._warned:
            self._warned = True
            text = f"sweep: step {step} came after step {self._step}; a report whose step does not grow is dropped"
            print(text, file=sys.stderr, flush=True)

    def _counts(self, way: str) -> bool:
        if self._way is None:
            self._way = way
            if way != "events":
                self.events.give_way(self._trial.metrics)
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
