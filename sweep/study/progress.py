"""The progress of a study: the number of runs in each state, and the time left."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from datetime import datetime

from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState


def may_start(study: StudySpec, trials: Sequence[TrialRecord]) -> bool:
    """Return whether a trial may still start: a new one, one that was interrupted, or one that failed and is retried."""
    ended = all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    return not ended or study.total is None or len(trials) < study.total


class TrialCounts:
    """Count the runs in each state and their durations; an update takes the same time for any number of runs."""

    def __init__(self, runs: Iterable[TrialRecord] = ()) -> None:
        self._runs: dict[tuple[int, int], TrialRecord] = {}
        self._states: collections.Counter[TrialState] = collections.Counter()
        self._running: dict[tuple[int, int], datetime] = {}
        self._seconds, self._timed = 0.0, 0
        for run in runs:
            self.update(run)

    @property
    def runs(self) -> list[TrialRecord]:
        """Return the current record of every run."""
        return list(self._runs.values())

    def update(self, run: TrialRecord) -> None:
        """Record the current state of a run."""
        if (before := self._runs.get(run.key)) is not None:
            self._count(before, -1)
        self._runs[run.key] = run
        self._count(run, 1)
        self._running.pop(run.key, None)
        if run.state is TrialState.RUNNING and run.started is not None:
            self._running[run.key] = datetime.fromisoformat(run.started)

    def counts(self, total: int | None) -> dict[str, int]:
        """Return the number of runs in each state; runs that are not planned yet are waiting."""
        result = {str(state): self._states[state] for state in TrialState}
        if total is not None:
            result["waiting"] += max(0, total - len(self._runs))
        return result

    def eta_s(self, total: int | None, now: datetime) -> float | None:
        """Estimate the seconds until the last run ends, from the mean duration of the complete runs.

        None if no run is running, none is complete yet, or their total is not known.
        """
        if not self._timed or not self._running or total is None:
            return None
        mean = self._seconds / self._timed
        left = mean * self.counts(total)["waiting"]
        left += sum(max(0.0, mean - (now - started).total_seconds()) for started in self._running.values())
        return left / len(self._running)

    def _count(self, run: TrialRecord, by: int) -> None:
        self._states[run.state] += by
        if run.state is TrialState.COMPLETE and run.duration_s is not None:
            self._seconds += by * run.duration_s
            self._timed += by
