"""Where the time of a study went, as a value; `sweep.runner.timers` measures it.

    training        the objective, except for what follows
    logging         scalars, panels and whatever else reaches the event files through the trial's writer
    checkpointing   what `trial.save`, or a report with a state, writes and syncs
    starting        until the process is loaded and the data is prepared; of a trial, until its objective is called
    waiting         for the runner's decision, its next trial, or the other slots; messages on their way, too

Nothing here imports anything of this package.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast

Kind = Literal["training", "logging", "checkpointing", "starting", "waiting"]
KINDS: tuple[Kind, ...] = ("training", "logging", "checkpointing", "starting", "waiting")


@dataclass(frozen=True, kw_only=True)
class TimeBreakdown:
    """Seconds by what they went to: of an attempt or a slot as measured, of a run or a study as shares of the wall clock."""

    training: float = 0.0
    logging: float = 0.0
    checkpointing: float = 0.0
    starting: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        """Return all of it: of a run or a study the wall clock."""
        return self.training + self.logging + self.checkpointing + self.starting + self.waiting

    @property
    def shares(self) -> dict[Kind, float]:
        """Return what part of the total went to what; nothing of no time."""
        total = self.total
        return {kind: getattr(self, kind) / total for kind in KINDS} if total else {}

    def __add__(self, other: TimeBreakdown) -> TimeBreakdown:
        return TimeBreakdown(
            training=self.training + other.training,
            logging=self.logging + other.logging,
            checkpointing=self.checkpointing + other.checkpointing,
            starting=self.starting + other.starting,
            waiting=self.waiting + other.waiting,
        )

    def scaled_to(self, seconds: float) -> TimeBreakdown:
        """Return the same shares of so many seconds; where there are none, nothing but the start has been."""
        total = self.total
        if not total:
            return TimeBreakdown(starting=seconds)
        return TimeBreakdown(**{kind: getattr(self, kind) * seconds / total for kind in KINDS})

    def to_json(self) -> dict[str, float]:
        """Return plain data to the millisecond, whose parts sum to its `wall_s`."""
        parts = {kind: round(getattr(self, kind), 3) for kind in KINDS}
        return {"wall_s": round(sum(parts.values()), 3)} | {f"{kind}_s": seconds for kind, seconds in parts.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TimeBreakdown:
        """Read what `to_json` made."""
        return cls(**{kind: float(data[f"{kind}_s"]) for kind in KINDS})


_Now = Callable[[], float]


_P = ParamSpec("_P")


_R = TypeVar("_R")


class Stopwatch:
    """Measure an attempt at a trial inside its worker; it begins with starting.

    Only training is interrupted: what happens within anything else belongs to that, as a flush before a checkpoint does.
    """

    def __init__(self, now: _Now = time.monotonic) -> None:
        self._now = now
        self._seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._kind: Kind = "starting"
        self._since = now()
        self._thread = threading.get_ident()

    def turn_to(self, kind: Kind) -> None:
        """Count from now on as this."""
        now = self._now()
        self._seconds[self._kind] += now - self._since
        self._kind, self._since = kind, now

    def interrupt(self, kind: Kind) -> bool:
        """Count from now on as this if it interrupts the training, which another thread of the objective's does not; tell so."""
        if self._kind != "training" or threading.get_ident() != self._thread:
            return False
        self.turn_to(kind)
        return True

    def read(self) -> TimeBreakdown:
        """Return what was measured until now."""
        self.turn_to(self._kind)
        return TimeBreakdown(**self._seconds)


class _HasStopwatch(Protocol):
    _stopwatch: Stopwatch


_Self = TypeVar("_Self", bound=_HasStopwatch)


def counts_as(kind: Kind) -> Callable[[Callable[Concatenate[_Self, _P], _R]], Callable[Concatenate[_Self, _P], _R]]:
    """Have the time in a method counted by its object's stopwatch."""

    def decorate(method: Callable[Concatenate[_Self, _P], _R]) -> Callable[Concatenate[_Self, _P], _R]:
        @functools.wraps(method)
        def call(self: _Self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            stopwatch = self._stopwatch
            if not stopwatch.interrupt(kind):
                return method(self, *args, **kwargs)
            try:
                return method(self, *args, **kwargs)
            finally:
                stopwatch.turn_to("training")

        return cast("Callable[Concatenate[_Self, _P], _R]", call)

    return decorate
