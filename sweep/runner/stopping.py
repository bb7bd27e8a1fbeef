"""Requests to stop a session, by a signal or by `sweep stop`, and how long it then waits for its trials."""

from __future__ import annotations

import time

from sweep.errors import EXIT_TERMINATED
from sweep.runner.outcome import SessionOutcome
from sweep.storage.folder import STOP_AT_ONCE, StudyFolder
from sweep.study.record import TrialRecord

# Batch systems kill soon after they have asked; a trial that has not reached a step by then resumes from its last checkpoint.
_PATIENCE_S = 25.0


class StopRequests:
    """Record who asked the session to stop, and since when it is stopping.

    Args:
        folder: where `sweep stop` leaves its request.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
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
        if self._folder.stop_request.exists():
            self._from_folder = self._from_folder or self._count == 0
            # `sweep stop` repeats its request until the session has ended: the same request again adds nothing.
            self._count = max(self._count, 2 if self._folder.taken_stop_request() == STOP_AT_ONCE else 1)

    def remove_from_folder(self) -> None:
        """Remove a request that nobody has read."""
        self._folder.stop_request.unlink(missing_ok=True)

    def begin(self) -> bool:
        """Begin stopping if somebody has asked for it; return whether it begins with this call."""
        begins = self._count > 0 and not self.begun
        if begins:
            self._began = time.monotonic()
        return begins

    @property
    def begun(self) -> bool:
        """Return whether the session is stopping."""
        return self._began is not None

    @property
    def at_once(self) -> bool:
        """Return whether to wait no longer for running trials: somebody asked twice, or they take too long."""
        return self._began is not None and (self._count > 1 or time.monotonic() - self._began > _PATIENCE_S)

    def outcome(self, records: list[TrialRecord]) -> SessionOutcome:
        """Return how a session ended that was stopped."""
        how, code = ("stopped by `sweep stop`", EXIT_TERMINATED) if self._from_folder else ("stopped on request", None)
        return SessionOutcome(records=records, ended_by=how, exit_code=code)
