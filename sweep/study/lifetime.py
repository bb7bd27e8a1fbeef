"""When what an objective was given may be used: in its own process, until its trial has ended.

This module imports nothing heavy.
"""

from __future__ import annotations

import os


class TrialEnded(RuntimeError):
    """A trial's handle, writer or panels were used after the trial had ended, or in another process."""


class Lifetime:
    """The time in which a trial's handle, or its writer and panels, may be used.

    Args:
        number: the trial's; None of what belongs to no trial.
    """

    def __init__(self, number: int | None = None) -> None:
        self._whose = "the trial" if number is None else f"trial {number}"
        self._pid = os.getpid()
        self.ended = False

    @property
    def lasts(self) -> bool:
        """Return whether now, in this process, `check` raises nothing."""
        return not self.ended and os.getpid() == self._pid

    def check(self, what: str) -> None:
        """Check that something may be used now; fast enough for each batch.

        Args:
            what: names it, as `trial.report`.

        Raises:
            TrialEnded: the trial has ended, or this is another process; nothing must be written.
        """
        if self.ended:
            raise TrialEnded(
                f"{what} was called after {self._whose} had ended, and did nothing: a thread is still running, or a variable"
                " holds an earlier trial; end threads before the objective returns, and use the trial that it was given"
            )
        if os.getpid() != self._pid:
            raise TrialEnded(
                f"{what} was called in another process than {self._whose}, and did nothing: send the values to the process of the"
                " objective, and call it there"
            )

    def end(self) -> None:
        """End it for good."""
        self.ended = True
