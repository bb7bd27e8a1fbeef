"""The event files of a run folder, counted and cut back."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from sweep.tensorboard.event_files import RecordCounter, cut_back, record
from sweep.tensorboard.event_writer import EventWriter
from tests.support.deep import deep_folders


def test_folders_that_are_nested_deeper_than_python_can_recurse(tmp_path: Path) -> None:
    """An objective, or a stranger, may have made them: what is in reach is counted and cut back, and nothing is raised."""
    for folder in (tmp_path, tmp_path / "near"):
        writer = EventWriter(folder, "")
        writer.add_event(Event(step=1))
        writer.close()
    (tmp_path / "near" / "events.out.tfevents.link").symlink_to("/")
    with deep_folders(tmp_path / "near", 2500):
        counts = RecordCounter(tmp_path).count()
        assert [*counts.values()] == [2, 2]
        cut_back(tmp_path, {name: 1 for name in counts if "near" in name})
        assert RecordCounter(tmp_path).count() == {name: 1 for name in counts if "near" in name}
        assert not (tmp_path / "near" / "events.out.tfevents.link").is_symlink()


@pytest.mark.parametrize("length", [0, 1, 7, 255, 70_000])
def test_a_record_is_the_one_that_tensorboard_writes(length: int) -> None:
    """Byte for byte, checksums too."""
    data = bytes(number * 37 % 251 for number in range(length))
    theirs = io.BytesIO()
    RecordWriter(theirs).write(data)
    assert record(data) == theirs.getvalue()
