"""The lock that keeps a study to one session at a time.

A session locks the study's folder itself, which nobody can remove unnoticed while it is held, and the file `lock` in it, for
versions of this program that look at the file only, and for file systems that cannot lock a folder (NFS). The file says who
the holder is. On NFS mounted with `nolock` or `local_lock` the kernel's lock does not reach other hosts: hence the holder's
heartbeat, the time of the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError, one_line
from sweep.storage.files import read_json
from sweep.storage.folder import StudyFolder
from sweep.storage.messages import folder_lost, not_writable
from sweep.storage.regular import NotRegular, check_regular, identity, open_own

# Seconds between two looks at the file, between two heartbeats, and without one until a holder elsewhere counts as dead.
_LOOK_S = 1.0
_BEAT_S = 5.0
_SILENCE_S = 3 * _BEAT_S
# So often a lock is tried again, for whoever asks who holds it has it for a moment; and so long where no session has it.
_TRIES, _MOMENT_S = 3, 2.0
# So often in a row the file may be locked by somebody else, who may only have looked at it.
_LOOKS_LOCKED = 5
# The errors of a file system that cannot lock a file; EBADF: an NFS that cannot lock a folder.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}
_NO_FOLDER_LOCKS = _NO_LOCKS | {errno.EBADF, errno.EISDIR}
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


class Lock:
    """The lock of a session, as long as `locked` holds it; a thread looks whether it is still there.

    Args:
        folder: the study's.
        root: the open folder, locked if `root_locked`.
        file: the open file, locked.
        root_locked: whether this file system can lock folders.
        doing: as of `locked`.
    """

    def __init__(self, folder: StudyFolder, root: int, file: int, *, root_locked: bool, doing: str) -> None:
        self._folder, self._root, self._file, self._root_locked = folder, root, file, root_locked
        self._place = os.fspath(folder.root)
        self._identity = identity(os.fstat(root))
        self._holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "session": secrets.token_hex(8),
        } | ({"doing": doing} if doing else {})
        self._lost: SweepError | None = None
        self._times_locked, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._write_holder()
        self._thread.start()

    def check(self) -> None:
        """Check that the folder is still this session's; call it while writing.

        Raises:
            SweepError: the folder was moved, replaced or deleted, or another session has locked it.
        """
        try:
            here = identity(os.stat(self._place)) == self._identity  # noqa: PTH116  # called for each record: a Path takes twice as long
        except OSError:
            here = False
        if not here:
            raise folder_lost(self._folder, self._root)
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Give the lock back."""
        self._ended.set()
        self._thread.join(_BEAT_S)
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        for descriptor in (self._file, self._root):
            with contextlib.suppress(OSError):  # a process that was forked from this one may have it too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _write_holder(self) -> None:
        os.ftruncate(self._file, 0)
        os.write(self._file, json.dumps(self._holder).encode() + b"\n")

    def _watch(self) -> None:
        beaten = time.monotonic()
        while not self._ended.wait(_LOOK_S) and self._lost is None:
            with contextlib.suppress(OSError):
                self._look()
                if time.monotonic() - beaten >= _BEAT_S:
                    beaten = time.monotonic()
                    os.utime(self._file)

    def _look(self) -> None:
        """Write the file again if it was removed or replaced."""
        if identity(self._folder.root.stat()) != self._identity:
            return  # `check` says so
        try:
            found = check_regular(self._folder.lock)
            if found is not None and identity(found) == identity(os.fstat(self._file)):
                self._times_locked = 0
                return
            new = open_own(self._folder.lock, _FILE_FLAGS)
        except NotRegular as error:  # it locks nobody out
            self._lose(str(error))
            return
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(new)
            self._times_locked += 1
            if self._times_locked >= _LOOKS_LOCKED:
                self._root_locked = False
                self._lose(holder_text(_holder_in(self._folder) or {}))
            return
        os.close(self._file)
        self._file = new
        self._write_holder()

    def _lose(self, where: str) -> None:
        if self._root_locked:  # which is enough
            return
        self._lost = SweepError(
            "lock-lost",
            f"the lock of {self._folder.root} was replaced while the session ran, and another session may run now",
            where=where,
            why="somebody removed the file `lock`",
            do=f"sweep status {self._folder.word}   shows who runs it now",
            exit_code=EXIT_LOCKED,
        )


@contextlib.contextmanager
def locked(folder: StudyFolder, notice: Callable[[str], None] = lambda text: None, *, doing: str = "") -> Iterator[Lock]:
    """Hold the study's lock; the kernel releases it when this process ends, however it ends.

    The holder also touches the lock file every few seconds. A session that finds another host's name in the file waits for
    such a heartbeat before it takes the lock.

    Args:
        folder: the study's; it is created.
        notice: called with a line of text when there is something to wait for.
        doing: the verb that needs the lock for a moment, without a session.

    Raises:
        SweepError: another session holds the lock, or the folder cannot be written.
    """
    with contextlib.ExitStack() as opened:
        try:
            folder.root.mkdir(parents=True, exist_ok=True)
            root = os.open(folder.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, root)
            root_locked = _take(root, folder, _NO_FOLDER_LOCKS)
            file = open_own(folder.lock, _FILE_FLAGS)
            opened.callback(os.close, file)
        except OSError as error:
            raise not_writable(folder, error) from None
        taken = root_locked is not False and _take(file, folder)
        if not taken or not _is_still(file, folder.lock) or _beats_elsewhere(folder, notice):
            raise _locked_by(folder, _holder_in(folder) or {})
        try:
            lock = Lock(folder, root, file, root_locked=bool(root_locked), doing=doing)
        except OSError as error:
            raise not_writable(folder, error) from None
        opened.pop_all()
    try:
        yield lock
    finally:
        lock.release()


def _beats_elsewhere(folder: StudyFolder, notice: Callable[[str], None]) -> bool:
    """Return whether a session on another host, whose lock is not visible here, is alive."""
    holder = _holder_in(folder) or {}
    if holder.get("host") in (None, socket.gethostname()):
        return False
    notice(f"the study was last run on host {holder['host']} and was not ended; checking for {_SILENCE_S:.0f} s whether it runs")
    before, deadline = _beat_in(folder), time.monotonic() + _SILENCE_S
    while time.monotonic() < deadline:
        if _beat_in(folder) != before:
            return True
        time.sleep(0.1)
    return False


def _beat_in(folder: StudyFolder) -> int:
    try:
        return folder.lock.lstat().st_mtime_ns
    except OSError:
        return 0


def _locked_by(folder: StudyFolder, holder: dict[str, Any]) -> SweepError:
    what = f"{folder.root} is being run by another process"
    do = f"sweep status {folder.word}   shows its progress\nsweep stop {folder.word}     asks it to stop"
    if doing := holder.get("doing"):
        what, do = f"{folder.root} is in use by another process, sweep {doing}", "type it again when that has ended"
    return SweepError("study-locked", what, where=holder_text(holder), do=do, exit_code=EXIT_LOCKED)


def holder_text(holder: dict[str, Any]) -> str:
    """Return in one line who has a study's lock."""
    verb = f" (sweep {holder['doing']})" if "doing" in holder else ""
    return f"host {holder.get('host', '?')}, process {holder.get('pid', '?')}, since {holder.get('since', '?')}{verb}"


def _is_still(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one at the path: another process may have moved the folder aside."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _take(descriptor: int, folder: StudyFolder, no_locks: set[int] = _NO_LOCKS) -> bool | None:
    """Lock what is open; return False if another session holds it, and None of a folder on a file system that locks none."""
    deadline, attempt = time.monotonic() + _MOMENT_S, 0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in no_locks:
                if no_locks is _NO_FOLDER_LOCKS:
                    return None
                raise SweepError(
                    "no-locks",
                    f"the file system of {folder.root} cannot lock files, so two sessions could run at once: {error.strerror}",
                    do="choose another folder:  sweep run STUDY output=/path",
                ) from None
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise not_writable(folder, error) from None
            holder = _holder_in(folder) or {}
            if attempt >= _TRIES and (("host" in holder and "doing" not in holder) or time.monotonic() > deadline):
                return False
            time.sleep(min(0.02 * attempt, 0.1))
            attempt += 1


def lock_holder(folder: StudyFolder) -> dict[str, Any] | None:
    """Return which session runs the study now (`host`, `pid`, `since`, `session`), or None."""
    holder = any_holder(folder)
    return None if holder is None or "doing" in holder else holder


def any_holder(folder: StudyFolder) -> dict[str, Any] | None:
    """Return who has the study's lock now: a session, or a verb that needs it for a moment and is named as `doing`; or None."""
    if _is_locked(folder.root) or _is_locked(folder.lock, os.O_NOFOLLOW):
        return _holder_in(folder) or {}
    return None


def same_session(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two answers of `lock_holder` are of one session; so they are while nothing is known of one."""
    keys = ("session",) if "session" in one or "session" in other else ("host", "pid", "since")
    return not one or not other or all(one.get(key) == other.get(key) for key in keys)


def _is_locked(path: Path, flags: int = 0) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(descriptor)


def _holder_in(folder: StudyFolder) -> dict[str, Any] | None:
    """Return the holder that the lock file names, alive or not; its texts are printable."""
    try:
        holder = read_json(folder.lock)
    except (OSError, ValueError):
        return None
    if not isinstance(holder, dict):
        return None
    kept = {key: value for key, value in holder.items() if isinstance(value, str) or type(value) is int}
    return {one_line(key): one_line(value)[:200] if isinstance(value, str) else value for key, value in kept.items()}
