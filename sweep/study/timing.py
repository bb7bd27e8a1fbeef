"""The time of a trial, a session or a study by activity; `sweep.runner.timers` measures it.

    training        the objective, except for the following
    logging         everything that the trial's writer writes to the event files: scalars, panels and others
    checkpointing   writing and syncing a checkpoint, by `trial.save` or by a report with a state
    starting        of a process, until it is loaded and the data is prepared; of a trial, until its objective is called
    waiting         for the runner's decision, the next trial or the other slots; also the transport of messages

This module imports nothing of this package.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

Kind = Literal["training", "logging", "checkpointing", "starting", "waiting"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class TimeBreakdown:
    """Seconds per activity: measured for an attempt or a slot, shares of the wall-clock time for a session or a study."""

    training: float = 0.0
    logging: float = 0.0
    checkpointing: float = 0.0
    starting: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        """Return the sum, which is the wall-clock time of a session or a study."""
        return math.fsum(getattr(self, kind) for kind in KINDS)

    @property
    def shares(self) -> dict[Kind, float]:
        """Return each activity's share of the total; empty if the total is 0."""
        total = self.total
        return {kind: getattr(self, kind) / total for kind in KINDS} if total else {}

    def __add__(self, other: TimeBreakdown) -> TimeBreakdown:
        return TimeBreakdown(**{kind: getattr(self, kind) + getattr(other, kind) for kind in KINDS})

    def scaled_to(self, seconds: float) -> TimeBreakdown:
        """Return the same shares of a number of seconds; if the total is 0, all of them are `starting`."""
        total = self.total
        if not total:
            return TimeBreakdown(starting=seconds)
        return TimeBreakdown(**{kind: getattr(self, kind) * seconds / total for kind in KINDS})

    def to_json(self) -> dict[str, float]:
        """Return plain data in milliseconds' precision; the parts sum to `wall_s`."""
        parts = {kind: round(getattr(self, kind), 3) for kind in KINDS}
        return {"wall_s": round(sum(parts.values()), 3)} | {f"{kind}_s": seconds for kind, seconds in parts.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TimeBreakdown:
        """Read the result of `to_json`."""
        found = {kind: float(data[f"{kind}_s"]) for kind in KINDS}
        if not all(0 <= seconds < math.inf for seconds in found.values()):
            raise ValueError(f"the times are {found}")
        return cls(**found)


class Stopwatch:
    """Measure an attempt at a trial inside its worker, beginning with `starting`.

    Only `training` is interrupted. What happens within another activity counts as that activity: a flush before a checkpoint is
    `checkpointing`.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._kind: Kind = "starting"
        self._since = now()
        self._thread = threading.get_ident()

    def turn_to(self, kind: Kind) -> None:
        """Begin an activity."""
        now = self._now()
        self._seconds[self._kind] += now - self._since
        self._kind, self._since = kind, now

    def interrupt(self, kind: Kind) -> bool:
        """Begin an activity if it interrupts the training, and return whether it does; another thread's does not."""
        if self._kind != "training" or threading.get_ident() != self._thread:
            return False
        self.turn_to(kind)
        return True

    def read(self) -> TimeBreakdown:
        """Return the time measured until now."""
        self.turn_to(self._kind)
        return TimeBreakdown(**self._seconds)


_Method = TypeVar("_Method", bound=Callable[..., Any])


def counts_as(kind: Kind) -> Callable[[_Method], _Method]:
    """Make the object's `_stopwatch` count a method as an activity."""

    def decorate(method: _Method) -> _Method:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            stopwatch: Stopwatch = self._stopwatch
            interrupts = stopwatch.interrupt(kind)
            try:
                return method(self, *args, **kwargs)
            finally:
                if interrupts:
                    stopwatch.turn_to("training")

        return cast("_Method", call)

    return decorate
