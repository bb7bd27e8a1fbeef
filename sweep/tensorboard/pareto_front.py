"""The Pareto front in TensorBoard: a scalar `front`, 1 or 0, in the runs of each complete trial, updated as trials end.

A later trial can push one out of the front, so the runner writes the scalar, into the event file that the trial's worker has
closed. The HPARAMS tab shows, sorts and filters by the last value.
"""

from __future__ import annotations

from collections.abc import Iterable

from sweep.storage.folder import StudyFolder
from sweep.study.ranking import ParetoFront, Ranking, complete_of, rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState


class FrontColumn:
    """Write which trials are in the Pareto front of a study with several metrics; with one metric, write nothing.

    Args:
        study, folder: the study and its folder.
        known: the trials of earlier sessions.
        mark: mark all of them again, since the last mark may have been lost.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, known: Iterable[TrialRecord], *, mark: bool = True) -> None:
        self._study, self._folder = study, folder
        self._dropped: set[int] = set()
        if study.multi_objective:
            ranking = self._take(known)
            for trial in ranking.order if mark else ():
                self._mark(trial, trial.number in self._members, mend=True)

    def _take(self, known: Iterable[TrialRecord]) -> Ranking:
        known = list(known)
        ranking = rank(known, self._study)
        self._front, self._members = ParetoFront(self._study), dict[int, TrialRecord]()
        # Of complete trials, the dropped ones too, so that it never becomes less: the step of a mark.
        self._count = sum(trial.state is TrialState.COMPLETE for trial in known)
        self._dropped = {trial.number for trial in known if trial.dropped}
        for trial in ranking.front:
            self._add(trial)
        return ranking

    def remarked(self, known: Iterable[TrialRecord]) -> None:
        """Mark the trials that have joined or left the front, since trials were dropped or taken back."""
        if self._study.multi_objective:
            before, dropped = set(self._members), self._dropped
            ranking = self._take(known)
            changed = before ^ set(self._members) | dropped - self._dropped
            for trial in ranking.order:
                if trial.number in changed:
                    self._mark(trial, trial.number in self._members)

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
