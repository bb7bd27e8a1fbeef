"""What TensorBoard shows of a user's remarks: dropped trials not at all, and notes as a column of the HPARAMS tab.

Any trial's description of the columns may count, so the first note of a study gives all of them the column. Records in event
files are replaced for that, which must not happen while one writes them: call this with the study's lock, while no trial runs.
"""

from __future__ import annotations

from dataclasses import replace

from sweep.storage.database import read_records, read_states
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import change_remarks, read_remarks
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
    remarks = read_remarks(folder)
    if remarks.dropped:
        for record in read_records(folder, remarks.dropped):
            if record.state.finished:  # if not, somebody has changed the file by hand
                event_files.hide(folder.trial_dir(record.folder))
    numbers = unshown(folder)
    if numbers and (at_most is None or len(numbers) <= at_most):
        from sweep.tensorboard.hparams import set_column  # TensorBoard is slow to import, and few studies need this

        for record in read_records(folder, numbers):
            [(name, text)] = note_column(study, record.note).items()
            set_column(folder.trial_dir(record.folder), name, text if remarks.notes else None)
        change_remarks(folder, lambda now: replace(now, in_hparams=remarks.notes))
