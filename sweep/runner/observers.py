"""The interface between running a study and showing it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec


class RunChange(StrEnum):
    """What happened to a run of a trial."""

    STARTED = "started"
    RESUMED = "resumed"  # from a checkpoint
    REPORTED = "reported"
    RETRIED = "retried"  # its worker died, so it starts again
    STOPPED = "stopped"  # by a request: it will be resumed
    ENDED = "ended"


class Observer(Protocol):
    """Shows what happens in a session, as it happens."""

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Show that this many workers are about to start; `runs` are those of earlier sessions."""

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show the progress of a preparation before the first trial, None where it is unknown."""

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Show a run as it is after a change."""

    def notice(self, text: str) -> None:
        """Show a line that stays."""
