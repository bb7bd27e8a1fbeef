"""What a session checks in a study's folder and puts right before it continues; nothing of the user's is ever deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, SweepError
from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.study.record import TrialRecord

_RUN_FOLDER = re.compile(r"\d{4,}(_.*)?")


def check_ours(folder: StudyFolder) -> None:
    """Check that the folder is a study's, or to become one.

    Raises:
        SweepError: it holds something else.
    """
    if not folder.root.is_dir():
        return
    ours = (folder.lock, folder.study_file, folder.database, folder.prior)
    if any(folder.root.iterdir()) and not any(path.exists() for path in ours):
        raise SweepError(
            "not-a-study",
            f"{folder.root} is in the way: it is not empty and holds no study",
            do="choose another place:  sweep run STUDY name=another output=runs",
        )


def check_whole(folder: StudyFolder) -> None:
    """Check that nothing of a study was lost.

    Raises:
        SweepError: its database or its study file is gone while trials are there.
    """
    runs = _run_folders(folder)
    if runs and not folder.database.exists():
        raise _lost(folder, folder.database.name, f"{len(runs)} run folders are there, such as {runs[0].name}")
    if not folder.study_file.exists() and (known := read_records(folder)):
        raise _lost(
            folder, folder.study_file.name, f"it says what the {len(known)} trials of {folder.database.name} were run with"
        )


def set_orphans_aside(folder: StudyFolder, known: Sequence[TrialRecord], notice: Callable[[str], None]) -> None:
    """Move run folders whose trials the database has forgotten out of TensorBoard's sight.

    A power cut can take the database's last moments. Those trials are planned again, perhaps with other parameters.
    """
    names = {record.folder for record in known}
    for path in _run_folders(folder):
        if path.name not in names:
            aside = folder.root.with_name(f"{folder.root.name}.forgotten")
            aside.mkdir(exist_ok=True)
            count = len(list(aside.glob(f"{path.name}*")))
            place = path.rename(aside / (f"{path.name}-{count + 1}" if count else path.name))
            notice(f"{path.name} belongs to no trial in {folder.database.name}; it is now {place}")


def _run_folders(folder: StudyFolder) -> list[Path]:
    # A link would lead out of the study's folder.
    found = [path.parent for path in folder.root.glob("*/trial.json") if not path.parent.is_symlink()]
    return sorted(path for path in found if _RUN_FOLDER.fullmatch(path.name))


def _lost(folder: StudyFolder, name: str, why: str) -> SweepError:
    return SweepError(
        "study-incomplete",
        f"{folder.root} holds trials, but its {name} is gone",
        why=why,
        do=f"put it back, or:\n{ANOTHER_OR_FRESH}",
        exit_code=EXIT_LOCKED,
    )
