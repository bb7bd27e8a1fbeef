"""The trials of another study that a study goes on from: found, and their checkpoints copied into the study's folder.

    runs/first/0007_lr=0.1/checkpoint.pt ──► runs/next/parents/0007/checkpoint.pt ──► runs/next/0000_parent=7/checkpoint.parent.pt
                                             before the first trial                   before the trial starts

So the first study may be removed, or change, once the next one has begun. A trial that has no checkpoint of its own, because it
is new, was killed early or is retried, starts from that file, which goes where its run folder goes. It is removed when the trial
ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from sweep.errors import SweepError
from sweep.storage.database import has_trials, read_records
from sweep.storage.existing import existing_study
from sweep.storage.files import sync_folder
from sweep.storage.folder import CHECKPOINT, HISTORY, PARENT_CHECKPOINT, StudyFolder, near
from sweep.storage.regular import NotRegular, copy_own, make_folders
from sweep.storage.stored_study import stored_study
from sweep.study.progress import may_start
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of, trials_of
from sweep.study.space import PARENT, Inherited
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, TrialState


def find_parents(first: Path, top: int, own: Path, *, fresh: bool = False) -> dict[int, Params]:
    """Return the parameters of a study's best trials by their numbers, the best one first.

    Args:
        first: that study's folder.
        top: how many trials.
        own: the folder of the study that goes on from them; once it has trials, it knows its parents itself.
        fresh: its trials do not count, because it starts over.

    Raises:
        SweepError: there is no such study, or it has too few such trials, or not all of their checkpoints.
    """
    folder = StudyFolder(root=own)
    if not fresh and folder.study_file.exists() and has_trials(folder):
        stored = stored_study(folder)
        if stored.start is not None and (stored.start.study, stored.start.top) == (str(first), top):
            return _inherited(stored)
    study, trials = _best_of(StudyFolder(root=first), top)
    return {trial.number: {k: v for k, v in trial.params.items() if study.start is None or k != PARENT} for trial in trials}


def keep_checkpoints(study: StudySpec, folder: StudyFolder, known: Sequence[TrialRecord]) -> str:
    """Copy the checkpoints of a study's parents into its folder, as far as trials are left that may need them.

    Return what the user should know of the parents, or nothing.

    Args:
        study, folder: the study that goes on from them, if it does.
        known: its runs. If there are any, the copies were made; `sweep clean` removes them once all trials have ended.

    Raises:
        SweepError: one is not there any more.
        OSError: one cannot be written.
    """
    if study.start is None or not may_start(study, trials_of(known, study)):
        return ""
    places = [(number, repeat) for number in study.start.parents for repeat in range(study.repeats)]
    missing = [place for place in places if not (known and (folder.parent_dir(*place) / CHECKPOINT).exists())]
    if not missing:
        return ""
    first, inherited = StudyFolder(root=Path(study.start.study)), _inherited(study)
    runs = {run.key: run for run in read_records(first)}
    for number, repeat in missing:
        target = folder.parent_dir(number, repeat)
        make_folders(target, above=2)
        run = runs.get((number, repeat))
        try:
            if run is None or not inherited[number].items() <= run.params.items():  # that study may have started over
                raise FileNotFoundError
            source = first.trial_dir(run.folder)
            with contextlib.suppress(FileNotFoundError):  # of a trial with few reports
                copy_own(source / HISTORY, target / HISTORY)
            copy_own(source / CHECKPOINT, target / CHECKPOINT)
        except (FileNotFoundError, NotRegular):
            which = f"repeat {repeat} of trial {number}" if study.repeats > 1 else f"trial {number}"
            raise SweepError(
                "parent-lost",
                f"{which}, in {near(first.root)}, has no checkpoint from which this study could go on",
                why="a study goes on from copies of another's checkpoints, which it makes when it begins, or after sweep clean",
                do="put that study back, or choose other trials (from: {study: ..., top: ...}), or fewer repeats",
            ) from None
    sync_folder(folder.root)
    if known:
        return ""
    trained = stored_study(first).trained
    if trained == study.trained:
        return ""
    return f"the parents were trained by {trained}, and go on with {study.trained}, which must be able to use their states"


def place_checkpoint(folder: StudyFolder, run: TrialRecord) -> None:
    """Put its parent's checkpoint into the folder of a run that starts, if it is not there.

    Raises:
        OSError: it cannot be written.
    """
    number, target = run.params[PARENT], folder.trial_dir(run.folder)
    assert isinstance(number, int)
    source = folder.parent_dir(number, run.repeat)
    target.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # if there is none, the worker fails the trial
        if not (target / HISTORY).exists() and (source / HISTORY).exists():
            copy_own(source / HISTORY, target / HISTORY)
        if not (target / PARENT_CHECKPOINT).exists():
            try:
                os.link(source / CHECKPOINT, target / PARENT_CHECKPOINT, follow_symlinks=False)  # nobody writes into it
            except (OSError, NotImplementedError):  # not every file system has hard links
                copy_own(source / CHECKPOINT, target / PARENT_CHECKPOINT)


def _inherited(study: StudySpec) -> dict[int, Params]:
    """Return what a study has of its parents' parameters, by their numbers."""
    assert study.start is not None
    inherited = {name: dict(one.values) for name, one in study.parameters.items() if isinstance(one, Inherited)}
    return {n: {name: own[n] for name, own in inherited.items() if n in own} for n in study.start.parents}


def _best_of(folder: StudyFolder, top: int) -> tuple[StudySpec, Sequence[TrialRecord]]:
    """Return a study, and its best trials, whose checkpoints are all there."""
    place, snapshot = near(folder.root), existing_study(folder.root)
    study, best = snapshot.study, snapshot.ranking.leaders[:top]
    if study.start is None and PARENT in study.parameters:
        what = f"a study cannot go on from {place}, whose trials have a parameter {PARENT} of their own"
        raise SweepError("parent-taken", what, do="use another name for it in that study")
    if len(best) < top:
        what = f"{place} has {len(best)} complete trial{'s' * (len(best) != 1)} to go on from, not {top}"
        do = f"--top {len(best)}   (from: {{top: {len(best)}}})" if best else f"sweep run {place}   completes its trials"
        raise SweepError("too-few-parents", what, do=do)
    complete = {trial.number: [run for run in runs_of([trial]) if run.state is TrialState.COMPLETE] for trial in best}
    lost = [n for n, runs in complete.items() if not all(folder.checkpoints(run.folder)[0].exists() for run in runs)]
    if lost:
        kept, numbers = study.checkpoints.keep_best, ", ".join(map(str, lost))
        raise SweepError(
            "parent-without-checkpoint",
            f"trial{'s' * (len(lost) > 1)} {numbers} of {place}, among its {top} best, {'have' if len(lost) > 1 else 'has'}"
            " no checkpoint to go on from",
            why=f"that study keeps those of its {kept} best trials, if they give trial.report a state, until they are removed",
            do=f"fewer trials:  --top N\nor in its study file, before it runs:  checkpoints: {{keep_best: {max(top, kept)}}}",
        )
    return study, best
