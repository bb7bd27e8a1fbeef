"""A run folder that is kept in two places: what changed in one since it was last sent, and how the other follows.

The node that trains has one copy, the study's folder the other. Files that only grow (event files, logs; nobody puts others in
their place while a trial runs) are sent from where the last content ended; a file that was renamed is renamed; every other one
that is new or has changed is sent whole. A checkpoint is applied last, after what it counts on is on the disk, and by renaming:
so the copy is at each moment one from which a trial can resume. Content comes from another machine: names stay inside the
folder, no link is followed, sizes must be those announced.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sweep.storage.files import sync_folder
from sweep.storage.folder import CHECKPOINT, LOG
from sweep.storage.regular import make_folders, open_new, open_own
from sweep.tensorboard.event_files import PATTERN

CHUNK_BYTES = 8 << 20
_GROWING = (PATTERN, LOG)
_UNFINISHED = (".*.unfinished", ".*.arriving")


class FoldersDiffer(Exception):
    """A change does not fit the folder that it is for; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happened to one file.

    Attributes:
        name: its path in the folder, with `/`.
        content: what is new, in pieces: bytes, or what `put` made of them; None if there is no new content.
        start: where it begins; 0 if all of the file is new.
        size: that of the file afterwards.
        moved_from: the name that the file had before; empty if it was not renamed. Without it and content the file is gone.
    """

    name: str
    content: tuple[Any, ...] | None = None
    start: int = 0
    size: int = 0
    moved_from: str = ""


_Facts = tuple[int, int, int]  # the file itself, its size, its time of change


class Watched:
    """A folder whose changes are sent.

    Args:
        folder: it may not exist yet.
        put: makes something shorter of a chunk of a large file, such as a reference to it.
    """

    def __init__(self, folder: Path, put: Callable[[bytes], Any] = bytes) -> None:
        self._folder, self._put = folder, put
        self._sent: dict[str, _Facts] = {}

    def mark(self) -> None:
        """Take all that is there as sent."""
        self._sent = dict(_files(self._folder))

    def changes(self, only: str = "*") -> list[Change]:
        """Return what has changed since the last call, in the order in which it is to be applied.

        Args:
            only: a pattern of the names that are looked at.
        """
        found = {name: facts for name, facts in _files(self._folder) if fnmatch.fnmatchcase(name, only)}
        before = {name: facts for name, facts in self._sent.items() if fnmatch.fnmatchcase(name, only)}
        names = {facts: name for name, facts in before.items()}
        moved, written = [], []
        for name in sorted(found, key=lambda name: (name == CHECKPOINT, name)):
            facts = found[name]
            if before.get(name) == facts:
                continue
            if (old := names.get(facts)) is not None and found.get(old) != facts:
                moved.append(Change(name=name, moved_from=old, size=facts[1]))
                self._sent[name] = facts
                before.pop(old)
            elif (change := self._content(name, facts, self._sent.get(name))) is not None:
                written.append(change)
                self._sent[name] = facts[0], change.size, facts[2]
        gone = [Change(name=name) for name in sorted(before.keys() - found.keys())]
        for name in self._sent.keys() - found.keys():
            if fnmatch.fnmatchcase(name, only):
                del self._sent[name]
        return [*moved, *gone, *written]

    def _content(self, name: str, facts: _Facts, sent: _Facts | None) -> Change | None:
        """Return the new content of a file; None if it cannot be read now, so that it is sent the next time."""
        grows = any(fnmatch.fnmatchcase(PurePosixPath(name).name, pattern) for pattern in _GROWING)
        start = sent[1] if grows and sent is not None and sent[0] == facts[0] and sent[1] <= facts[1] else 0
        try:
            with os.fdopen(open_own(self._folder / name, os.O_RDONLY), "rb") as file:
                file.seek(start)
                pieces = []
                left = facts[1] - start
                while left:
                    piece = file.read(min(CHUNK_BYTES, left))
                    if not piece:
                        return None
                    pieces.append(piece)
                    left -= len(piece)
        except OSError:
            return None
        if len(pieces) > 1:
            pieces = [self._put(piece) for piece in pieces]
        return Change(name=name, content=tuple(pieces), start=start, size=facts[1])


def apply(folder: Path, changes: Iterable[Change], get: Callable[[Any], bytes] = bytes) -> None:
    """Make a folder follow.

    Args:
        folder: it is made if it does not exist.
        changes: what `Watched.changes` returned for the other copy.
        get: returns the bytes of a piece that is not bytes.

    Raises:
        FoldersDiffer: a change does not fit, or leads out of the folder; those before it are applied.
        OSError: a file cannot be written.
    """
    folder.mkdir(exist_ok=True)
    grown: list[Path] = []
    for change in changes:
        path = _inside(folder, change.name)
        if change.moved_from:
            source = _inside(folder, change.moved_from)
            if not source.is_file() or source.stat().st_size != change.size:
                raise FoldersDiffer(f"{change.moved_from} is not what was renamed to {change.name}")
            source.replace(path)
        elif change.content is None:
            path.unlink(missing_ok=True)
        elif change.start:
            _append(path, change, get)
            grown.append(path)
        else:
            if path.name == CHECKPOINT:
                _sync(grown)
            _write(path, change, get)
            grown.append(path)


def _files(folder: Path) -> Iterator[tuple[str, _Facts]]:
    """Iterate over the ordinary files of a folder and those in it, with what tells them apart; no link is followed."""
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                found = [*entries]
        except OSError:  # it is gone, or cannot be entered
            continue
        folders += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        for entry in found:
            if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _UNFINISHED):
                continue
            with contextlib.suppress(OSError):  # it is gone since
                if entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    name = Path(entry.path).relative_to(folder).as_posix()
                    yield name, (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in the folder, with the folders between made.

    Raises:
        FoldersDiffer: the name leads out of the folder, or through a link.
    """
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
        raise FoldersDiffer(f"{name!r} is no name of a file in a run folder")
    path = folder.joinpath(*parts)
    if len(parts) > 1:
        try:
            make_folders(path.parent, len(parts) - 1)
        except OSError as error:
            raise FoldersDiffer(f"{name!r} cannot be in the run folder: {error.strerror}") from None
    return path


def _pieces(change: Change, get: Callable[[Any], bytes]) -> Iterator[bytes]:
    left = change.size - change.start
    for piece in change.content or ():
        data = piece if isinstance(piece, bytes) else get(piece)
        left -= len(data)
        if left < 0:
            break
        yield data
    if left:
        raise FoldersDiffer(f"the content of {change.name} has another size than was announced")


def _append(path: Path, change: Change, get: Callable[[Any], bytes]) -> None:
    with os.fdopen(open_own(path, os.O_WRONLY), "wb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != change.start:
            raise FoldersDiffer(f"{change.name} has {size} bytes, and the next are those after {change.start}")
        file.seek(size)
        for piece in _pieces(change, get):
            file.write(piece)


def _write(path: Path, change: Change, get: Callable[[Any], bytes]) -> None:
    arriving = path.with_name(f".{path.name}.arriving")
    try:
        with open_new(arriving) as file:
            for piece in _pieces(change, get):
                file.write(piece)
            if path.name == CHECKPOINT:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        arriving.unlink(missing_ok=True)
        raise
    arriving.replace(path)
    if path.name == CHECKPOINT:
        sync_folder(path.parent)


def _sync(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            descriptor = open_own(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
