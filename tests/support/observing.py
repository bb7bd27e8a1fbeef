"""An observer for tests and benchmarks that shows nothing and records what happens."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sweep.runner.observers import RunChange
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec


class Silent:
    """Record what happened, and when (`time.perf_counter`)."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, RunChange, TrialRecord]] = []
        self.notices: list[str] = []

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """Nothing to show."""

    def preparing(self, text: str, fraction: float | None) -> None:
        """Show nothing."""

    def update(self, run: TrialRecord, change: RunChange) -> None:
        """Record it."""
        self.seen.append((time.perf_counter(), change, run))

    def waiting(self, slots: int) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Record it."""
        self.notices.append(text)
