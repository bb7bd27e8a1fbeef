"""Event files as files: count their records, cut them back, sort a new one after the others. Without torch.

A file is a sequence of records: length (uint64), checksum of the length, the data, checksum of the data. A process that is
killed may leave half a record at the end. Positions are counted in records, not in bytes, because `hparams.renew` replaces
records by longer or shorter ones when a study is extended.

The checksum is the masked CRC-32C of the TFRecord format (TensorFlow's documentation, "TFRecord and tf.train.Example").
TensorBoard computes it byte by byte in Python, 12 ms for a picture of 100 kB; google-crc32c takes 0.03 ms.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import os
import shutil
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from sweep.storage.regular import NotRegular, files_below, open_new, open_own

PATTERN = "events.out.tfevents*"
_HIDDEN = "events.out.dropped"  # in place of the beginning of a name: TensorBoard reads every name with `tfevents` in it
_SHOWN = PATTERN.removesuffix("*")
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_FOOTER = struct.Struct("<I")
CHECKSUM = _FOOTER.size
_appending = threading.Lock()


class NotEnoughRecords(Exception):
    """An event file has fewer records than it should, or is missing."""


def record(data: bytes) -> bytes:
    """Return a record with this data."""
    return _HEADER.pack(len(data), _checksum(_LENGTH.pack(len(data)))) + data + _FOOTER.pack(_checksum(data))


def records(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Iterate over the records from the file's position on: where the data of each begins, and its length in bytes.

    This ends at a record that is cut off or whose length is damaged; the data's own checksum is not checked.
    """
    size = os.fstat(file.fileno()).st_size
    place = file.tell()
    while place + _HEADER.size <= size:
        file.seek(place)
        header = file.read(_HEADER.size)
        length, checksum = _HEADER.unpack(header)
        end = place + _HEADER.size + length + CHECKSUM
        if _checksum(header[: _LENGTH.size]) != checksum or end > size:
            return
        yield place + _HEADER.size, length
        place = end


def events(path: Path) -> Iterator[tuple[int, int, Any]]:
    """Iterate over the records of a file, as `records` does; the third of each is its `Event`."""
    from tensorboard.compat.proto.event_pb2 import Event

    with _opened(path) as file:
        for start, length in records(file):
            file.seek(start)
            yield start, length, Event.FromString(file.read(length))


class RecordCounter:
    """Count the records of a run folder's event files; reads only what was added since the last count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: dict[str, tuple[int, int]] = {}  # relative path: bytes, records

    def count(self, *, sync: bool = False) -> dict[str, int]:
        """Return the number of whole records in each file, by path relative to the run folder.

        Args:
            sync: fsync each file that has grown.
        """
        # Not links, which may lead anywhere: TensorBoard's own runs in a run folder are files.
        found = (path for path in files_below(self._folder, PATTERN) if path.is_file() and not path.is_symlink())
        paths = {path.relative_to(self._folder).as_posix(): path for path in found}
        self._counted = {name: counted for name, counted in self._counted.items() if name in paths}
        for name, path in paths.items():
            place, number = self._counted.get(name, (0, 0))
            with _opened(path) as file:
                if name in self._counted and os.fstat(file.fileno()).st_size == place:
                    continue
                if sync:
                    os.fsync(file.fileno())
                file.seek(place)
                for start, length in records(file):
                    place, number = start + length + CHECKSUM, number + 1
            self._counted[name] = place, number
        return {name: number for name, (_, number) in self._counted.items()}


def cut_back(folder: Path, counts: Mapping[str, int]) -> None:
    """Cut each event file of a run folder back to a number of records, and remove the files without a number.

    Raises:
        NotEnoughRecords: a file has fewer; then nothing is changed.
    """
    ends = {folder / name: _end_of(folder / name, count) for name, count in counts.items()}
    for path in [*files_below(folder, PATTERN)]:
        if path not in ends:
            if path.is_symlink() or not path.is_dir():
                path.unlink()
        elif path.stat().st_size != ends[path]:
            _truncate(path, ends[path])


def count(path: Path) -> int:
    """Return the number of whole records in a file."""
    with _opened(path) as file:
        return sum(1 for _ in records(file))


def append(path: Path, data: Iterable[bytes]) -> None:
    """Append records with these data, all or none, to a file that its writer has closed; threads may do so at the same time.

    Raises:
        OSError: they cannot be written.
    """
    written = b"".join(map(record, data))
    with _appending, os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if file.write(written) != len(written):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            file.truncate(size)  # TensorBoard reads nothing after half a record
            raise


def hide(run_folder: Path) -> None:
    """Rename the event files of a run that has ended, and of what is below it, so that TensorBoard does not read them."""
    _rename(run_folder, _SHOWN, _HIDDEN)


def show(run_folder: Path) -> None:
    """Give the event files of a run back the names that they had before `hide`."""
    _rename(run_folder, _HIDDEN, _SHOWN)


def are_shown(run_folder: Path) -> bool:
    """Return whether TensorBoard reads any event file of a run, or of what is below it."""
    return any(files_below(run_folder, PATTERN))


def hidden_in(root: Path) -> set[Path]:
    """Return those folders in a folder that have hidden event files, however deep."""
    found = (path.relative_to(root).parts for path in files_below(root, f"{_HIDDEN}*"))
    return {root / first for first, *below in found if below}


def _rename(run_folder: Path, old: str, new: str) -> None:
    for path in [*files_below(run_folder, f"{old}*")]:
        place = path.with_name(new + path.name.removeprefix(old))
        if not os.path.lexists(place):
            path.rename(place)


def found(path: Path) -> Path | None:
    """Return the path that an event file has now: this one, or that of a hidden one; None if it is gone."""
    hidden = path.with_name(_HIDDEN + path.name.removeprefix(_SHOWN))
    return next((place for place in (path, hidden) if place.exists()), None)


def of_run(run_folder: Path) -> list[Path]:
    """Return the event files of a run in their order, hidden or not, without what is below it."""
    return sorted([*run_folder.glob(PATTERN), *run_folder.glob(f"{_HIDDEN}*")])


def replace_record(path: Path, start: int, length: int, data: bytes) -> None:
    """Replace the data of one record, which begins at `start` and has `length` bytes; at every moment the file is whole."""
    unfinished = path.with_name(".record.unfinished")  # TensorBoard reads every name with `tfevents` in it
    try:
        with _opened(path) as old, open_new(unfinished) as new:
            new.write(old.read(start - _HEADER.size))
            new.write(record(data))
            old.seek(start + length + CHECKSUM)
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def cut_before(path: Path, start: int) -> None:
    """Cut off the record whose data begins at `start`, and all after it."""
    _truncate(path, start - _HEADER.size)


def cut_after(path: Path, count: int) -> None:
    """Cut off all records after this many.

    Raises:
        NotEnoughRecords: the file has fewer.
    """
    _truncate(path, _end_of(path, count))


def cut_torn_ends(folder: Path) -> None:
    """Cut off half a record, which a killed process may have left: TensorBoard reads nothing after it."""
    cut_back(folder, RecordCounter(folder).count())


def is_event_file(name: str) -> bool:
    """Return whether a file has the name of an event file."""
    return fnmatch.fnmatchcase(name, PATTERN)


def sorted_last(name: str, others: Iterable[str]) -> str:
    """Return a name for an event file that sorts after the others in its folder, the order in which TensorBoard reads them.

    The name has the time in seconds. Within one second, or after the clock was set back, the new file would else be read first.
    """
    last = max(others, default="")
    with contextlib.suppress(ValueError, IndexError):
        if name <= last:
            return f"events.out.tfevents.{int(last.split('.')[3]) + 1:010d}.{name.split('.', 4)[4]}"
    return name


def _checksum(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(open_own(path, os.O_RDONLY), "rb")


def _truncate(path: Path, size: int) -> None:
    with os.fdopen(open_own(path, os.O_WRONLY), "wb") as file:
        file.truncate(size)


def _end_of(path: Path, count: int) -> int:
    ends = [0]
    with contextlib.suppress(FileNotFoundError, NotRegular), _opened(path) as file:
        ends += [start + length + CHECKSUM for start, length in itertools.islice(records(file), count)]
    if len(ends) <= count:
        raise NotEnoughRecords(f"{path} holds {len(ends) - 1} whole records, {count} are needed")
    return ends[count]
