"""What the runner tells while it runs and when it ends: the line between running a sweep and showing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec


class Observer(Protocol):
    """Who is told what happens, as it happens: the live view or the plain lines."""

    def begin(self, study: StudySpec, runs: Sequence[TrialRecord], workers: int) -> None:
        """The workers are about to start; `runs` are those of the trials known from before."""

    def preparing(self, text: str, fraction: float | None) -> None:
        """Something that takes time goes on before the first trial."""

    def update(self, record: TrialRecord, what: str) -> None:
        """A run of a trial changed; `what` is `started`, `resumed`, `reported`, `retried`, `stopped` or `ended`."""

    def notice(self, text: str) -> None:
        """Something is worth a line that stays."""

    def tick(self) -> None:
        """Some time has passed."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run of the sweep ended.

    Attributes:
        records: every trial of the study, by number.
        ended_by: one line on why no further trial was planned.
        exit_code: 0, 1 or 3 (DESIGN section 3); None when a signal stopped it.
    """

    records: list[TrialRecord]
    ended_by: str
    exit_code: int | None
