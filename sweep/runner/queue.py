"""The runs that are still to start."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sweep.search.planner import Planner
from sweep.study.record import TrialRecord
from sweep.study.repeats import due, runs_of
from sweep.study.spec import StudySpec


class RunQueue:
    """Hand out the unfinished runs of earlier sessions, then those of new trials, which are planned one by one.

    Args:
        study: what is run.
        planner: is asked for a new trial when no run is left.
        known: the trials of earlier sessions.
    """

    def __init__(self, study: StudySpec, planner: Planner, known: Iterable[TrialRecord]) -> None:
        self._study, self._planner = study, planner
        self._unfinished: list[TrialRecord] = []
        self._planned: list[TrialRecord] = []
        for trial in known:
            if not trial.state.finished:
                runs = runs_of([trial])
                self._unfinished += [run for run in runs if not run.state.finished]
                self._unfinished += due(trial.number, trial.params, runs, study)

    def __len__(self) -> int:
        return len(self._unfinished) + len(self._planned)

    def first(self) -> TrialRecord | None:
        """Return the run to start next, and leave it in the queue; None when there is none."""
        if not self and (trial := self._planner.ask()):
            self._planned += due(*trial, (), self._study)
        return next(iter((*self._unfinished, *self._planned)), None)

    def pop(self) -> TrialRecord | None:
        """Return the run to start next, and remove it; None when there is none."""
        first = self.first()
        # Unfinished runs start even if the search has ended since: without the interruption they would have finished.
        return first and (self._unfinished or self._planned).pop(0)

    def add_due(self, runs: Sequence[TrialRecord]) -> None:
        """Add the further repeats of a trial, given its runs so far, before those of other new trials."""
        self._planned[:0] = due(runs[0].number, runs[0].params, runs, self._study)

    def drop(self, number: int, started: Collection[tuple[int, int]]) -> None:
        """Remove a trial's runs except those that were started once, given by their keys."""
        for queue in (self._unfinished, self._planned):
            queue[:] = [run for run in queue if run.number != number or run.key in started]
