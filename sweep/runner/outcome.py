"""How a session ended, as a value and in one line."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.study.formatting import states_text
from sweep.study.progress import TrialCounts
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class SessionOutcome:
    """How a session ended.

    Attributes:
        records: every trial of the study, by number.
        ended_by: one line on why no further trial was planned.
        exit_code: 0, 1, 3 or 143 (`sweep/docs/design.md`, section 3); None when a signal stopped it.
    """

    records: list[TrialRecord]
    ended_by: str
    exit_code: int | None

    def summary(self, study: StudySpec, stopped_by: Sequence[int]) -> str:
        """Return one line: how many trials are in which state, and why the session ended.

        Args:
            study: whose session it was.
            stopped_by: the signals that asked it to stop, in order.
        """
        how = f"stopped by {signal.Signals(stopped_by[0]).name}" if self.exit_code is None else self.ended_by
        return f"{study.name}: {counts_text(self.records, study.total)}; {how}"


def counts_text(records: Sequence[TrialRecord], total: int | None) -> str:
    """Return the counts of all non-zero states; trials of `total` that were not planned yet are waiting."""
    return states_text(TrialCounts(records).counts(total)) or "no trials"
