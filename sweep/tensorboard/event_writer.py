"""One event file, written at once and by the thread that logs.

TensorBoard's own writer hands each record to a thread of its own. On a busy machine that costs more than the writing, and a
record that was not written is found out later, at another call. Here a record is in the file when it was added. Without torch.
"""

from __future__ import annotations

import collections
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

from sweep.storage.regular import identity
from sweep.tensorboard import event_files

_VERSION = "brain.Event:2"  # of the format
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_WAITING = 64 << 20  # bytes
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
        # Records that a full disk has refused, or that are being written.
        self._waiting: collections.deque[bytes] = collections.deque()
        self._waiting_bytes = 0
        self._refused = False  # a record, since too many wait
        self._written: tuple[bytes, int] = b"", 0  # the last record that was, and where it ends
        self._lock = threading.RLock()
        source = SourceMetadata(writer="sweep")
        self.add_event(Event(wall_time=time.time(), file_version=_VERSION, source_metadata=source))

    @property
    def path(self) -> Path:
        """Return the file's path."""
        return Path(self._folder_name, self._name)

    def get_logdir(self) -> str:
        """Return the run folder."""
        return self._folder_name

    def add_event(self, event: _Record) -> None:
        """Append a record.

        Raises:
            OSError: it is not, or not wholly, in the file; the next call writes the rest first.
        """
        record = event_files.record(event.SerializeToString())
        with self._lock:
            self._take(record)
            self._write_waiting()

    def _take(self, record: bytes) -> None:
        if self._refused or (self._waiting and self._waiting_bytes + len(record) > _MOST_WAITING):
            self._refused = True
            raise OSError(errno.ENOSPC, "the disk has been full for long, and records were lost", self._name)
        self._waiting_bytes += len(record)
        self._waiting.append(record)

    def _write_waiting(self) -> None:
        """Write the records that wait.

        A signal handler, or a `__del__`, may log or raise between any two calls here. So a record is written at a place of its
        own, where writing it twice changes nothing, and no call is between a test and what depends on it.
        """
        while self._waiting:
            record = self._waiting[0]
            last, start = self._written
            if record is not last:
                if self._file is None:
                    raise OSError(errno.EBADF, "the event file is closed", self._name)
                at, end = start, start + len(record)
                while at < end:
                    at += os.pwrite(self._file, record[at - start :], at)
                written = record, end
                if self._waiting and self._waiting[0] is record and self._written[0] is last:
                    self._written = written
            if self._waiting and self._waiting[0] is record:
                self._waiting.popleft()
        self._waiting_bytes = 0

    def flush(self) -> None:
        """Write what an error has left.

        Raises:
            OSError: that fails again, or was too much to be kept; or the file was removed or replaced.
        """
        with self._lock:
            self._write_waiting()
            if self._refused:
                self._take(b"")
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
