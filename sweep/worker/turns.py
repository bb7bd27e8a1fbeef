"""The calls of a trial's handle, one after the other: from any thread of the objective's process, until the trial has ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from sweep.study.lifetime import Lifetime


class Turns:
    """Let one call at a time use a trial's handle.

    Args:
        number: the trial's.
    """

    def __init__(self, number: int) -> None:
        self._lifetime = Lifetime(number)
        self._lock = threading.Lock()
        self._caller: int | None = None  # the thread that has the lock

    def check(self, what: str) -> None:
        """Check that the handle may be used now.

        Raises:
            TrialEnded: the trial has ended, or this is another process.
        """
        self._lifetime.check(what)

    @contextlib.contextmanager
    def taken(self, what: str) -> Iterator[None]:
        """Wait for the calls of other threads, then make this one.

        Raises:
            TrialEnded: as `check`, also if the trial ends meanwhile.
            RuntimeError: this thread is making a call already.
        """
        self.check(what)
        if self._caller == threading.get_ident():
            raise RuntimeError(f"{what} was called inside another call of the trial's handle, as by a signal handler")
        with self._lock:
            self._caller = threading.get_ident()
            try:
                self.check(what)
                yield
            finally:
                self._caller = None

    def end(self) -> None:
        """End the use of the handle, once a call that another thread makes is over."""
        with self._lock:
            self._lifetime.end()
