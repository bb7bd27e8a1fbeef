"""What a run finds in its study's folder, and what is put right before it goes on; nothing of the user's is ever deleted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, StudyFileError, SweepError
from sweep.runner.environment import recorded
from sweep.runner.observers import Observer
from sweep.storage.database import has_trials, read_records
from sweep.storage.folder import StudyFolder
from sweep.study.compatibility import continued
from sweep.study.file.reading import read_study
from sweep.study.objective import is_by_value
from sweep.study.record import TrialRecord
from sweep.study.space import assignment
from sweep.study.spec import StudySpec

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


def stored_study(
    folder: StudyFolder, overrides: Sequence[str] = (), *, import_dir: Path | None = None, find_objective: bool = False
) -> StudySpec:
    """Read a folder's own copy of its study.

    Args:
        folder, overrides, import_dir, find_objective: as `read_study`.

    Raises:
        StudyFileError: an override is wrong.
        SweepError: the copy is damaged, or of a newer version.
    """
    try:
        return read_study(folder.study_file, overrides, import_dir=import_dir, find_objective=find_objective)
    except StudyFileError as error:
        own = [problem for problem in error.problems if problem.where.startswith(str(folder.study_file))]
        if [problem.key for problem in error.problems] == ["objective"] and own:
            _check_in_a_module(folder)
        if not own or any(problem.key == "objective" for problem in own):
            raise
        raise SweepError(
            "stored-study-damaged",
            f"{folder.study_file} is damaged: it says what the trials were run with",
            where=str(own[0]),
            do=f"put it back as it was, or:\n{ANOTHER_OR_FRESH}",
            exit_code=EXIT_LOCKED,
        ) from None


def _check_in_a_module(folder: StudyFolder) -> None:
    reference = stored_study(folder).trained
    if is_by_value(reference):
        name = reference.partition(":")[2]
        raise SweepError(
            "objective-in-python",
            f"the study in {folder.root} was run from Python: its objective is the function {name} of a program or notebook",
            where=" ".join(map(str, recorded(folder).get("command", []))) or None,
            why="the function is stored nowhere, so only that program can go on with it",
            do=f"run that program again: it goes on where the study stopped\n"
            f"or put the function into a module:  sweep resume {shlex.quote(str(folder.root))} objective=MODULE:{name}",
        )


def taken_up(study: StudySpec, folder: StudyFolder) -> StudySpec:
    """Return the study as it would go on in its folder: `study` itself when nothing was run there yet.

    Raises:
        SweepError: the study file was changed in a way that makes old and new trials incomparable.
    """
    if not folder.study_file.exists():
        return study
    stored = stored_study(folder)
    return continued(stored, study, str(folder.root)) if has_trials(folder) else study


def renew_columns(study: StudySpec, folder: StudyFolder, observer: Observer) -> None:
    """Give the trials that there are the HPARAMS columns of a study that was extended: TensorBoard reads any trial's.

    Before the study file is written: what is interrupted here is done again.
    """
    if not study.earlier or not folder.study_file.exists() or stored_study(folder).shown == study.shown:
        return
    from sweep.tensorboard.hparams import renew

    records = read_records(folder)
    observer.notice(f"the parameters have changed: renewing the HPARAMS columns of {len(records)} trials")
    for record in records:
        renew(folder.trial_dir(record.folder), record.params, study.shown)


def set_orphans_aside(folder: StudyFolder, known: Sequence[TrialRecord], observer: Observer) -> None:
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
            observer.notice(f"{path.name} belongs to no trial in {folder.database.name}; it is now {place}")


def reopened(record: TrialRecord, study: StudySpec) -> TrialRecord:
    """Return a failed trial as it is run again: from its start, with today's constants."""
    return replace(record, params=assignment(study.parameters, lambda name, _: record.params[name]))


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
