"""Standard input and output that a program can rely on, whatever they are connected to.

A sweep is never ended by its output. A descriptor that was closed leads nowhere, so that no file gets its number. Nobody
reading is no error. What the encoding has no character for is escaped, and so is every control character of a text that is
printed: a parameter's value cannot move the cursor, write to the clipboard or forge a line. Only what rich draws passes.

    print ──► Output.write: escapes ──────────► encodes ──► _Descriptor.write ──► os.write
    rich ───► Formatted.write ────────────────┘                └─ in a thread while a session runs
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TextIO, cast

from sweep.errors import SweepError, printable

# The reader has gone: a closed pipe, a terminal that was closed, a descriptor that somebody closed.
_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN}
# Text that waits for a reader who does not read, before further text is dropped.
_MOST_WAITING = 4_000_000
_POLL_S = 0.05
# How long a session that was stopped waits for a reader who does not read.
_AFTER_A_SIGNAL_S = 2.0


class _Descriptor(io.RawIOBase):
    """Write to a descriptor and drop what cannot be written; `failure` says why, unless `nobody_reads`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.nobody_reads = False
        self.failure: OSError | None = None
        self.background: _Background | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        whole = bytes(data)
        if self.background is not None:
            self.background.put(whole)
        else:
            self.write_all(whole)
        return len(whole)

    def write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody made it non-blocking, perhaps another program with the same terminal
                select.select([], [self._descriptor], [])
            except OSError as error:
                if error.errno in _NOBODY_READS:
                    self.nobody_reads = True
                    _lead_nowhere(self._descriptor)  # what it starts must not meet the same error
                else:
                    self.failure = error
                return


class _Background:
    """Write in a thread, so that a reader who does not read, or a stopped terminal, holds nothing up."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        if self._waiting < _MOST_WAITING:
            self._waiting += len(data)
            self._queue.put(data)

    def end(self, given_up: Callable[[], bool]) -> bool:
        """Wait until everything is written, or given up; return whether it is written."""
        self._queue.put(None)
        while self._thread.is_alive() and not given_up():
            self._thread.join(_POLL_S)
        return not self._thread.is_alive()

    def settle(self, seconds: float) -> None:
        """Wait until everything is written, at most for this time."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            self._thread.join(_POLL_S / 10)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._write(data)
            self._waiting -= len(data)


class Output(io.TextIOWrapper):
    """Standard output or standard error; see above."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self.descriptor = _Descriptor(descriptor)
        lines = descriptor == 2 or self.descriptor.isatty()
        super().__init__(io.BufferedWriter(self.descriptor), encoding, "backslashreplace", line_buffering=lines)

    def write(self, text: str, /) -> int:
        """Write a text; its control characters are escaped."""
        return super().write(printable(text))

    def write_formatted(self, text: str) -> int:
        """Write a text that has escape sequences of this program's."""
        return super().write(text)


class Formatted:
    """Such a stream for rich, whose escape sequences pass.

    Args:
        stream: any other stream passes them as it is.
    """

    def __init__(self, stream: Output) -> None:
        self._stream = stream
        self.write = stream.write_formatted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secure() -> None:
    """Make standard input and output such streams; call this first of all, before a file gets the number of a closed one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _lead_nowhere(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stdout = Output(1, getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = Output(2, getattr(sys.stderr, "encoding", "utf-8"))


def formatted(stream: TextIO) -> IO[str]:
    """Return a stream as one that passes rich's escape sequences."""
    return cast("IO[str]", Formatted(stream)) if isinstance(stream, Output) else stream


def tell_what_is_lost() -> bool:
    """Say on stderr if something that was printed is lost although it is read, on a full disk for instance; return whether."""
    if not isinstance(sys.stdout, Output):
        return False
    sys.stdout.flush()
    failure, sys.stdout.descriptor.failure = sys.stdout.descriptor.failure, None
    if failure is not None:
        error = SweepError("output-lost", f"some of the output could not be written: {failure.strerror}", do="make room")
        print(error, file=sys.stderr)
    return failure is not None


def nobody_reads() -> bool:
    """Return whether the reader of stdout has gone: a closed pipe or terminal."""
    if not isinstance(sys.stdout, Output):
        return False
    poll = select.poll()
    poll.register(1, 0)
    return sys.stdout.descriptor.nobody_reads or bool(poll.poll(0))  # an error, or hung up: nothing else was asked for


@contextlib.contextmanager
def in_background(signals: Sequence[int]) -> Iterator[None]:
    """Write stdout in a thread while the block runs, then wait until it is read: after a signal a moment, else until one comes.

    Args:
        signals: the numbers of those that came; a handler adds to them.
    """
    if not isinstance(sys.stdout, Output):
        yield
        return
    stream, descriptor = sys.stdout, sys.stdout.descriptor
    descriptor.background = background = _Background(descriptor.write_all)
    try:
        yield
    finally:
        stream.flush()
        before, deadline = len(signals), time.monotonic() + _AFTER_A_SIGNAL_S
        if background.end(lambda: len(signals) > before or (before > 0 and time.monotonic() > deadline)):
            descriptor.background = None


def settle() -> None:
    """Wait a moment until what was printed is on the terminal."""
    if isinstance(sys.stdout, Output) and sys.stdout.descriptor.background is not None:
        sys.stdout.flush()
        sys.stdout.descriptor.background.settle(_AFTER_A_SIGNAL_S)


def _lead_nowhere(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing == descriptor:
        os.set_inheritable(nothing, True)
        return
    os.dup2(nothing, descriptor)
    os.close(nothing)
