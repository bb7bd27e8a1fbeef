"""One event file, written at once and by the thread that logs.

TensorBoard's own writer hands each record to a thread of its own. On a busy machine that costs more than the writing, and a
record that was not written is found out later, at another call. Here a record is in the file when it was added. Without torch.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
from pathlib import Path
from typing import Protocol

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.summary.writer.record_writer import RecordWriter

from sweep.storage.regular import identity
from sweep.tensorboard import event_files

_VERSION = "brain.Event:2"  # of the format
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_PENDING = 1 << 24  # bytes that are kept for a disk that is full
_numbers = itertools.count()


class _Record(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802  # as protobuf names it


class EventWriter:
    """A new event file in a run folder, with what torch's `FileWriter` asks of TensorBoard's; threads may share it.

    Args:
        folder: the run folder; it is made if it is missing, and no link is followed.
        suffix: the end of the file's name, which sorts after those of the event files that are there.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder_name = str(folder)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        others = filter(event_files.is_event_file, os.listdir(self._folder))  # noqa: PTH208  # of a descriptor
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}{suffix}"
        self._name = event_files.sorted_last(name, others)
        try:
            self._file: int | None = os.open(self._name, _FLAGS, 0o666, dir_fd=self._folder)
        except OSError:
            os.close(self._folder)
            raise
        self._identity = identity(os.fstat(self._file))
        # Where the next byte goes, and the bytes that are not written yet: one value, so that an exception that a signal raises
        # at any point (a user's time limit) leaves both or none as they were.
        self._rest = 0, b""
        self._dropped = self._writing = False
        self._lock = threading.RLock()
        self._records = RecordWriter(self)
        source = SourceMetadata(writer="sweep")
        self.add_event(Event(wall_time=time.time(), file_version=_VERSION, source_metadata=source))

    def get_logdir(self) -> str:
        """Return the run folder."""
        return self._folder_name

    def add_event(self, event: _Record) -> None:
        """Append a record.

        Raises:
            OSError: it is not, or not wholly, in the file; the next call writes the rest first.
            RuntimeError: a signal handler logs while the objective does.
        """
        data = event.SerializeToString()
        with self._lock:
            self._records.write(data)

    def write(self, data: bytes) -> None:
        """Append the bytes of a record, as `RecordWriter` asks for it."""
        if self._writing:
            raise RuntimeError("a signal handler has interrupted the writing of another record")
        self._writing = True
        try:
            place, pending = self._rest
            self._dropped = self._dropped or len(pending) > _MOST_PENDING
            self._rest = place, pending + (b"" if self._dropped else data)
            while self._rest[1]:
                self._write_some(*self._rest)
        finally:
            self._writing = False

    def _write_some(self, place: int, pending: bytes) -> None:
        if self._file is None:
            raise OSError(errno.EBADF, "the event file is closed", self._name)
        written = os.pwrite(self._file, pending, place)
        self._rest = place + written, pending[written:]

    def flush(self) -> None:
        """Write what an error has left.

        Raises:
            OSError: that fails again, or records were dropped; or the file was removed or replaced.
        """
        with self._lock:
            self.write(b"")
            if self._dropped:
                raise OSError(errno.ENOSPC, "the disk was full for so long that records were dropped", self._name)
            if (
                self._file is not None
                and identity(os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)) != self._identity
            ):
                raise FileNotFoundError(errno.ENOENT, "the event file was replaced while it was written", self._name)

    def close(self) -> None:
        """Close the file."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                file, self._file = self._file, None
                os.close(self._folder)
                os.close(file)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never opened
            self.close()
