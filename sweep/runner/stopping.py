"""Requests to stop a session, by a signal or by `sweep stop`, and how long the session then waits for its trials."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from sweep.errors import EXIT_TERMINATED
from sweep.runner.observers import SessionOutcome
from sweep.storage.folder import STOP_AT_ONCE, StudyFolder
from sweep.storage.lock import lock_holder
from sweep.study.record import TrialRecord

# Batch systems kill soon after they have asked; a trial that has not reached a step by then resumes from its last checkpoint.
_PATIENCE_S = 25.0


class StopRequests:
    """Record who asked the session to stop, and since when it is stopping; `sweep stop` leaves its request in the folder.

    Args:
        folder: the study's.
        now: the session's clock.
    """

    def __init__(self, folder: StudyFolder, now: Callable[[], float]) -> None:
        self._folder, self._now = folder, now
        self._count = 0
        self._from_folder = False
        self._began: float | None = None

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self) -> None:
        """Add a request; a signal handler may call this."""
        self._count += 1

    def read_folder(self) -> None:
        """Take over and remove the request that `sweep stop` has left, if there is one."""
        if os.path.lexists(self._folder.stop_request):
            holder = lock_holder(self._folder) or {}
            request = self._folder.taken_stop_request(str(holder.get("session", "")))
            if request is None:  # it was for an earlier session
                return
            self._from_folder = self._from_folder or self._count == 0
            # `sweep stop` repeats its request until the session has ended: the same request again adds nothing.
            self._count = max(self._count, 2 if request == STOP_AT_ONCE else 1)

    def begin(self) -> bool:
        """Begin stopping if somebody has asked for it; return whether it begins with this call."""
        begins = self._count > 0 and not self.begun
        if begins:
            self._began = self._now()
        return begins

    @property
    def begun(self) -> bool:
        """Return whether the session is stopping."""
        return self._began is not None

    @property
    def at_once(self) -> bool:
        """Return whether to wait no longer for running trials: somebody asked twice, or they take too long."""
        return self._began is not None and (self._count > 1 or self._now() - self._began > _PATIENCE_S)

    def outcome(self, records: list[TrialRecord]) -> SessionOutcome:
        """Return how a session ended that was stopped."""
        how, code = ("stopped by `sweep stop`", EXIT_TERMINATED) if self._from_folder else ("stopped on request", None)
        return SessionOutcome(records=records, ended_by=how, exit_code=code)


def _handle(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Install a handler for signals; return the handlers that it replaced."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, previous in list(before.items()):
        # `nohup` ignores SIGHUP on purpose. An ignored SIGINT only means that a script started this in the background.
        # None: the handler is not Python's, so Python could not restore it.
        if previous is None or (number is signal.SIGHUP and previous is signal.SIG_IGN):
            del before[number]
        else:
            signal.signal(number, handler)
    return before


def stop_in_order(stop: Callable[[], None], received: list[int]) -> dict[signal.Signals, Any]:
    """Call `stop` on Ctrl-C, SIGTERM and SIGHUP, and append the signal to `received`; return the replaced handlers."""

    def receive(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 2:
            raise KeyboardInterrupt  # something other than the runner's loop hangs
        stop()

    return _handle(receive, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_termination() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C."""
    _handle(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP)
