"""Files that somebody else may have put there, opened only if they are ordinary ones.

A study's folder may come from a stranger, or be one that others can write. So below it no link is followed, neither for writing
nor for reading, no named pipe is waited for, and a file that has another name outside the folder (a hard link) is copied before
it is written. The path of the folder itself may have links: `runs` may be on another disk.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_PASSED_OVER = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


class NotRegular(OSError):
    """A file is a link, a folder, a named pipe, a socket or a device; the message says which."""


def identity(found: os.stat_result) -> tuple[int, int]:
    """Return what distinguishes a file from every other one of this machine while it exists, whatever its name."""
    return found.st_dev, found.st_ino


def open_regular(path: Path) -> BinaryIO | None:
    """Open an ordinary file, or a link to one, for reading; None if there is none, or a named pipe, which would wait, or such."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def check_regular(path: Path | str) -> os.stat_result | None:
    """Check that a path is an ordinary file or missing, and return what the system says of it.

    Raises:
        NotRegular: it is something else.
    """
    try:
        found = os.lstat(path)  # called for each file of many studies: a Path takes longer
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(path, found.st_mode)
    return found


def open_own(path: Path, flags: int) -> int:
    """Open a file in a study's folder and return its descriptor; a file that is written gets no other name before.

    Args:
        path: the file; it is created, with the usual permissions, if the flags say so.
        flags: as those of `os.open`.

    Raises:
        NotRegular: it is a link, or no ordinary file.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            check_regular(path)
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _not_regular(path, found.st_mode)
    if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        os.close(descriptor)
        keep_one_name(path)
        return open_own(path, flags)
    return descriptor


def open_new(path: Path) -> BinaryIO:
    """Open a file in a study's folder for writing; it is new, and what had this name is removed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o666), "wb")
    except FileExistsError:
        path.unlink()
        return os.fdopen(os.open(path, flags, 0o666), "wb")


def read_own(path: Path) -> bytes:
    """Return the content of a file in a study's folder.

    Raises:
        NotRegular: it is a link, or no ordinary file.
        OSError: it cannot be read.
    """
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def copy_own(source: Path, target: Path) -> None:
    """Copy a file of a study's folder, wholly or not at all, and onto the disk.

    Raises:
        NotRegular: it is a link, or no ordinary file.
        OSError: it cannot be read, or the copy not written.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    with os.fdopen(open_own(source, os.O_RDONLY), "rb") as old, open_new(unfinished) as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    unfinished.replace(target)


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Iterate over what is in a folder and those in it, however deep, and has a name of a pattern; no link is followed.

    Folders that cannot be entered, or are gone meanwhile, are passed over.

    Raises:
        OSError: a folder cannot be read for another reason.
    """
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                entries = [*found]
        except OSError as error:
            if error.errno not in _PASSED_OVER:
                raise
            continue
        folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (Path(entry.path) for entry in entries if fnmatch.fnmatchcase(entry.name, pattern))


def make_folders(path: Path, above: int) -> None:
    """Make a folder below a run folder.

    Args:
        path: the folder.
        above: how many folders of the path, from its end, must not be links.

    Raises:
        NotRegular: one of them is.
        OSError: one cannot be made.
    """
    for part in [*reversed([path, *path.parents][:above])]:
        with contextlib.suppress(FileExistsError):
            part.mkdir()
        mode = part.lstat().st_mode
        if not stat.S_ISDIR(mode):
            raise _not_regular(part, mode)


def keep_one_name(path: Path) -> None:
    """Replace a file that has several names (hard links, as backups make them) by a copy; the other names keep the file."""
    new = path.with_name(f".{path.name}.{os.getpid()}.copy")
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as old, open_new(new) as copy:
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(old.fileno()).st_mode))
            shutil.copyfileobj(old, copy)
            copy.flush()
            os.fsync(copy.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _not_regular(path: Path | str, mode: int) -> NotRegular:
    kind = _KINDS.get(stat.S_IFMT(mode), "no ordinary file")
    return NotRegular(errno.ELOOP, f"it is {kind}, which does not belong here", str(path))
