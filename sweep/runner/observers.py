"""The interface between running a study and showing it: what happens during a session, and how it ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from sweep.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from sweep.study.formatting import states_text
from sweep.study.progress import TrialCounts
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec


class RunChange(StrEnum):
    """What happened to a run of a trial."""

    STARTED = "started"
    RESUMED = "resumed"  # from a checkpoint
    SUGGESTED = "suggested"  # its function was told the value of a parameter
    REPORTED = "reported"
    RETRIED = "retried"  # its worker died, so it starts again
    PUT_BACK = "put back"  # the fault may be its slot's, so it waits for another one
    STOPPED = "stopped"  # by a request: it will be resumed
    ENDED = "ended"
    DROPPED = "dropped"  # by the user, after its end
    TAKEN_BACK = "taken back"  # after it was dropped


# What is said of a run that starts again, before the reason.
STARTS_AGAIN = {RunChange.RETRIED: "lost its worker and is started again", RunChange.PUT_BACK: "waits for another slot"}


class Observer(Protocol):
    """Shows what happens in a session, as it happens."""

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Show that this many workers are about to start; `runs` are those of earlier sessions."""

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show the progress of a preparation before the first trial, None where it is unknown."""

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Show a run as it is after a change."""

    def waiting(self, slots: int) -> None:
        """Show from now on that so many slots wait for room on a cluster."""

    def notice(self, text: str) -> None:
        """Show a line that stays."""


@dataclass(frozen=True, kw_only=True)
class SessionOutcome:
    """How a session ended.

    Attributes:
        records: every trial of the study, by number.
        ended_by: one line on why no further trial was planned.
        exit_code: 0, 1, 3 or 143 (`sweep/docs/operations.md`); None when a signal stopped it.
        notes: what was decided about the slots, a line each.
    """

    records: list[TrialRecord]
    ended_by: str
    exit_code: int | None
    notes: tuple[str, ...] = ()

    def summary(self, study: StudySpec, stopped_by: Sequence[int]) -> str:
        """Return one line: the counts of all non-zero states, and why the session ended; `stopped_by` are signals, in order."""
        return f"{study.name}: {counts_text(self.records, study.total)}; {self.how(stopped_by)}"

    def how(self, stopped_by: Sequence[int]) -> str:
        """Return why the session ended; `stopped_by` are the signals that came, in order."""
        return f"stopped by {signal.Signals(stopped_by[0]).name}" if self.exit_code is None and stopped_by else self.ended_by


def exit_code_of(outcome: SessionOutcome, signals: Sequence[int]) -> int:
    """Return the exit code of a command whose session ended so; `signals` are those that came, in order."""
    if outcome.exit_code is not None:
        return outcome.exit_code
    return EXIT_INTERRUPTED if signals and signals[0] == signal.SIGINT else EXIT_TERMINATED


def ended_json(outcome: SessionOutcome, signals: Sequence[int]) -> dict[str, Any]:
    """Return how a session ended as plain data, for `sweep list` and `sweep wait`."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "exit_code": exit_code_of(outcome, signals), "by": outcome.how(signals)}


def counts_text(records: Sequence[TrialRecord], total: int | None) -> str:
    """Return the counts of all non-zero states; trials of `total` that were not planned yet are waiting."""
    return states_text(TrialCounts(records).counts(total)) or "no trials"
