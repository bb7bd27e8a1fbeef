"""How fast each trial on a GPU is, by the number of trials that compute there at the same time.

A rate is steps a second between reports of one trial, by the clock. An interval between two reports counts if the same trials
computed from its beginning to its end. So the first interval of each trial is left out, in which it warms up, and so is the
one in which another begins, makes its first report, or ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_WELL = 2  # intervals; one is enough of a trial that has ended since
_LEAST_S = 0.5


@dataclass(kw_only=True)
class _Rate:
    intervals: int = 0
    steps: int = 0
    seconds: float = 0.0

    def known(self, intervals: int) -> bool:
        return self.intervals >= intervals and self.seconds >= _LEAST_S


@dataclass(kw_only=True, eq=False)
class _Measured:
    """A trial: its last report (step, time, and the state of the GPU), and its rate beside how many others."""

    last: tuple[int, float, int] | None = None
    ended: bool = False
    rates: dict[int, _Rate] = field(default_factory=dict)

    def known(self, count: int) -> bool:
        """Return whether its rate is known with `count` trials at a time, as well as it will be."""
        rate = self.rates.get(count)
        return rate is not None and rate.known(1 if self.ended else _WELL)


class StepRates:
    """Measure the trials on one GPU.

    Args:
        now: the session's clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running: dict[int, _Measured] = {}  # by slot
        self._ended: list[_Measured] = []
        self._state = 0  # changes whenever another set of trials computes
        self.trials = 0  # that have ended

    def begin(self, slot: int) -> None:
        """Note that a trial begins in a slot."""
        self._running[slot] = _Measured()
        self._state += 1

    def report(self, slot: int, step: int) -> None:
        """Note that the trial in a slot has done this many steps."""
        trial = self._running.get(slot)
        if trial is None:
            return
        now = self._now()
        if trial.last is None:
            self._state += 1
        elif trial.last[2] == self._state and step > trial.last[0] and self.computing:
            rate = trial.rates.setdefault(self.computing, _Rate())
            rate.intervals += 1
            rate.steps += step - trial.last[0]
            rate.seconds += now - trial.last[1]
        trial.last = step, now, self._state

    def end(self, slot: int) -> None:
        """Note that the trial in a slot has ended."""
        if (trial := self._running.pop(slot, None)) is not None:
            trial.ended = True
            self.trials += 1
            self._state += 1
            if trial.rates:
                self._ended.append(trial)

    @property
    def computing(self) -> int:
        """Return how many trials compute; 0 while one of them has not reported yet."""
        return 0 if any(trial.last is None for trial in self._running.values()) else len(self._running)

    def known(self, count: int) -> bool:
        """Return whether any trial's rate is known with this many at a time."""
        return any(trial.known(count) for trial in self._all)

    def ratios(self, before: int, after: int) -> list[float]:
        """Return for each trial whose rate is known with both numbers of trials, how many times as fast it is with the second."""
        both = [trial.rates for trial in self._all if trial.known(before) and trial.known(after)]
        return [(of[after].steps / of[after].seconds) / (of[before].steps / of[before].seconds) for of in both]

    def lacks(self, count: int, other: int) -> bool:
        """Return whether a running trial that was measured with `other` at a time is still to be measured with `count`."""
        return any(other in trial.rates and not trial.known(count) for trial in self._running.values())

    @property
    def _all(self) -> list[_Measured]:
        return [*self._ended, *self._running.values()]
