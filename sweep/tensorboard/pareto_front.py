"""The Pareto front in TensorBoard: a scalar `front`, 1 or 0, in the runs of each complete trial, updated as trials end.

A later trial can push one out of the front, so the runner writes the scalar, into the event file that the trial's worker has
closed. The HPARAMS tab shows, sorts and filters by the last value.
"""

from __future__ import annotations

from collections.abc import Iterable

from sweep.storage.folder import StudyFolder
from sweep.study.ranking import ParetoFront, complete_of, rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec


class FrontColumn:
    """Write which trials are in the Pareto front of a study with several metrics; with one metric, write nothing.

    Args:
        study, folder: the study and its folder.
        known: the trials of earlier sessions; all are marked again, since the last mark may have been lost.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, known: Iterable[TrialRecord]) -> None:
        self._study, self._folder, self._front = study, folder, ParetoFront(study)
        self._members: dict[int, TrialRecord] = {}
        self._count = 0  # of complete trials, which is the step of a mark
        if study.multi_objective:
            ranking = rank(known, study)
            self._count = len(ranking.order)
            for trial in ranking.front:
                self._add(trial)
            for trial in ranking.order:
                self._mark(trial, trial.number in self._members, mend=True)

    def ended(self, trial: TrialRecord) -> None:
        """Mark a trial that has ended, and the trials that it pushes out of the front."""
        if self._study.multi_objective and complete_of([trial]):
            self._count += 1
            pushed_out = self._add(trial)
            self._mark(trial, trial.number in self._members)
            for other in pushed_out:
                self._mark(other, False)

    def _add(self, trial: TrialRecord) -> list[TrialRecord]:
        assert trial.value is not None
        joined = self._front.add(trial.number, trial.value, trial.metrics)
        if joined.inside:
            self._members[trial.number] = trial
        return [self._members.pop(number) for number in joined.removed]

    def _mark(self, trial: TrialRecord, inside: bool, *, mend: bool = False) -> None:
        from sweep.tensorboard.hparams import append_front  # TensorBoard is slow to import, and few studies need this

        for run in runs_of([trial]):
            append_front(self._folder.trial_dir(run.folder), inside=inside, step=self._count, mend=mend)
