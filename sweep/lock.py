"""The lock of the one runner of a study, and moving a study's folder aside."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.layout import StudyFolder


@contextlib.contextmanager
def locked(folder: StudyFolder) -> Iterator[None]:
    """Hold the study's lock; the kernel lets it go when this process ends, however it ends.

    Raises:
        SweepError: another runner holds it, or the folder cannot be written.
    """
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        file = folder.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise SweepError(
            "output-not-writable",
            f"cannot write to {folder.root}: {error.strerror}",
            do="choose another folder:  sweep run STUDY output=/path",
        ) from None
    with file:
        if not _take(file.fileno()) or not _is_still(file.fileno(), folder.lock):
            holder = lock_holder(folder) or {}
            raise SweepError(
                "study-locked",
                f"{folder.root} is being run by another process",
                where=f"host {holder.get('host', '?')}, process {holder.get('pid', '?')}, since {holder.get('since', '?')}",
                do=f"sweep status {folder.root}   shows how far it is",
                exit_code=EXIT_LOCKED,
            )
        file.truncate(0)
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        file.write(json.dumps(holder) + "\n")
        file.flush()
        yield


def _is_still(descriptor: int, path: Path) -> bool:
    """Tell whether the file that was opened is the one at the path: another process may have moved the folder aside."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _take(descriptor: int) -> bool:
    # A few tries: somebody who only looks whether the lock is held (`lock_holder`) holds it for a moment.
    for attempt in range(4):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
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
                text = file.read()
    except OSError:
        return None
    try:
        holder: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return holder


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
