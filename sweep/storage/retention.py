"""What stays of a trial when it has ended: checkpoints of the study's best trials alone, embeddings of the very best.

While a trial runs it has two checkpoints.
"""

from __future__ import annotations

import bisect
import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from sweep.storage.folder import StudyFolder
from sweep.study.ranking import Point, excess, goodness, undominated
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

# How far beyond the constraints, minus the goodness in each metric, number, run folders: the best is the smallest.
_Place = tuple[float, Point, int, tuple[str, ...]]


class Retention:
    """Remove the checkpoints and embeddings that nobody needs any more.

    Args:
        study: how many to keep, and which trial is better.
        folder: where they are.
        known: the trials from before; what was left over when the last run ended is removed.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, known: Iterable[TrialRecord]) -> None:
        self._study, self._folder = study, folder
        self._kept: list[_Place] = []  # the best first
        self._best: _Place | None = None
        for record in known:
            if record.state.finished:
                self.ended(record)

    def ended(self, trial: TrialRecord) -> None:
        """Decide over a trial's files, once its end, or that of one of its runs, is safely written down."""
        runs = [run for run in runs_of([trial]) if run.state.finished]
        for run in runs:
            for path in self._folder.checkpoints(run.folder)[1:]:
                _remove(path)
        if not trial.state.finished:
            return
        folders = tuple(run.folder for run in runs)
        if trial.state is not TrialState.COMPLETE or trial.value is None:
            self._remove_checkpoints(folders)
            self._remove_embeddings(folders)
            return
        costs = tuple(-one for one in goodness(self._study, trial.value, trial.metrics))
        place = (excess(self._study, trial.metrics), costs, trial.number, folders)
        if self._best is None or place < self._best:
            self._best, beaten = place, self._best
        else:
            beaten = place
        if beaten is not None:
            self._remove_embeddings(beaten[3])
        bisect.insort(self._kept, place)
        while len(self._kept) > self._study.keep_best:
            self._remove_checkpoints(self._kept.pop(self._least())[3])

    def _least(self) -> int:
        """Return the place of the trial to let go: the last, but of several metrics one that is not in the front."""
        if len(self._study.metrics) == 1 or self._kept[-1][0] > 0:
            return -1
        front = set(undominated([tuple(-cost for cost in kept[1]) for kept in self._kept]))
        return max((place for place in range(len(self._kept)) if place not in front), default=-1)

    def _remove_checkpoints(self, folders: Iterable[str]) -> None:
        for folder in folders:
            _remove(self._folder.checkpoints(folder)[0])

    def _remove_embeddings(self, folders: Iterable[str]) -> None:
        for path in (self._folder.embeddings(folder) for folder in folders):
            if path.exists():
                shutil.rmtree(path, ignore_errors=True)  # as below
                with contextlib.suppress(OSError):
                    path.parent.rmdir()  # somebody else's plugin may have its own there


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # a checkpoint too many harms nobody, and the next run tries again
        path.unlink(missing_ok=True)
