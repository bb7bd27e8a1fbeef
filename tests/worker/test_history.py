"""The reports of a long trial: flat in its checkpoints, whole when it resumes, whatever happens in between."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.folder import HISTORY
from sweep.worker import history
from sweep.worker.history import History, HistoryDamaged, whole


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_RECENT", 4)


def points(count: int) -> list[tuple[int, float | None]]:
    return [(step, None if step % 5 == 0 else 1 / step if step % 2 else step) for step in range(1, count + 1)]


def read(folder: Path, stored: dict[str, Any]) -> tuple[tuple[int, float | None], ...]:
    return whole(folder, stored.get("earlier"), stored["history"])


def again(folder: Path, stored: dict[str, Any]) -> History:
    return History(folder, stored.get("earlier"), stored["history"])


def test_a_short_history_needs_no_file(tmp_path: Path) -> None:
    """It is in the checkpoint, as in older versions."""
    one = History(tmp_path)
    for point in points(7):
        one.add(*point)
    assert one.stored() == {"history": [list(point) for point in points(7)]}
    assert not (tmp_path / HISTORY).exists()


def test_a_checkpoint_holds_few_reports_however_many_there_are(tmp_path: Path) -> None:
    """The others are in the file once, and all come back in order, with their types."""
    one = History(tmp_path)
    for count, point in enumerate(points(500), start=1):
        one.add(*point)
        stored = one.stored()
        assert len(stored["history"]) < 8
        assert read(tmp_path, stored) == tuple(points(count))
    found = read(tmp_path, stored)
    assert [type(value) for _, value in found] == [type(value) for _, value in points(500)]
    assert len((tmp_path / HISTORY).read_bytes().splitlines()) == stored["earlier"]["reports"] == 500 - len(stored["history"])


def test_a_trial_resumes_from_any_checkpoint_that_there_was(tmp_path: Path) -> None:
    """What was appended after it is cut off, half a line too; then it goes on as if it had not been interrupted."""
    generator = random.Random(1)
    for _ in range(30):
        one, kept = History(tmp_path), []
        for point in points(40):
            one.add(*point)
            kept.append(one.stored())
        at = generator.randrange(40)
        with (tmp_path / HISTORY).open("ab") as file:
            file.write(b"[41, 0.")
        other = again(tmp_path, kept[at])
        for point in points(60)[at + 1 :]:
            other.add(*point)
            last = other.stored()
        assert read(tmp_path, last) == tuple(points(60))


def test_an_append_that_fails_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full in the middle of it."""
    one = History(tmp_path)
    for point in points(20):
        one.add(*point)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            one.stored()
    assert read(tmp_path, one.stored()) == tuple(points(20))


def test_damage_is_seen(tmp_path: Path) -> None:
    """A file that is cut off, changed, gone or replaced by a link is not used; nor is a link written to."""
    one = History(tmp_path)
    for point in points(20):
        one.add(*point)
    stored, path = one.stored(), tmp_path / HISTORY
    content = path.read_bytes()
    for damaged in (content[:-1], b"", content.replace(b"3", b"4", 1)):
        path.write_bytes(damaged)
        with pytest.raises(HistoryDamaged, match=HISTORY):
            read(tmp_path, stored)
    path.unlink()
    with pytest.raises(HistoryDamaged):
        read(tmp_path, stored)
    (tmp_path / "elsewhere").write_bytes(content)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HistoryDamaged):
        read(tmp_path, stored)


def test_a_trial_that_starts_over_has_no_history(tmp_path: Path) -> None:
    """What an earlier attempt left is removed."""
    (tmp_path / HISTORY).write_text("[1, 2]\n")
    History(tmp_path)
    assert not (tmp_path / HISTORY).exists()
