"""The reports of a trial: the latest are in its checkpoint, the earlier ones in a file to which they are only ever appended.

    checkpoint.pt              {"history": [[step, value], ...], "earlier": {"bytes": ..., "reports": ..., "sha256": ...}}
    checkpoint.history.jsonl   a line for each earlier report: [step, value]

So a checkpoint takes the same time after 100,000 reports as after ten. What is appended is synced before the checkpoint that
counts on it is written. Each of the two checkpoints knows how much of the file is its own: the next attempt cuts the file back
to that. A trial with few reports has no such file, and neither has a checkpoint of an older version.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sweep.storage.folder import HISTORY
from sweep.storage.regular import open_own

Point = tuple[int, float | None]
# As many stay in a checkpoint, at least; with twice as many the older half moves to the file.
_RECENT = 64


class HistoryDamaged(Exception):
    """The file lacks reports that a checkpoint counts on; the message says why."""


class History:
    """Step and objective value of each report of a trial; the value is None before it is first reported.

    Args:
        folder: the run folder.
        earlier, recent: what the checkpoint records of the file, and the points that it has itself; none if the trial starts.
        passed: called with the name of each lasting effect.
    """

    def __init__(
        self,
        folder: Path,
        earlier: Mapping[str, Any] | None = None,
        recent: Iterable[Iterable[Any]] = (),
        passed: Callable[[str], None] = lambda _effect: None,
    ) -> None:
        self._path, self._passed = folder / HISTORY, passed
        self._recent: list[Point] = [(step, value) for step, value in recent]
        self._size, self._reports, self._digest = 0, 0, hashlib.sha256()
        if earlier is None:
            self._path.unlink(missing_ok=True)
        else:
            content = _content(folder, earlier)
            self._size, self._reports = len(content), int(earlier["reports"])
            self._digest.update(content)
            with _opened(self._path, os.O_WRONLY) as file:
                file.truncate(self._size)

    def add(self, step: int, value: float | None) -> None:
        """Add a report."""
        self._recent.append((step, value))

    def stored(self) -> dict[str, Any]:
        """Return what a checkpoint records, once everything else is on the disk.

        Raises:
            OSError: it cannot be written; the next call tries again.
        """
        if len(self._recent) >= 2 * _RECENT:
            self._append(len(self._recent) - _RECENT)
        content: dict[str, Any] = {"history": [list(point) for point in self._recent]}
        if self._size:
            content["earlier"] = {"bytes": self._size, "reports": self._reports, "sha256": self._digest.hexdigest()}
        return content

    def _append(self, count: int) -> None:
        data = "".join(f"{json.dumps(point)}\n" for point in self._recent[:count]).encode()
        with _opened(self._path, os.O_WRONLY | os.O_CREAT) as file:
            file.truncate(self._size)  # half of an append that failed
            file.seek(self._size)
            file.write(data)
            file.flush()
            self._passed("reports written")
            os.fsync(file.fileno())
        self._passed("reports synced")
        self._size, self._reports = self._size + len(data), self._reports + count
        self._digest.update(data)
        del self._recent[:count]


def whole(folder: Path, earlier: Mapping[str, Any] | None, recent: Iterable[Iterable[Any]]) -> tuple[Point, ...]:
    """Return all reports of a checkpoint, the first one first.

    Raises:
        HistoryDamaged: the file does not have what the checkpoint counts on.
    """
    points = [] if earlier is None else json.loads(b"[" + b",".join(_content(folder, earlier).splitlines()) + b"]")
    return tuple((step, value) for step, value in (*points, *recent))


def _content(folder: Path, earlier: Mapping[str, Any]) -> bytes:
    """Return the part of the file that a checkpoint counts on."""
    content, size = b"", int(earlier["bytes"])
    try:
        with _opened(folder / HISTORY, os.O_RDONLY) as file:
            content = file.read(size)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):  # it may be readable later
            raise
    if len(content) != size or hashlib.sha256(content).hexdigest() != earlier["sha256"]:
        raise HistoryDamaged(f"{HISTORY}, which has its earlier reports, was cut off or damaged")
    return content


def _opened(path: Path, flags: int) -> BinaryIO:
    """Open the file; a link is not followed."""
    return os.fdopen(open_own(path, flags), "rb" if flags == os.O_RDONLY else "wb")
