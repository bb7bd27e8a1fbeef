"""How a session ends that nobody stops: it went on to its end, or too many trials failed in a row."""

from __future__ import annotations

from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TOO_MANY_FAILURES
from sweep.runner.observers import SessionOutcome
from sweep.study.record import TrialRecord
from sweep.study.trial import TrialState


class FailuresInARow:
    """Count the trials that fail without a success between them.

    Attributes:
        too_many: whether there were as many as the limit; that is final, even if the trials still running succeed.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._count = limit, 0
        self.too_many = False

    def count(self, trial: TrialRecord, *, more: bool) -> None:
        """Count a trial that has ended; if no more would start, there is nothing to stop."""
        self._count = self._count + 1 if trial.state is TrialState.FAILED else 0
        self.too_many = self.too_many or (self._count >= self._limit and more)

    def outcome(self, records: list[TrialRecord]) -> SessionOutcome | None:
        """Return how the session ended if there were too many."""
        ended = f"{self._limit} trials in a row failed"
        return SessionOutcome(records=records, ended_by=ended, exit_code=EXIT_TOO_MANY_FAILURES) if self.too_many else None


def outcome_of(records: list[TrialRecord], ended_by: str | None, drawn_again: int) -> SessionOutcome:
    """Return how a session ended that went on to its end.

    Args:
        records: every trial of the study, by number.
        ended_by: why nothing more was planned.
        drawn_again: how many proposals equalled another trial.
    """
    ended = ended_by or "there was nothing left to plan"
    if drawn_again:
        ended += f" ({drawn_again} proposals equalled another trial and were replaced)"
    failed = any(record.has_failed for record in records)
    return SessionOutcome(records=records, ended_by=ended, exit_code=EXIT_SOME_FAILED if failed else EXIT_OK)
