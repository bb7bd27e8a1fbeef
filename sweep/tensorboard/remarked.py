"""What TensorBoard shows of a user's remarks: dropped trials not at all, and notes as a column of the HPARAMS tab.

Any trial's description of the columns may count, so the first note of a study gives all of them the column. Records in event
files are replaced for that, which must not happen while one writes them: call this with the study's lock, while no trial runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sweep.storage.database import read_records, read_states
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import Remarks, change_remarks, read_remarks
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.tensorboard import event_files
from sweep.tensorboard.columns import note_column

# A trial takes 2 ms to get another column. Where there are more, only the dashboard does it.
AT_ONCE = 200


def unshown(folder: StudyFolder) -> list[int]:
    """Return the numbers of the trials whose notes the HPARAMS tab has not as they are now; all trials for a column that is new.

    Raises:
        SweepError: the remarks or the database cannot be read.
    """
    remarks = read_remarks(folder)
    shown, notes = remarks.in_hparams, remarks.notes
    if bool(shown) != bool(notes):
        return [*read_states(folder)]
    return [number for number in shown.keys() | notes.keys() if shown.get(number) != notes.get(number)]


def renew_remarks(study: StudySpec, folder: StudyFolder, *, at_most: int | None = AT_ONCE) -> None:
    """Bring the event files in accordance with the remarks; the notes only if no more trials than `at_most` need that.

    Raises:
        OSError: a file cannot be written.
        SweepError: the remarks or the database cannot be read.
    """
    renew_hidden(folder)

    def set_columns(now: Remarks) -> None:
        from sweep.tensorboard.hparams import set_column  # TensorBoard is slow to import, and few studies need this

        for record in read_records(folder, unshown(folder)):
            [(name, text)] = note_column(study, record.note).items()
            set_column(folder.trial_dir(record.folder), name, text if now.notes else None)

    numbers = unshown(folder)
    if numbers and (at_most is None or len(numbers) <= at_most):
        _, noted = change_remarks(folder, replace, set_columns)
        change_remarks(folder, lambda now: replace(now, in_hparams=noted.notes))


def renew_hidden(folder: StudyFolder) -> None:
    """Hide the event files of dropped trials and show all others, where a killed process has not done so.

    Raises:
        OSError: a file cannot be renamed.
        SweepError: the remarks or the database cannot be read.
    """

    def correct(now: Remarks) -> None:
        shown, hidden = _wrong(folder, now)
        for path in shown:
            event_files.hide(path)
        for path in hidden:
            event_files.show(path)

    if folder.remarks.exists() and any(_wrong(folder, read_remarks(folder))):
        change_remarks(folder, replace, correct)


def follow(folder: StudyFolder, runs: Iterable[TrialRecord], remarks: Remarks) -> None:
    """Hide the event files of these runs if their trials are dropped, else show them.

    Raises:
        OSError: a file cannot be renamed.
    """
    for run in runs:
        (event_files.hide if run.number in remarks.dropped else event_files.show)(folder.trial_dir(run.folder))


def _wrong(folder: StudyFolder, remarks: Remarks) -> tuple[list[Path], set[Path]]:
    """Return the run folders that are shown though their trials are dropped, and those that are hidden though they are not."""
    ended = {folder.trial_dir(run.folder): run.state.finished for run in read_records(folder, remarks.dropped)}
    # One that is dropped and has not ended was dropped just before it was tried again: at its end.
    shown = [path for path, finished in ended.items() if finished and event_files.are_shown(path)]
    return shown, event_files.hidden_in(folder.root) - ended.keys()
