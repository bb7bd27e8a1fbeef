"""The Pareto front in TensorBoard: a scalar `front` in each complete trial's run, 1 or 0, kept true as trials end.

Whether a trial is in the front is not its own doing: another one can take it away later. So the runner writes it, into the
event file that the trial's worker has closed. The HPARAMS tab shows the last one, sorts and filters by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sweep.storage.folder import StudyFolder
from sweep.study.ranking import Point, feasible, front_of, goodness
from sweep.study.record import TrialRecord, complete_of
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec


@dataclass(frozen=True)
class _Member:
    point: Point
    trial: TrialRecord


class FrontMarks:
    """Mark which trials of a study with several metrics are in the front; of one metric nothing.

    Args:
        study, folder: whose trials.
        known: the trials from before; all of them are marked anew, since the last mark may have been lost.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, known: Iterable[TrialRecord]) -> None:
        self._study, self._folder = study, folder
        self._front: dict[int, _Member] = {}
        self._count = 0  # of complete trials: the step of a mark
        if len(study.metrics) > 1:
            complete = complete_of(known)
            self._count = len(complete)
            self._front = {trial.number: _Member(_point(study, trial), trial) for trial in front_of(complete, study)}
            for trial in complete:
                self._mark(trial, trial.number in self._front, mend=True)

    def ended(self, trial: TrialRecord) -> None:
        """Mark a trial that has ended, and those that it pushes out of the front."""
        if len(self._study.metrics) > 1 and complete_of([trial]):
            pushed_out = self._take(trial)
            self._mark(trial, trial.number in self._front)
            for other in pushed_out:
                self._mark(other, False)

    def _take(self, trial: TrialRecord) -> list[TrialRecord]:
        self._count += 1
        point = _point(self._study, trial)
        if not feasible(self._study, trial.metrics) or any(_beats(member.point, point) for member in self._front.values()):
            return []
        beaten = [member.trial for member in self._front.values() if _beats(point, member.point)]
        for other in beaten:
            del self._front[other.number]
        self._front[trial.number] = _Member(point, trial)
        return beaten

    def _mark(self, trial: TrialRecord, inside: bool, *, mend: bool = False) -> None:
        from sweep.tensorboard.hparams import append_front

        for run in runs_of([trial]):
            append_front(self._folder.trial_dir(run.folder), inside=inside, step=self._count, mend=mend)


def _point(study: StudySpec, trial: TrialRecord) -> Point:
    return goodness(study, trial.value, trial.metrics)


def _beats(one: Point, other: Point) -> bool:
    """Tell whether a point is at least as good in everything and better in something."""
    return one != other and all(own >= its for own, its in zip(one, other, strict=True))
