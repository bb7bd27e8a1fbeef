"""Lines as they arrive through pipes, sockets and files, at a cost that grows with the bytes alone and in bounded memory."""

from __future__ import annotations

import codecs
import os
import selectors
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sweep.storage.regular import open_regular

LONGEST = 1 << 23  # characters of a line that is kept whole
_PIECE = 1 << 16


class Piece(NamedTuple):
    """A line, or a part of one that is longer than `LONGEST`."""

    text: str
    begins: bool = True
    ends: bool = True

    @property
    def whole(self) -> bool:
        """Return whether this is a whole line."""
        return self.begins and self.ends


class Splitter:
    """Cut bytes into lines; what is no UTF-8 is replaced."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._length = 0
        self._begins = True

    def take(self, data: bytes) -> list[Piece]:
        """Return the lines that are complete with these bytes; no bytes mean the end, which completes the last line."""
        *lines, rest = self._decoder.decode(data, final=not data).split("\n")
        found = []
        for line in lines:
            found.append(self._piece(line, ends=True))
            self._begins = True
        self._parts.append(rest)
        self._length += len(rest)
        if self._length > LONGEST:
            found.append(self._piece("", ends=False))
            self._begins = False
        elif not data and (self._length or not self._begins):
            found.append(self._piece("", ends=True))
            self._begins = True
        return found

    def _piece(self, last: str, *, ends: bool) -> Piece:
        if not self._parts:
            return Piece(last, self._begins, ends)
        text = "".join([*self._parts, last])
        self._parts, self._length = [], 0
        return Piece(text, self._begins, ends)


class GrowingFile:
    """The lines of a file that grows; if it is written anew, it is read from its beginning.

    Args:
        path: it need not exist yet; what is no ordinary file is not read.
        from_end: an earlier attempt has read what it holds already.
    """

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._place = path.stat().st_size if from_end and path.exists() else 0
        self._splitter = Splitter()

    def lines(self, *, last: bool = False) -> Iterator[Piece]:
        """Iterate over the lines that are complete since the last call; with `last`, an unfinished one too."""
        file = open_regular(self._path)
        if file is None:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if size < self._place:
                self._place, self._splitter = 0, Splitter()
            file.seek(self._place)
            while self._place < size and (data := file.read(_PIECE)):
                self._place += len(data)
                yield from self._splitter.take(data)
        if last:
            yield from self._splitter.take(b"")


def line_reader(selector: selectors.BaseSelector, source: Any, take: Callable[[list[Piece]], None]) -> None:
    """Call a function with the lines of a pipe when the selector finds them; close the source at its end."""
    splitter = Splitter()

    def read() -> None:
        try:
            data = os.read(source.fileno(), _PIECE)
        except OSError:  # the other process was killed
            data = b""
        if not data:
            selector.unregister(source)
            source.close()
        take(splitter.take(data))

    selector.register(source, selectors.EVENT_READ, read)
