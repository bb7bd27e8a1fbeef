"""One event file, read by the same rules as TensorBoard's."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event

from sweep.tensorboard import event_writer
from sweep.tensorboard.event_files import PATTERN, events
from sweep.tensorboard.event_writer import EventWriter


def steps(path: Path) -> list[int]:
    """Return the steps of a file's whole records, without the first, which has the version."""
    return [event.step for _, _, event in events(path)][1:]


def test_a_record_is_in_the_file_when_it_was_added_and_no_thread_is_started(tmp_path: Path) -> None:
    """Whoever reads meanwhile finds it without a flush."""
    before = threading.active_count()
    writer = EventWriter(tmp_path / "run", ".own")
    (path,) = (tmp_path / "run").glob(PATTERN)
    assert path.name.endswith(".own")
    assert next(events(path))[2].file_version == "brain.Event:2"
    for step in range(1, 4):
        writer.add_event(Event(step=step))
        assert steps(path) == [*range(1, step + 1)]
    assert threading.active_count() == before
    writer.close()


def test_threads_share_a_writer(tmp_path: Path) -> None:
    """No record is within another."""
    writer = EventWriter(tmp_path, "")

    def write(first: int) -> None:
        for i in range(200):
            writer.add_event(Event(step=first + i))

    threads = [threading.Thread(target=write, args=(first,)) for first in (1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = steps(next(tmp_path.glob(PATTERN)))
    assert sorted(found) == [first + i for first in (1000, 2000, 3000) for i in range(200)]


def test_what_a_full_disk_refused_is_written_first_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has taken half of a record; no reader sees that, and no record is lost."""
    writer = EventWriter(tmp_path, "")
    (path,) = tmp_path.glob(PATTERN)
    write, room = os.pwrite, [10]

    def full(descriptor: int, data: bytes, place: int) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: room.pop()], place)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        for step in (1, 2):
            with pytest.raises(OSError, match="No space"):
                writer.add_event(Event(step=step))
        with pytest.raises(OSError, match="No space"):
            writer.flush()
    assert steps(path) == []
    writer.flush()
    writer.add_event(Event(step=3))
    assert steps(path) == [1, 2, 3]


def test_a_disk_that_stays_full_takes_no_memory_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is lost, and `flush` says so from then on, though there is room again; one large record is kept."""
    monkeypatch.setattr(event_writer, "_MOST_WAITING", 1000)
    writer = EventWriter(tmp_path, "")
    writer.add_event(Event(step=1, file_version="x" * 5000))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        for step in range(2, 500):
            with pytest.raises(OSError, match=r"No space|records were lost"):
                writer.add_event(Event(step=step))
    assert sum(map(len, writer._waiting)) < 1000
    for _ in range(2):
        with pytest.raises(OSError, match="records were lost"):
            writer.flush()
    found = steps(next(tmp_path.glob(PATTERN)))
    assert found == [*range(1, len(found) + 1)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("inner", ["logs", "flushes", "raises", "logs and raises"])
def test_a_signal_handler_that_logs_or_raises_while_a_record_is_written_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, when: str
) -> None:
    """So does a `__del__`: both run between any two calls. Before or after the system has written."""
    writer = EventWriter(tmp_path, "")
    busy: list[bool] = []
    write = os.pwrite

    def handler() -> None:
        if busy:
            return
        busy.append(True)
        if "logs" in inner:
            for step in (100, 101):
                writer.add_event(Event(step=step))
        if inner == "flushes":
            writer.flush()
        if "raises" in inner:
            raise TimeoutError

    def interrupted(descriptor: int, data: bytes, place: int) -> int:
        if when == "before":
            handler()
        written = write(descriptor, data[: len(data) // 2], place)  # a system may write a part only
        if when == "after":
            handler()
        return written

    writer.add_event(Event(step=1))
    with monkeypatch.context() as patched, contextlib.suppress(TimeoutError):
        patched.setattr(os, "pwrite", lambda *words: interrupted(*words) if len(words[1]) > 4 else write(*words))
        writer.add_event(Event(step=2))
    writer.add_event(Event(step=3))
    assert steps(next(tmp_path.glob(PATTERN))) == [1, 2, *([100, 101] if "logs" in inner else []), 3]


@pytest.mark.parametrize("how", ["removed", "replaced", "renamed", "linked"])
def test_a_flush_says_that_the_file_is_not_there_any_more(tmp_path: Path, how: str) -> None:
    """What was put in its place is left alone."""
    writer = EventWriter(tmp_path, "")
    (path,) = tmp_path.glob(PATTERN)
    writer.flush()
    path.rename(tmp_path / "other") if how in ("renamed", "linked") else path.unlink()
    if how == "linked":
        path.symlink_to("other")
    if how == "replaced":
        path.write_bytes(b"mine")
    with pytest.raises(FileNotFoundError):
        writer.flush()
    assert how != "replaced" or path.read_bytes() == b"mine"


def test_a_link_in_place_of_the_run_folder_is_not_followed(tmp_path: Path) -> None:
    """The folder that it leads to stays empty."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="run"):
        EventWriter(tmp_path / "run", "")
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_the_files_of_one_second_are_read_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    """TensorBoard sorts them by name; the clock may also have been set back."""
    names = [f"events.out.tfevents.{2**33:010d}.host.1.0"]
    (tmp_path / names[0]).write_bytes(b"")
    for _ in range(12):
        EventWriter(tmp_path, "").close()
        names += {path.name for path in tmp_path.glob(PATTERN)} - set(names)
    assert names == sorted(names)
    assert len(names) == 13
