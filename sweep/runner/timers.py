"""Clocks that find out where the time goes: one in the worker, for the attempt at a trial, and one in the runner for each slot.

    worker   Stopwatch ──┐ told with each event, as it was when that was sent
    runner               └─► LaneClock, one a slot ──► RunClock ──► the run's account, which adds up to its wall clock

A slot is doing something at every moment, and the runner knows what but while a trial is in flight. Of that time the worker's
account comes first; what is missing from it when it arrives was spent on the way (waiting), and what has passed since
counts as training until the worker tells more, or for good if it died.

A clock reads what the process does. A GPU computes on while the process logs, and what first needs its numbers waits for
them: a scalar that is a tensor on the GPU takes, as logging, the training that it waits for.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from sweep.study.timing import KINDS, Account, Kind

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

    def read(self) -> Account:
        """Return what was measured until now."""
        self.turn_to(self._kind)
        return Account(**self._seconds)


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


class LaneClock:
    """Measure a slot's time as the runner sees it; it begins with starting."""

    def __init__(self, now: _Now, since: float) -> None:
        self._now = now
        self._past = Account()
        self._kind: Kind | None = "starting"
        self._since = self._heard = since
        self._told = Account()

    def turn_to(self, kind: Kind | None) -> None:
        """Count from now on as this: training while a trial is in flight, None when the slot is given up."""
        now = self._now()
        self._past = self._until(now)
        self._kind, self._since, self._heard, self._told = kind, now, now, Account()

    def hear(self, told: Account) -> None:
        """Take what the worker tells of the attempt in flight, all of it until now."""
        self._told, self._heard = told, self._now()

    def read(self) -> Account:
        """Return what the slot's time went to until now."""
        return self._until(self._now())

    def _until(self, now: float) -> Account:
        if self._kind is None:
            return self._past
        if self._kind != "training":
            return self._past + Account(**{self._kind: now - self._since})
        on_the_way = max(0.0, self._heard - self._since - self._told.total)
        return self._past + self._told + Account(waiting=on_the_way, training=now - self._heard)


class RunClock:
    """Measure a run of the sweep, from when this is made; slots may come and go while it lasts."""

    def __init__(self, now: _Now = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._lanes: list[LaneClock] = []

    def lane(self, *, from_start: bool = False) -> LaneClock:
        """Return the clock of another slot; one of the first slots has been starting since the run began."""
        lane = LaneClock(self._now, self._began if from_start else self._now())
        self._lanes.append(lane)
        return lane

    def read(self) -> Account:
        """Return what the wall clock went to until now: the slots' time, scaled to it."""
        spent = sum((lane.read() for lane in self._lanes), Account())
        return spent.scaled_to(self._now() - self._began)
