"""Which files of finished trials stay: the checkpoints of the best trials, the embeddings of the best one.

A running trial has two checkpoints.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from sweep.storage.folder import StudyFolder
from sweep.study.ranking import rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec


class Retention:
    """Remove the checkpoints and embeddings that are no longer needed.

    Args:
        study: how many checkpoints to keep, and which trial is better.
        folder: the study's.
        known: the trials of earlier sessions; their files are decided on again.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, known: Iterable[TrialRecord]) -> None:
        self._study, self._folder = study, folder
        self._kept: tuple[TrialRecord, ...] = ()  # the best first
        self._without: set[int] = set()  # the trials whose embeddings were removed
        for record in known:
            if record.state.finished:
                self.ended(record)

    def remarked(self, trials: Iterable[TrialRecord]) -> None:
        """Leave the files of dropped trials as they are, and decide on those of trials that were taken back."""
        changed = {trial.number: trial for trial in trials}
        self._kept = tuple(trial for trial in self._kept if trial.number not in changed)
        for trial in changed.values():
            self.ended(trial)

    def ended(self, trial: TrialRecord) -> None:
        """Decide on a trial's files, once its end, or that of one of its runs, is stored."""
        runs = [run for run in runs_of([trial]) if run.state.finished]
        for run in runs:
            for path in self._folder.checkpoints(run.folder)[1:]:
                _remove(path)
        if not trial.state.finished or trial.dropped:  # it may be taken back, with its checkpoint
            return
        order = rank([*self._kept, trial], self._study).order
        for other in (*self._kept, trial):
            if other not in order[: self._study.checkpoints.keep_best]:
                self._remove_checkpoints(other)
        for other in (*self._kept[:1], trial):
            if other not in order[:1]:
                self._remove_embeddings(other)
        # The best trial keeps its embeddings even if no checkpoint is kept.
        self._kept = order[: max(1, self._study.checkpoints.keep_best)]

    def keeps_embeddings(self, trial: TrialRecord) -> bool:
        """Return whether a trial's embeddings stay; any thread may ask."""
        return trial.number not in self._without

    def _remove_checkpoints(self, trial: TrialRecord) -> None:
        for run in runs_of([trial]):
            _remove(self._folder.checkpoints(run.folder)[0])
            _remove(self._folder.history(run.folder))

    def _remove_embeddings(self, trial: TrialRecord) -> None:
        self._without.add(trial.number)  # first: who writes some at this moment looks again afterwards
        for run in runs_of([trial]):
            remove_embeddings(self._folder.embeddings(run.folder))


def remove_embeddings(path: Path) -> None:
    """Remove the folder with the embeddings of a run."""
    if path.exists() and not path.parent.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # as below
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # another plugin may have files there


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # an extra checkpoint does no harm, and the next session tries again
        path.unlink(missing_ok=True)
