"""What a user says of a study and its trials: notes, and which trials are dropped. One file, `remarks.json`.

`sweep drop` and `sweep note` change it, also while a session runs, which only reads it. It is locked while it is changed, and
replaced as a whole. Whoever reads records of trials has them with their remarks (`sweep.storage.database.read_records`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.errors import EXIT_LOCKED, EXIT_SOME_FAILED, SweepError
from sweep.storage.files import write_json
from sweep.storage.folder import StudyFolder
from sweep.storage.messages import not_regular
from sweep.storage.regular import NotRegular, identity, open_own, read_own
from sweep.study.record import TrialRecord

_VERSION = 1
_PATIENCE_S = 10.0
_TRY_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """The remarks of a study.

    Attributes:
        study: the note of the study; empty without one.
        notes: the notes of trials, by their numbers.
        dropped: the numbers of the dropped trials.
        in_hparams: the notes that the HPARAMS tab shows; those of trials, when it was last brought up to date.
    """

    study: str = ""
    notes: Mapping[int, str] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    in_hparams: Mapping[int, str] = field(default_factory=dict)

    def of(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Return records with what is said of their trials."""
        return [
            replace(record, dropped=record.number in self.dropped, note=self.notes.get(record.number))
            if record.dropped or record.note or record.number in self.dropped or record.number in self.notes
            else record
            for record in records
        ]


def read_remarks(folder: StudyFolder) -> Remarks:
    """Return the remarks of a study; none if there is no such file.

    Raises:
        SweepError: the file is damaged or of a newer version, or no ordinary file.
    """
    try:
        text = read_own(folder.remarks)
        return _from_json(json.loads(text)) if text else Remarks()  # empty: killed before anything was said
    except FileNotFoundError:
        return Remarks()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SweepError(
            "remarks-not-readable",
            f"{folder.remarks} cannot be used",
            why=str(error) or type(error).__name__,
            do=f"restore it; or do without its notes, and with all trials:  rm {folder.word}/{folder.remarks.name}",
            exit_code=EXIT_LOCKED,
        ) from None


def change_remarks(
    folder: StudyFolder, change: Callable[[Remarks], Remarks], first: Callable[[Remarks], object] = lambda after: None
) -> tuple[Remarks, Remarks]:
    """Change the remarks of a study, and return them before and after.

    Args:
        folder: the study's.
        change: returns the new remarks, given those that are stored.
        first: makes other files agree with the new remarks before they are stored, which gives the lock back. If it fails, they
            are stored all the same, and its error is raised.

    Raises:
        SweepError: as `read_remarks`; or the file cannot be written, or is locked by another process for too long.
    """
    with contextlib.ExitStack() as lock:
        with _write_errors_explained(folder):
            lock.enter_context(_locked(folder))
        before = read_remarks(folder)
        after = change(before)
        try:
            first(after)
        finally:
            if after != before:
                with _write_errors_explained(folder):
                    write_json(folder.remarks, _to_json(after))
        return before, after


class RemarksWatch:
    """Know the remarks of a study in a session, which reads them while others change them.

    Args:
        folder: the study's.
        notice: called with a line of text if the file is damaged; then what was said before holds.

    Attributes:
        remarks: those that were read last.

    Raises:
        SweepError: as `read_remarks`.
    """

    def __init__(self, folder: StudyFolder, notice: Callable[[str], None]) -> None:
        self._folder, self._notice = folder, notice
        self._seen = self._look()
        self.remarks = read_remarks(folder)

    def changed(self) -> bool:
        """Return whether there are other remarks than at the last call, and read them; one system call if there are none."""
        now, before = self._look(), self.remarks
        if now != self._seen:
            self._seen = now
            try:
                self.remarks = read_remarks(self._folder)
            except SweepError as error:
                self._notice(f"{error.what}, so what was said before holds: {error.why}")
        return self.remarks != before

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._folder.remarks.lstat()
        except OSError:
            return ()
        return *identity(found), found.st_mtime_ns, found.st_size


@contextlib.contextmanager
def _write_errors_explained(folder: StudyFolder) -> Iterator[None]:
    try:
        yield
    except NotRegular as error:
        raise not_regular(error) from None
    except OSError as error:
        what = f"cannot write to {folder.root}: {error.strerror}"
        raise SweepError("output-not-writable", what, do=f"see  ls -la {folder.word}", exit_code=EXIT_SOME_FAILED) from None


@contextlib.contextmanager
def _locked(folder: StudyFolder) -> Iterator[None]:
    """Hold the lock of the file that has the name at that moment: the one who had it before has replaced the file."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with os.fdopen(open_own(folder.remarks, os.O_RDWR | os.O_CREAT), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    time.sleep(_TRY_S)
                    continue  # a file system without locks does without
            if identity(os.fstat(file.fileno())) == identity(folder.remarks.lstat()):
                yield
                return
    raise SweepError(
        "remarks-locked",
        f"{folder.remarks} is locked by another process",
        do="try again when it has ended",
        exit_code=EXIT_SOME_FAILED,
    )


def _to_json(remarks: Remarks) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "study": remarks.study,
        "notes": {str(number): text for number, text in sorted(remarks.notes.items())},
        "dropped": sorted(remarks.dropped),
        "in_hparams": {str(number): text for number, text in sorted(remarks.in_hparams.items())},
    }


def _from_json(data: Any) -> Remarks:
    if data["version"] != _VERSION:
        raise ValueError(f"it is of version {data['version']}, this program knows {_VERSION}")
    study, dropped = data["study"], data["dropped"]
    if not isinstance(study, str) or not all(type(number) is int for number in dropped):
        raise ValueError("a note is no text, or a dropped trial no number")
    return Remarks(study=study, notes=_notes(data["notes"]), dropped=frozenset(dropped), in_hparams=_notes(data["in_hparams"]))


def _notes(data: Any) -> dict[int, str]:
    if not all(isinstance(text, str) for text in data.values()):
        raise ValueError("a note is no text")
    return {int(number): text for number, text in data.items()}
