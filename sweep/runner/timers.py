"""Timers that measure how time is spent: one in the worker for each attempt at a trial, one in the runner for each slot.

    worker   Stopwatch ──┐ sent with each event, as it was at that moment
    runner               └─► SlotTimer, one a slot ──► SessionTimer ──► the session's breakdown, which adds up to its wall clock

The runner knows what a slot is doing at each moment except while a trial runs. For that time the worker's breakdown counts first.
What is missing from it when it arrives was spent on the way (waiting). What has passed since then counts as training until the
worker's next event, or for good if the worker died.

Time in which the session was suspended (Ctrl-Z, a container that is paused, a laptop that sleeps) is not counted anywhere.

A timer measures the process. A GPU computes on while the process logs, and the first operation that needs its numbers waits for
them: logging a scalar that is a tensor on the GPU includes the training that it waits for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from sweep.study.timing import Kind, TimeBreakdown

_TICK_S = 0.2
# A longer interval between two ticks was a suspension, unless this process has computed in it: it counts as one tick.
_SUSPENDED_S = 1.0


class RunningClock:
    """Count the seconds in which this process could run.

    Args:
        now, computed: clocks of the time that passes, and of that in which the processor worked for this process.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, computed: Callable[[], float] = time.process_time) -> None:
        self._now, self._computed = now, computed
        self._last, self._computed_before = now(), computed()
        self._count = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the seconds until now; each call is a tick."""
        with self._lock:
            now, computed = self._now(), self._computed()
            passed = now - self._last
            busy = computed - self._computed_before > passed / 2  # with code that lets no other thread run
            self._count += passed if passed < _SUSPENDED_S or busy else _TICK_S
            self._last, self._computed_before = now, computed
            return self._count

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Tick while the block runs."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(_TICK_S):
                self()

        threading.Thread(target=tick, daemon=True).start()
        try:
            yield
        finally:
            ended.set()


class SlotTimer:
    """Measure a slot's time as the runner sees it; it begins with starting."""

    def __init__(self, now: Callable[[], float], since: float) -> None:
        self.now = now
        self._past = TimeBreakdown()
        self._kind: Kind | None = "starting"
        self._since = self._updated = since
        self._attempt = TimeBreakdown()

    def turn_to(self, kind: Kind | None) -> None:
        """Count from now on as this: training while a trial runs, None when the slot is given up."""
        now = self.now()
        self._past = self._until(now)
        self._kind, self._since, self._updated, self._attempt = kind, now, now, TimeBreakdown()

    def update(self, attempt: TimeBreakdown) -> None:
        """Store the worker's breakdown of the running attempt, from its start until now."""
        self._attempt, self._updated = attempt, self.now()

    def read(self) -> TimeBreakdown:
        """Return how the slot's time was spent until now."""
        return self._until(self.now())

    def _until(self, now: float) -> TimeBreakdown:
        if self._kind is None:
            return self._past
        if self._kind != "training":
            return self._past + TimeBreakdown(**{self._kind: now - self._since})
        on_the_way = max(0.0, self._updated - self._since - self._attempt.total)
        return self._past + self._attempt + TimeBreakdown(waiting=on_the_way, training=now - self._updated)


class SessionTimer:
    """Measure a session from the moment that this is made; slots may come and go while it lasts."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._began = now()
        self._slots: list[SlotTimer] = []

    def add_slot(self, *, from_start: bool = False) -> SlotTimer:
        """Return the timer of another slot; one of the first slots has been starting since the session began."""
        slot = SlotTimer(self.now, self._began if from_start else self.now())
        self._slots.append(slot)
        return slot

    def read(self) -> TimeBreakdown:
        """Return how the wall clock time was spent until now: the slots' time, scaled to it."""
        spent = sum((slot.read() for slot in self._slots), TimeBreakdown())
        return spent.scaled_to(self.now() - self._began)
