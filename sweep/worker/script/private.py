"""A folder that only this user can enter, for what a script's trial needs besides its run folder.

Nobody can make it first, since its name cannot be predicted. It is locked while it is in use; the lock ends with the worker,
however that ends, so the next worker of a script can tell which folders a killed one has left, and removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweep.worker.endings import TrialFailed

_PREFIX = "sweep-script-"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a private folder for the block.

    Raises:
        TrialFailed: it cannot be made.
    """
    try:
        remove_abandoned()
        folder, lock = _made()
    except (FileNotFoundError, PermissionError) as error:
        reason = f"no temporary folder can be made for the command: {error.strerror or error}"
        raise TrialFailed(f"{reason}\nset TMPDIR to a folder that you can write to") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@functools.cache  # once in each worker
def remove_abandoned() -> None:
    """Remove the private folders of this user's workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is in use, or another worker removes it
            if _is_private(folder.lstat()):
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _made() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).absolute()
        try:
            lock = _locked(folder)
        except (BlockingIOError, FileNotFoundError):  # another worker took it for an abandoned one
            continue
        except OSError:  # a file system without locks, where nothing can be taken for abandoned
            return folder, os.open(folder, os.O_RDONLY)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _locked(folder: Path) -> int:
    """Return an open descriptor of a folder with its lock, or raise an OSError."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _is_private(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
