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
        found = self._find(())
        return found and found[0][found[1]]

    def pop(self, skipped: Collection[tuple[int, int]] = ()) -> TrialRecord | None:
        """Return the run to start next, and remove it; None when there is none.

        Args:
            skipped: the keys of runs that are not to start now.
        """
        found = self._find(skipped)
        return found and found[0].pop(found[1])

    def take(self, key: tuple[int, int]) -> TrialRecord | None:
        """Return the run with this key, and remove it; in a grid it is planned if need be. None if it is not to start."""
        for queue in (self._unfinished, self._planned):
            for place, run in enumerate(queue):
                if run.key == key:
                    return queue.pop(place)
        if self._study.method != "grid" or (params := self._planner.take(key[0])) is None:
            return None
        self._planned += due(key[0], params, (), self._study)
        return self.take(key)

    def _find(self, skipped: Collection[tuple[int, int]]) -> tuple[list[TrialRecord], int] | None:
        """Return where the run to start next is: the list, and the place in it."""
        # Unfinished runs start even if the search has ended since: without the interruption they would have finished.
        for queue in (self._unfinished, self._planned):
            for place, run in enumerate(queue):
                if run.key not in skipped:
                    return queue, place
        if (trial := self._planner.ask()) is None:
            return None
        self._planned += due(*trial, (), self._study)
        return self._find(skipped)

    def put_back(self, run: TrialRecord) -> None:
        """Take back a run that was started: it is the first to start again."""
        self._unfinished.insert(0, run)

    def add_due(self, runs: Sequence[TrialRecord]) -> None:
        """Add the further repeats of a trial, given its runs so far, before those of other new trials."""
        self._planned[:0] = due(runs[0].number, runs[0].params, runs, self._study)

    def withdraw(self, runs: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Remove all runs of the trials that these runs are of; return those of them that were in the queue."""
        keys = {run.key for run in (*self._unfinished, *self._planned)}
        for run in runs:
            self.drop(run.number, ())
        return [run for run in runs if run.key in keys]

    def drop(self, number: int, started: Collection[tuple[int, int]]) -> None:
        """Remove a trial's runs except those that were started once, given by their keys."""
        for queue in (self._unfinished, self._planned):
            queue[:] = [run for run in queue if run.number != number or run.key in started]
