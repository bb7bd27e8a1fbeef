"""What to tell when a study's folder or database cannot be used: each cause has its own message."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from pathlib import Path

from sweep.errors import ANOTHER_STUDY, EXIT_LOCKED, EXIT_SOME_FAILED, SweepError
from sweep.storage.folder import StudyFolder
from sweep.storage.regular import NotRegular

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your quota is used up", errno.EFBIG: "files may not be that large here"}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_KEPT = "everything that was stored before is intact"


def explained(error: Exception, folder: StudyFolder) -> SweepError:
    """Return an error of a session, or of reading its results, as a message with the cause."""
    if isinstance(error, SweepError) and (error.id != "write-failed" or folder.root.is_dir()):
        return error
    if not folder.root.is_dir():
        return folder_lost(folder)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, folder)
    return not_regular(error) if isinstance(error, NotRegular) else write_failed(str(error), folder)


def _of_sqlite(error: sqlite3.Error, folder: StudyFolder) -> SweepError:
    name = getattr(error, "sqlite_errorname", "")
    if is_locked(error):
        return database_locked(folder)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return write_failed(f"{folder.database.name}: {error}", folder)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return SweepError(
            "database-not-writable",
            f"{folder.database} cannot be opened, or only for reading",
            why=f"{error}: you may not write this file, or in its folder; the file system is read-only; or the limit of this"
            " shell was reached (Too many open files: see ulimit -n)",
            do=f"see  ls -la {folder.word}  , then:  sweep resume {folder.word}",
            exit_code=EXIT_SOME_FAILED,
        )
    return unreadable(folder, str(error))


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether another process uses the database at this moment."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def database_locked(folder: StudyFolder) -> SweepError:
    """Return the error for a database that another process has locked for too long."""
    return SweepError(
        "database-locked",
        f"{folder.database} is locked by another process",
        why=f"a program that reads or changes it, such as sqlite3, Optuna's dashboard or a backup; {_KEPT}",
        do=f"end that program (fuser {folder.word}/{folder.database.name} names it), then:  sweep resume {folder.word}",
        exit_code=EXIT_SOME_FAILED,
    )


def database_lost(folder: StudyFolder, name: str, what: str, saved: Path | None) -> SweepError:
    """Return the error for a database that was removed or replaced during a session.

    Args:
        folder: the study's.
        name: the file's.
        what: what happened to it.
        saved: where the content was written again; None if nothing had to be.
    """
    kept = f"the session wrote everything that was stored to {saved}" if saved else "everything that was stored is in study.db"
    replaced = saved is not None and saved != folder.database
    choose = (
        f"choose one of {folder.database.name} and {saved.name} as {folder.database.name}, then:  " if saved and replaced else ""
    )
    return SweepError(
        "database-lost",
        f"{name} was {what} while the session ran",
        where=str(folder.root),
        why=f"by another program, or by hand; {kept}",
        do=f"{choose}sweep resume {folder.word}",
        exit_code=EXIT_SOME_FAILED,
    )


def folder_lost(folder: StudyFolder, descriptor: int | None = None) -> SweepError:
    """Return the error for a folder that was moved, replaced or deleted during a session.

    Args:
        folder: the study's, as it was.
        descriptor: of the open folder, which knows where it is now.
    """
    now = _place_of(descriptor)
    if now is not None:
        what, where = "was moved", f"it is now {now}"
        there = StudyFolder(root=now).word
        do = f"sweep resume {there}   continues it there\nor move it back:  mv {there} {folder.word}"
    elif folder.root.is_dir():
        what, where, do = "was replaced by another folder", str(folder.root), f"sweep status {folder.word}   shows what is in it"
    else:
        what, where, do = "is gone", str(folder.root), "put it back, then:  sweep resume STUDY"
    return SweepError(
        "folder-lost",
        f"the study's folder {what} while the session ran",
        where=where,
        why="nothing was written after that",
        do=do,
        exit_code=EXIT_SOME_FAILED,
    )


def _place_of(descriptor: int | None) -> Path | None:
    """Return where an open folder is, None if that is unknown or it was deleted; Linux only."""
    with contextlib.suppress(OSError):
        if descriptor is not None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            return path if os.path.samestat(path.stat(), os.fstat(descriptor)) else None
    return None


def not_regular(error: NotRegular) -> SweepError:
    """Return the error for a link or such in a study's folder."""
    return SweepError(
        "not-a-regular-file",
        f"{error.filename} cannot be used: {error.strerror}",
        why="no link in a study's folder is followed; the study's folder itself may be one",
        do=f"look at it:  ls -l {StudyFolder(root=Path(error.filename)).word}   and move it away, or put the file itself there",
        exit_code=EXIT_LOCKED,
    )


def not_writable(folder: StudyFolder, error: OSError) -> SweepError:
    """Return the error for a folder in which no session can begin."""
    if isinstance(error, NotRegular):
        return not_regular(error)
    return SweepError(
        "output-not-writable",
        f"cannot write to {folder.root}: {error.strerror}",
        do="choose another folder:  sweep run STUDY output=/path",
    )


def write_failed(reason: str, folder: StudyFolder) -> SweepError:
    """Return the error of a session that ends because a file could not be written.

    Args:
        reason: the text of the error, with its number if it is the system's.
        folder: the study's.
    """
    number = int(found[1]) if (found := re.search(r"\[Errno (\d+)\]", reason)) else None
    do = f"make room, then:  sweep resume {folder.word}"
    if number in _FULL:
        why = _FULL[number]
    elif number in _FORBIDDEN:
        why, do = "you may not write there", f"see  ls -la {folder.word}  , then:  sweep resume {folder.word}"
    elif number == errno.ENOENT:
        why, do = "a file or folder of the study was removed or renamed while it was in use", f"sweep resume {folder.word}"
    elif number == errno.ELOOP:
        why, do = "no link in a study's folder is followed", f"move it away, then:  sweep resume {folder.word}"
    else:
        why = "usually a full disk or a quota"
    return SweepError(
        "write-failed",
        f"the session ended because a file could not be written: {reason}",
        where=str(folder.root),
        why=f"{why}; {_KEPT}",
        do=do,
        exit_code=EXIT_SOME_FAILED,
    )


def unreadable(folder: StudyFolder, why: str) -> SweepError:
    """Return the error for a database that is damaged, or of another version."""
    return SweepError(
        "database-not-readable",
        f"{folder.database} cannot be used",
        why=why,
        do=ANOTHER_STUDY,
        exit_code=EXIT_LOCKED,
    )
