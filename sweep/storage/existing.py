"""The study in a folder that somebody names: everything that is stored, or why it is none."""

from __future__ import annotations

from pathlib import Path

from sweep.errors import SweepError
from sweep.storage.folder import StudyFolder, near
from sweep.storage.messages import not_regular
from sweep.storage.regular import NotRegular
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study


def existing_study(root: Path) -> Snapshot:
    """Read the study that has run in a folder.

    Raises:
        SweepError: none has, or it cannot be read.
    """
    folder = StudyFolder(root=root)
    try:
        folder.check_files()
        if not (folder.study_file.is_file() and folder.database.is_file()):
            raise FileNotFoundError
    except NotRegular as error:
        raise not_regular(error) from None
    except OSError:
        what = f"{near(root)} is not the folder of a study that has run"
        raise SweepError("no-study", what, do="name a folder such as runs/fashion") from None
    return Snapshot.take(stored_study(folder), folder)
