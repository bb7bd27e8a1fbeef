"""The lock that keeps a study to one session at a time.

The kernel's lock does not reach other hosts on NFS mounted with `nolock` or `local_lock`: hence the holder's heartbeat.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.storage.folder import StudyFolder

# Seconds between two heartbeats, and without one until a holder on another host counts as dead.
_BEAT_S = 5.0
_SILENCE_S = 3 * _BEAT_S
# The errors of a file system that cannot lock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


@contextlib.contextmanager
def locked(folder: StudyFolder, notice: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the study's lock; the kernel releases it when this process ends, however it ends.

    The holder also touches the lock file every few seconds. A session that finds another host's name in the file waits for
    such a heartbeat before it takes the lock.

    Args:
        folder: the study's; it is created.
        notice: called with a line of text when there is something to wait for.

    Raises:
        SweepError: another session holds the lock, or the folder cannot be written.
    """
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        file = folder.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_writable(folder, error) from None
    with file:
        if not _take(file.fileno(), folder) or not _is_still(file.fileno(), folder.lock) or _beats_elsewhere(folder, notice):
            raise _locked_by(folder, _holder_in(folder) or {})
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            file.truncate(0)
            file.write(json.dumps(holder) + "\n")
            file.flush()
        except OSError as error:
            raise _not_writable(folder, error) from None
        ended = threading.Event()
        threading.Thread(target=_beat, args=(folder.lock, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                file.truncate(0)


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(_BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def _beats_elsewhere(folder: StudyFolder, notice: Callable[[str], None]) -> bool:
    """Return whether a session on another host, whose lock is not visible here, is alive."""
    holder = _holder_in(folder) or {}
    if holder.get("host") in (None, socket.gethostname()):
        return False
    notice(f"the study was last run on host {holder['host']} and was not ended; checking for {_SILENCE_S:.0f} s whether it runs")
    before, deadline = folder.lock.stat().st_mtime_ns, time.monotonic() + _SILENCE_S
    while time.monotonic() < deadline:
        if folder.lock.stat().st_mtime_ns != before:
            return True
        time.sleep(0.1)
    return False


def _not_writable(folder: StudyFolder, error: OSError) -> SweepError:
    return SweepError(
        "output-not-writable",
        f"cannot write to {folder.root}: {error.strerror}",
        do="choose another folder:  sweep run STUDY output=/path",
    )


def _locked_by(folder: StudyFolder, holder: dict[str, Any]) -> SweepError:
    return SweepError(
        "study-locked",
        f"{folder.root} is being run by another process",
        where=f"host {holder.get('host', '?')}, process {holder.get('pid', '?')}, since {holder.get('since', '?')}",
        do=f"sweep status {folder.root}   shows its progress\nsweep stop {folder.root}     asks it to stop",
        exit_code=EXIT_LOCKED,
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one at the path: another process may have moved the folder aside."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _take(descriptor: int, folder: StudyFolder) -> bool:
    # A few tries: `lock_holder`, in another process, holds the lock for a moment.
    for attempt in range(4):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise SweepError(
                    "no-locks",
                    f"the file system of {folder.root} cannot lock files, so two sessions could run at once: {error.strerror}",
                    do="choose another folder:  sweep run STUDY output=/path",
                ) from None
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise _not_writable(folder, error) from None
            time.sleep(0.02 * attempt)
    return False


def lock_holder(folder: StudyFolder) -> dict[str, Any] | None:
    """Return which session runs the study now (`host`, `pid`, `since`), or None."""
    try:
        with folder.lock.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except OSError:
                return _holder_in(folder) or {}
    except OSError:
        return None


def _holder_in(folder: StudyFolder) -> dict[str, Any] | None:
    """Return the holder that the lock file names, alive or not."""
    try:
        holder = json.loads(folder.lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None
