"""The lock of the one runner of a study, and moving a study's folder aside."""

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

# A holder says so often that it lives, for those to whom the lock itself does not reach.
_BEAT_S = 5.0
_SILENCE_S = 3 * _BEAT_S
# What a file system answers that cannot lock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


@contextlib.contextmanager
def locked(folder: StudyFolder, notice: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the study's lock; the kernel lets it go when this process ends, however it ends.

    Some file systems that machines share do not carry locks from one to the other. So the holder also touches the file every
    few seconds, and whoever finds the name of another machine in it watches for that before taking it over.

    Args:
        folder: the study's; it is made.
        notice: is told when there is something to wait for.

    Raises:
        SweepError: another runner holds it, or the folder cannot be written.
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
    """Tell whether a runner on another machine, whose lock is not seen here, is alive."""
    holder = _holder_in(folder) or {}
    if holder.get("host") in (None, socket.gethostname()):
        return False
    notice(
        f"the study was last run on host {holder['host']} and did not end well; looking for {_SILENCE_S:.0f} s whether it runs"
    )
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
        do=f"sweep status {folder.root}   shows how far it is\nsweep stop {folder.root}     asks it to stop",
        exit_code=EXIT_LOCKED,
    )


def _is_still(descriptor: int, path: Path) -> bool:
    """Tell whether the file that was opened is the one at the path: another process may have moved the folder aside."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _take(descriptor: int, folder: StudyFolder) -> bool:
    # A few tries: somebody who only looks whether the lock is held (`lock_holder`) holds it for a moment.
    for attempt in range(4):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise SweepError(
                    "no-locks",
                    f"the file system of {folder.root} cannot lock files, so nothing would keep two runs apart: {error.strerror}",
                    do="choose another folder:  sweep run STUDY output=/path",
                ) from None
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise _not_writable(folder, error) from None
            time.sleep(0.02 * attempt)
    return False


def lock_holder(folder: StudyFolder) -> dict[str, Any] | None:
    """Return who runs the study now (`host`, `pid`, `since`), or None."""
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
    """Return whom the lock file names, whether or not that one still lives."""
    try:
        holder = json.loads(folder.lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None


def set_aside(folder: StudyFolder) -> Path | None:
    """Move a study's folder out of the way under a name with the time; nothing is deleted. None when there is none."""
    if not folder.root.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = folder.root.with_name(f"{folder.root.name}.{stamp}")
    count = 1
    while aside.exists():
        count += 1
        aside = folder.root.with_name(f"{folder.root.name}.{stamp}-{count}")
    folder.root.rename(aside)
    return aside
