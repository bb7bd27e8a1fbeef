"""Transactions in a study's database, for the one session that writes to it.

Now and then, and before the last one, the files are looked at: they must be those that were opened, else SQLite writes on into
files that nobody can read any more. If one was removed or replaced, the database is written again from what is open, with all
that was stored since, and the session ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sweep.storage.database import opened
from sweep.storage.folder import StudyFolder
from sweep.storage.messages import database_locked, database_lost, explained, is_locked
from sweep.storage.regular import identity

# How long to wait for another process that has locked the database, how often to say so, and how long SQLite waits by itself.
_PATIENCE_S = 60.0
_NOTICE_S = 10.0
_TRY_S = 1.0
_LOOK_S = 0.05  # between two looks at the files: each takes three system calls, and short trials have many transactions

_Answer = TypeVar("_Answer")
_Identity = tuple[int, int] | None


class Transactions:
    """A connection to a study's database, for writing.

    Args:
        folder: the study's.
        check: raises if the folder is no longer this session's.
        notice: called with a line of text when there is something to wait for.

    Attributes:
        db: the connection; everything that writes is inside a transaction.

    Raises:
        SweepError: the database cannot be opened, is damaged or of another version, or is locked for too long.
    """

    def __init__(self, folder: StudyFolder, check: Callable[[], None], notice: Callable[[str], None]) -> None:
        self._folder, self._check, self._notice = folder, check, notice
        self._place = os.fspath(folder.database)
        self._gave_up = False
        self._looked = -math.inf
        self._log: _Identity = None  # of the write-ahead log, once there is one
        try:
            self.db = self._patiently(lambda: opened(folder, read_only=False, timeout_s=_TRY_S))
            self._identity = _identity(self._place)
            self._patiently(lambda: self.db.execute("PRAGMA journal_mode=WAL"))
            self.db.execute("PRAGMA synchronous=NORMAL")
            self._version = self._data_version()
        except (sqlite3.Error, OSError) as error:
            raise explained(error, folder) from None

    @contextlib.contextmanager
    def begun(self, *, last: bool = False) -> Iterator[sqlite3.Connection]:
        """Begin a transaction, which is committed, or rolled back if the block raises.

        Args:
            last: no other may follow.

        Raises:
            SweepError: the folder or the database is no longer this session's, or the database is locked for too long.
        """
        if last or time.monotonic() - self._looked > _LOOK_S:
            self._check()
            self._check_files()
            self._looked = time.monotonic()
        self._patiently(lambda: self.db.execute("BEGIN IMMEDIATE"))
        try:
            yield self.db
        except BaseException:
            self.db.rollback()
            raise
        self._patiently(self.db.commit)
        if self._log is None:
            self._log = _identity(f"{self._place}-wal")

    def changed_elsewhere(self) -> bool:
        """Return whether another connection has written since the last call; call it in a transaction."""
        before, self._version = self._version, self._data_version()
        return before != self._version

    def close(self) -> None:
        """Close the database and leave one plain file, unless another process is reading it at this moment."""
        with contextlib.suppress(sqlite3.Error):
            self.db.execute("PRAGMA busy_timeout=0")
            self.db.execute("PRAGMA journal_mode=DELETE")
        self.db.close()

    def _data_version(self) -> int:
        """Return a number that changes when another connection writes."""
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])

    def _patiently(self, action: Callable[[], _Answer]) -> _Answer:
        """Do something that another process may hinder, and wait for that process."""
        began = told = time.monotonic()
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
            now = time.monotonic()
            if self._gave_up or now - began > _PATIENCE_S:
                self._gave_up = True
                raise database_locked(self._folder)
            if told == began or now - told > _NOTICE_S:
                told = now
                name = self._folder.database.name
                self._notice(f"another process has locked {name}; waiting for it, {_PATIENCE_S - (now - began):.0f} s at most")

    def _check_files(self) -> None:
        if _identity(self._place) != self._identity:
            raise self._lost(self._folder.database)
        if self._log is not None and _identity(f"{self._place}-wal") != self._log:
            raise self._lost(Path(f"{self._place}-wal"))

    def _lost(self, path: Path) -> Exception:
        """Write the database again from what is open, and close it; return the error that ends the session."""
        what = "replaced" if os.path.lexists(path) else "removed"
        if path != self._folder.database:
            self.db.close()  # which writes what is in the lost file to the database
            return database_lost(self._folder, path.name, what, None)
        copy = path.with_name(f".{path.name}.{os.getpid()}.saved")
        copy.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(copy)) as saved:
            self.db.backup(saved)
            saved.execute("PRAGMA journal_mode=DELETE")
        self.db.close()
        if self._log is not None and _identity(f"{self._place}-wal") == self._log:
            for suffix in ("-wal", "-shm"):  # SQLite would apply the log, which is in the copy, to whatever has this name now
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        place = path if not os.path.lexists(path) else path.with_name(f"{path.name}.saved-{time.strftime('%Y%m%d-%H%M%S')}")
        copy.rename(place)
        return database_lost(self._folder, path.name, what, place)


def _identity(path: str) -> _Identity:
    try:
        return identity(os.lstat(path))  # called for each record: a Path takes twice as long
    except OSError:
        return None
