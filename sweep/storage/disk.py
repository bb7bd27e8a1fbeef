"""What a study's folder takes on the disk, and what of that is not needed: `sweep list` says it, `sweep clean` removes it.

Numbers, records, logs and event files always stay. Not needed are

- the checkpoints of trials that have ended, except for those of the best ones;
- checkpoints that could not be used, and files whose writing was interrupted;
- the parents' checkpoints of a second round, once every trial has ended;
- folders that were moved aside: by `--fresh`, or because the database did not know their trials.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweep.storage.folder import (
    CHECKPOINT,
    HISTORY,
    PARENT_CHECKPOINT,
    PARENTS,
    PREVIOUS_CHECKPOINT,
    UNFINISHED,
    UNUSABLE_CHECKPOINT,
    StudyFolder,
)
from sweep.storage.integrity import moved_aside
from sweep.study.progress import may_start
from sweep.study.ranking import rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec

_BEFORE = (PREVIOUS_CHECKPOINT, PARENT_CHECKPOINT)  # what a trial that has ended does not need in any case
_OURS = ("checkpoint.", ".")  # how the names of checkpoints and of unfinished files begin


@dataclass(kw_only=True)
class Usage:
    """What a folder takes.

    Attributes:
        total: bytes of all files; links are not followed.
        inside: bytes of each file of a folder in it, by both names, as far as it may be a checkpoint.
        below: bytes of all files below each folder in it, by the folder's name.
    """

    total: int = 0
    inside: dict[str, int] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spare:
    """Files or folders that a study does not need.

    Attributes:
        what: for people.
        paths: each with its bytes.
    """

    what: str
    paths: dict[Path, int]

    @property
    def size(self) -> int:
        """Return the bytes of all of them."""
        return sum(self.paths.values())


def usage(root: Path) -> Usage:
    """Return what a folder takes; what cannot be read takes nothing."""
    found = Usage()
    folders = [(os.fspath(root), "", "")]
    while folders:
        path, top, inner = folders.pop()
        size = 0
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, top or name, name if top else ""))
                    continue
                if entry.is_symlink():
                    continue
                own = entry.stat(follow_symlinks=False).st_size
                size += own
                if top and not inner and name.startswith(_OURS):
                    found.inside[f"{top}/{name}"] = own
        found.total += size
        if top:
            found.below[top] = found.below.get(top, 0) + size
    return found


def spare_files(
    study: StudySpec, folder: StudyFolder, trials: Sequence[TrialRecord], used: Usage, *, keep_best: int | None = None
) -> list[Spare]:
    """Return what a study, which nothing runs, does not need of its folder.

    Args:
        study: which trial is better, and how many there are.
        folder: the study's.
        trials: all that were ever started.
        used: what `usage` has found.
        keep_best: of so many best trials the checkpoints stay; default: as many as the study keeps, and that of the best one.
    """
    count_kept = max(1, study.checkpoints.keep_best) if keep_best is None else keep_best
    kept = {trial.number for trial in rank(trials, study).order[:count_kept]}
    ended: list[str] = []
    count = 0
    for trial in trials:
        if trial.state.finished:
            names = _BEFORE if trial.number in kept else (CHECKPOINT, HISTORY, *_BEFORE)
            paths = [f"{run.folder}/{name}" for run in runs_of([trial]) for name in names]
            found = [path for path in paths if path in used.inside]
            ended += found
            count += bool(found)
    unusable, unfinished = f"/{UNUSABLE_CHECKPOINT}", (path for path in used.inside if "/." in path and path.endswith(UNFINISHED))
    useless = [*unfinished, *(path for path in used.inside if path.endswith(unusable))]
    stay = {0: "none stays", 1: "that of the best trial stays"}.get(len(kept), f"those of the {len(kept)} best trials stay")
    spare = []
    if ended:
        what = f"checkpoints of {count} trial{'s' * (count != 1)} that ended; {stay}"
        spare.append(Spare(what=what, paths={folder.root / path: used.inside[path] for path in ended}))
    if useless:
        what = "unusable checkpoints and unfinished files"
        spare.append(Spare(what=what, paths={folder.root / path: used.inside[path] for path in useless}))
    if PARENTS in used.below and not may_start(study, trials):
        what = "checkpoints of the parents; every trial has ended"
        spare.append(Spare(what=what, paths={folder.root / PARENTS: used.below[PARENTS]}))
    return spare


def spare_folders(folder: StudyFolder) -> list[Spare]:
    """Return the folders beside a study's that were moved aside."""
    found = ((why, path) for why, path in moved_aside(folder) if not path.is_symlink())
    return [Spare(what=f"{path.name}, {why}", paths={path: usage(path).total}) for why, path in found]


def remove(paths: Iterable[Path]) -> list[str]:
    """Remove files and folders; return what could not be removed, and why."""
    failed = []
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                study_file = StudyFolder(root=path).study_file
                for inside in path.iterdir():  # the study file is the last: what a kill leaves is still known as moved aside
                    if inside.is_dir() and not inside.is_symlink():
                        shutil.rmtree(inside)
                    elif inside != study_file:
                        inside.unlink()
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            failed.append(f"{path}: {error.strerror or error}")
    return failed
