"""What TensorBoard shows of a user's remarks: dropped trials not at all, and notes as a column of the HPARAMS tab.

Any trial's description of the columns may count, so the first note of a study gives all of them the column. Records in event
files are replaced for that, which must not happen while one writes them: call this with the study's lock, while no trial runs.
"""

from __future__ import annotations

from dataclasses import replace

from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import Remarks, change_remarks, read_remarks
from sweep.study.spec import StudySpec
from sweep.tensorboard import event_files
from sweep.tensorboard.columns import note_column


def to_renew(remarks: Remarks) -> set[int] | None:
    """Return the numbers of the trials whose notes the HPARAMS tab has not as they are now; None means all trials."""
    shown, notes = remarks.in_hparams, remarks.notes
    if bool(shown) != bool(notes):
        return None
    return {number for number in shown.keys() | notes.keys() if shown.get(number) != notes.get(number)}


def renew_remarks(study: StudySpec, folder: StudyFolder) -> None:
    """Bring the event files in accordance with the remarks, as far as they are not.

    Raises:
        OSError: a file cannot be written.
        SweepError: the remarks or the database cannot be read.
    """
    remarks = read_remarks(folder)
    if remarks.dropped:
        for record in read_records(folder, remarks.dropped):
            event_files.hide(folder.trial_dir(record.folder))
    numbers = to_renew(remarks)
    if numbers is None or numbers:
        from sweep.tensorboard.hparams import set_column  # TensorBoard is slow to import, and few studies need this

        for record in read_records(folder, numbers):
            [(name, text)] = note_column(study, record.note).items()
            set_column(folder.trial_dir(record.folder), name, text if remarks.notes else None)
        change_remarks(folder, lambda now: replace(now, in_hparams=remarks.notes))
