"""Clocks that find out where the time goes: one in the worker, for the attempt at a trial, and one in the runner for each slot.

    worker   Stopwatch ──┐ told with each event, as it was when that was sent
    runner               └─► SlotTimer, one a slot ──► SessionTimer ──► the run's account, which adds up to its wall clock

A slot is doing something at every moment, and the runner knows what but while a trial is in flight. Of that time the worker's
account comes first; what is missing from it when it arrives was spent on the way (waiting), and what has passed since
counts as training until the worker tells more, or for good if it died.

A clock reads what the process does. A GPU computes on while the process logs, and what first needs its numbers waits for
them: a scalar that is a tensor on the GPU takes, as logging, the training that it waits for.
"""

from __future__ import annotations

import time

from sweep.study.timing import Kind, TimeBreakdown, _Now


class SlotTimer:
    """Measure a slot's time as the runner sees it; it begins with starting."""

    def __init__(self, now: _Now, since: float) -> None:
        self._now = now
        self._past = TimeBreakdown()
        self._kind: Kind | None = "starting"
        self._since = self._heard = since
        self._told = TimeBreakdown()

    def turn_to(self, kind: Kind | None) -> None:
        """Count from now on as this: training while a trial is in flight, None when the slot is given up."""
        now = self._now()
        self._past = self._until(now)
        self._kind, self._since, self._heard, self._told = kind, now, now, TimeBreakdown()

    def hear(self, told: TimeBreakdown) -> None:
        """Take what the worker tells of the attempt in flight, all of it until now."""
        self._told, self._heard = told, self._now()

    def read(self) -> TimeBreakdown:
        """Return what the slot's time went to until now."""
        return self._until(self._now())

    def _until(self, now: float) -> TimeBreakdown:
        if self._kind is None:
            return self._past
        if self._kind != "training":
            return self._past + TimeBreakdown(**{self._kind: now - self._since})
        on_the_way = max(0.0, self._heard - self._since - self._told.total)
        return self._past + self._told + TimeBreakdown(waiting=on_the_way, training=now - self._heard)


class SessionTimer:
    """Measure a run of the sweep, from when this is made; slots may come and go while it lasts."""

    def __init__(self, now: _Now = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._lanes: list[SlotTimer] = []

    def lane(self, *, from_start: bool = False) -> SlotTimer:
        """Return the clock of another slot; one of the first slots has been starting since the run began."""
        lane = SlotTimer(self._now, self._began if from_start else self._now())
        self._lanes.append(lane)
        return lane

    def read(self) -> TimeBreakdown:
        """Return what the wall clock went to until now: the slots' time, scaled to it."""
        spent = sum((lane.read() for lane in self._lanes), TimeBreakdown())
        return spent.scaled_to(self._now() - self._began)
