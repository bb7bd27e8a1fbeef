"""Check a study's folder, and repair it, before a session runs in it; nothing of the user's is ever deleted."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, SweepError
from sweep.storage.database import read_records
from sweep.storage.folder import TRIAL, StudyFolder
from sweep.storage.lock import any_holder
from sweep.storage.regular import make_folders, read_own
from sweep.study.record import TrialRecord

_FORGOTTEN = ".forgotten"
_MOVED = re.compile(r"(.+)\.\d{8}-\d{6}(-\d+)?")  # what `set_aside` makes of a name
_RUN_FOLDER = re.compile(r"\d{4,}(_.*)?")


def check_ours(folder: StudyFolder) -> None:
    """Check that the folder is a study's, empty, or missing.

    Raises:
        SweepError: it contains something else.
    """
    if not folder.root.is_dir():
        return
    ours = (folder.lock, folder.study_file, folder.database, folder.imported_trials)
    if any(folder.root.iterdir()) and (is_copy(folder) or not any(path.exists() for path in ours)):
        raise SweepError(
            "not-a-study",
            f"{folder.root} is in the way: it is not empty, and it is not a study's",
            do="choose another folder:  sweep run STUDY name=another output=runs",
        )


def check_whole(folder: StudyFolder) -> None:
    """Check that no file of a study was lost.

    Raises:
        SweepError: there are trials, but no database or no study file.
    """
    runs = _run_folders(folder)
    if runs and not folder.database.exists():
        raise _lost(folder, folder.database.name, f"{len(runs)} run folders are there, such as {runs[0].name}")
    if not folder.study_file.exists() and (known := read_records(folder)):
        why = f"it says how the {len(known)} trials of {folder.database.name} were run"
        raise _lost(folder, folder.study_file.name, why)


def set_orphans_aside(folder: StudyFolder, known: Sequence[TrialRecord], notice: Callable[[str], None]) -> None:
    """Move run folders whose trials are not in the database to a folder that TensorBoard does not read.

    The database can lose its last trials in a power cut. They are planned again, perhaps with other parameters.
    """
    names = {record.folder for record in known}
    for path in _run_folders(folder):
        if path.name not in names:
            aside = folder.root.with_name(f"{folder.root.name}{_FORGOTTEN}")
            make_folders(aside, above=1)
            place = path.rename(_unused(aside / path.name))
            notice(f"{path.name} belongs to no trial in {folder.database.name}; it is now {place}")


def set_aside(folder: StudyFolder) -> Path | None:
    """Rename a study's folder to a name with the time, and return its new path; None if there is no folder."""
    if not folder.root.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return folder.root.rename(_unused(folder.root.with_name(f"{folder.root.name}.{stamp}")))


def original_of(root: Path) -> Path | None:
    """Return the place of a study whose folder `set_aside` has moved to this one; None of any other folder.

    A study may have a name that ends in a time: the study file in the folder has that of the original.
    """
    if (found := _MOVED.fullmatch(root.name)) is None:
        return None
    try:
        text = read_own(StudyFolder(root=root).study_file).decode("utf-8", "replace")
    except OSError:
        return None
    named = re.search(r"^name: *[\"']?(.*?)[\"']?$", text, re.MULTILINE)  # as `write_study` writes it
    return root.with_name(found[1]) if named is not None and named[1] == found[1] else None


def moved_aside(folder: StudyFolder) -> list[tuple[str, Path]]:
    """Return what stands beside a study's folder because it was moved aside, each with the reason; studies that run stay."""
    name, found = folder.root.name, []
    with os.scandir(folder.root.parent) as entries:
        near = sorted(entry.name for entry in entries if entry.name.startswith(f"{name}."))
    for path in (folder.root.with_name(other) for other in near):
        if path.name == f"{name}{_FORGOTTEN}":
            found.append(("trials that the database did not know", path))
        elif original_of(path) == folder.root and any_holder(StudyFolder(root=path)) is None:
            found.append(("moved aside by --fresh", path))
    return found


def is_study(root: Path) -> bool:
    """Return whether a folder is that of a study that has run, whole or damaged."""
    folder = StudyFolder(root=root)
    return sum(path.exists() for path in folder.signs) > 1 and not is_copy(folder)


def is_copy(folder: StudyFolder) -> bool:
    """Return whether a folder is the copy of one trial that `sweep best --copy` makes; it has the study's file, too."""
    return (folder.root / TRIAL).is_file() and not folder.database.exists()


def _unused(path: Path) -> Path:
    """Return the path, with a number at its end if it exists."""
    others = (path.with_name(f"{path.name}-{count}") for count in itertools.count(2))
    return next(other for other in itertools.chain([path], others) if not other.exists())


def _run_folders(folder: StudyFolder) -> list[Path]:
    # A link could lead out of the study's folder.
    found = [path.parent for path in folder.root.glob(f"*/{TRIAL}") if not path.parent.is_symlink()]
    return sorted(path for path in found if _RUN_FOLDER.fullmatch(path.name))


def _lost(folder: StudyFolder, name: str, why: str) -> SweepError:
    return SweepError(
        "study-incomplete",
        f"{folder.root} holds trials, but its {name} is gone",
        why=why,
        do=f"put it back, or:\n{ANOTHER_OR_FRESH}",
        exit_code=EXIT_LOCKED,
    )
