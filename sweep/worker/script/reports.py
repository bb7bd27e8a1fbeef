"""Reports of a script, by any of the four ways: the first way that reports the metric counts."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.study import plain
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
        after: the last step that an earlier attempt reported, if the script continues itself; None without one.
        events: the event files that the script writes.
        dropped: why the first line that has the metric was no report; empty if there was none.
    """

    def __init__(self, trial: Trial, metric: str, logdir: Path, *, continues: bool) -> None:
        from sweep.tensorboard.script_events import ScriptEvents

        self._trial, self._metric, self._continues = trial, metric, continues
        self.after: int | None = (trial.state or {}).get("step") if continues else None
        if self.after is None:
            with contextlib.suppress(OSError):  # a folder of that name is the script's own
                (trial.dir / METRICS).unlink()  # of an attempt that starts over
        self._step = self.after
        self._way: str | None = None
        self._warned = False
        self.dropped = ""
        report = functools.partial(self._report, "events")
        self.events = ScriptEvents(logdir, trial.dir, trial.panels.run, metric, report)

    def line(self, text: str) -> bool:
        """Report a JSON line that has the metric; return whether it is one."""
        found = _object(text)
        if self._metric not in found:
            return False
        numbers = {name: number(value) for name, value in found.items() if type(value) in (int, float) and name != "step"}
        metrics = {name: value for name, value in numbers.items() if plain.is_name(name)}
        step = _step(found.get("step"))
        if self._metric not in metrics:
            return self._drop(f"{self._metric} is no number: {found[self._metric]!r:.100}")
        if step is not None and not (isinstance(step, int) and plain.fits(step)):
            return self._drop(f"its step must be a whole number below 2**63, got {step!r:.100}")
        if not self._counts("lines"):
            return False
        self._report("lines", (self._step or 0) + 1 if step is None else step, metrics)
        return True

    def _drop(self, why: str) -> bool:
        if not self.dropped and self._way in (None, "lines"):
            self.dropped = why
            print(f"sweep: this line is no report: {why}", file=sys.stderr, flush=True)
        return False

    def connected(self, step: Any, metrics: Mapping[str, Any], state: dict[str, Any] | None) -> None:
        """Report what the script reports through the client.

        Raises:
            Whatever `Trial.report` raises.
        """
        if self._counts("connected") and not (isinstance(step, int) and self._was_reported(step)):
            self._trial.report(step, metrics, self._state(step, state))
            self._step = step

    def save(self, state: dict[str, Any]) -> None:
        """Make a checkpoint with a state that the script gives."""
        self._trial.save(self._state(self._step, state) or {})

    def _was_reported(self, step: int) -> bool:
        return self.after is not None and step <= self.after

    def _state(self, step: int | None, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what a checkpoint keeps for a script; None if it needs none."""
        return {"step": step, "script": given} if self._continues or given is not None else None

    def row(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Report a row of `wandb.log` that has the metric."""
        self._report("wandb", step, metrics)

    def point(self, name: str, value: float, step: int) -> None:
        """Add a point to the curve of a number in another row."""
        if self._way in (None, "wandb"):
            self._trial.panels.run.add_scalar(name, value, step)

    def last(self, metrics: dict[str, float]) -> dict[str, float] | None:
        """Return the last metrics of a script that uses wandb; None if another way counts."""
        return metrics if metrics and self._way in (None, "wandb") else None

    def _report(self, way: str, step: int, metrics: Mapping[str, Any]) -> None:
        if not self._counts(way):
            return
        if self._step is None or step > self._step:
            self._step = step  # before the report, which may raise
            self._trial.report(step, metrics, self._state(step, None))
        elif not self._warned and not self._was_reported(step):
            self._warned = True
            text = f"sweep: step {step} came after step {self._step}; a report whose step does not grow is dropped"
            print(text, file=sys.stderr, flush=True)

    def _counts(self, way: str) -> bool:
        if self._way is None:
            self._way = way
            if way != "events":
                self.events.give_way(self._trial.metrics)
        return self._way == way


def _object(line: str) -> dict[str, Any]:
    """Return the JSON object that a line is; an empty one for any other line."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        return dict(json.loads(line))
    except (ValueError, RecursionError):  # no JSON, or nested too deep
        return {}


def number(value: int | float) -> int | float:
    """Return a number that fits a float; a larger integer is infinite, as 1e400 is."""
    if isinstance(value, int) and abs(value) >= 2**63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def _step(given: Any) -> int | float | None:
    """Return the step that a line names; None if the next one is meant."""
    if isinstance(given, str) and re.fullmatch(r"[-+]?[0-9]{1,30}", given):
        return int(given)
    if isinstance(given, float):
        return int(given) if given.is_integer() else given
    return given if type(given) is int else None
