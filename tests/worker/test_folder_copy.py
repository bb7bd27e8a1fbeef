"""A run folder in two places: after each report the copy is what the original is."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from sweep.worker.executors.ray import folder_copy
from sweep.worker.executors.ray.folder_copy import Change, FoldersDiffer, Watched, apply

EVENTS = "events.out.tfevents.1.host"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "original"
    folder.mkdir()
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def grow(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def save(folder: Path, data: bytes) -> None:
    """Write a checkpoint as a trial does."""
    unfinished, last = folder / ".checkpoint.pt.unfinished", folder / "checkpoint.pt"
    unfinished.write_bytes(data)
    if last.exists():
        last.replace(folder / "checkpoint.previous.pt")
    unfinished.replace(last)


def test_the_copy_follows_report_by_report(original: Path, copy: Path) -> None:
    """Event files and logs by their new end alone, a renamed checkpoint by its name alone."""
    watched = Watched(original)
    for step in range(4):
        grow(original / EVENTS, b"record %d;" % step)
        grow(original / "log.txt", b"line %d\n" % step)
        save(original, os.urandom(1000))
        changes = watched.changes()
        apply(copy, changes)
        assert content(copy) == content(original)
        sent = {change.name: sum(map(len, change.content or ())) for change in changes}
        assert sent == {EVENTS: 9, "log.txt": 7, "checkpoint.pt": 1000} | ({"checkpoint.previous.pt": 0} if step else {})
        assert changes[-1].name == "checkpoint.pt"
    assert watched.changes() == []


def test_what_the_trial_writes_itself_follows_too(original: Path, copy: Path) -> None:
    """In folders of its own; what it removes goes, what it cuts is sent whole, links and unfinished files are not sent."""
    watched = Watched(original)
    (original / "mine" / "deep").mkdir(parents=True)
    (original / "mine" / "deep" / "a.txt").write_text("one")
    (original / "mine" / "b.txt").write_text("two")
    (original / ".checkpoint.pt.unfinished").write_text("half")
    (original / "link").symlink_to("/etc/passwd")
    grow(original / "log.txt", b"0123456789")
    apply(copy, watched.changes())
    assert content(copy) == {"mine/deep/a.txt": b"one", "mine/b.txt": b"two", "log.txt": b"0123456789"}
    (original / "mine" / "b.txt").unlink()
    (original / "mine" / "deep" / "a.txt").write_text("more")
    os.truncate(original / "log.txt", 4)
    apply(copy, watched.changes())
    assert content(copy) == {"mine/deep/a.txt": b"more", "log.txt": b"0123"}


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_changes_is_followed(original: Path, copy: Path, seed: int) -> None:
    """Also when several happen between two looks."""
    draws, watched = random.Random(seed), Watched(original)
    names = [EVENTS, "log.txt", "a.bin", "b.bin", "sub/c.bin"]
    for _ in range(30):
        for _ in range(draws.randint(1, 4)):
            path, other = (original / draws.choice(names) for _ in range(2))
            path.parent.mkdir(exist_ok=True)
            match draws.choice(["grow", "write", "move", "remove", "save"]):
                case "grow":
                    grow(path, draws.randbytes(draws.randint(1, 50)))
                case "write" if path.name not in (EVENTS, "log.txt"):
                    path.write_bytes(draws.randbytes(draws.randint(0, 50)))
                case "move" if path.exists() and not {path.name, other.name} & {EVENTS, "log.txt"} and other.parent.exists():
                    path.replace(other)
                case "remove" if path.name not in (EVENTS, "log.txt"):
                    path.unlink(missing_ok=True)
                case "save":
                    save(original, draws.randbytes(40))
        apply(copy, watched.changes())
        assert content(copy) == content(original)


def test_a_large_file_goes_in_pieces(original: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is put somewhere, and fetched when its turn comes."""
    monkeypatch.setattr(folder_copy, "CHUNK_BYTES", 100)
    store: list[bytes] = []

    def put(piece: bytes) -> int:
        store.append(piece)
        return len(store) - 1

    save(original, random.Random(0).randbytes(1050))
    changes = Watched(original, put).changes()
    assert changes[0].content == tuple(range(11))
    apply(copy, changes, store.__getitem__)
    assert content(copy) == content(original)


def test_a_trial_that_moves_takes_its_folder_along(original: Path, copy: Path) -> None:
    """All of it is sent to the new node, and from there only what changes."""
    save(original, b"state")
    grow(original / EVENTS, b"records")
    apply(copy, Watched(original).changes())
    there = Watched(copy)
    there.mark()
    assert there.changes() == []
    grow(copy / EVENTS, b"more")
    apply(original, there.changes())
    assert content(original) == content(copy)


@pytest.mark.parametrize(
    "name",
    ["../out", "/etc/out", "a/../../out", "", "link/out", "a\0b"],
    ids=["up", "absolute", "up inside", "none", "link", "NUL"],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, copy: Path, name: str) -> None:
    """Content comes from another machine."""
    copy.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (copy / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FoldersDiffer):
        apply(copy, [Change(name=name, content=(b"x",), size=1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "elsewhere"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_in_a_files_place_is_not_followed(tmp_path: Path, copy: Path) -> None:
    """It is replaced where the file is new, and refused where it grows."""
    copy.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (copy / "a.txt").symlink_to(outside)
    (copy / "log.txt").symlink_to(outside)
    apply(copy, [Change(name="a.txt", content=(b"x",), size=1)])
    with pytest.raises(OSError, match="link"):
        apply(copy, [Change(name="log.txt", content=(b"x",), start=4, size=5)])
    assert outside.read_text() == "mine"
    assert (copy / "a.txt").read_text() == "x"


@pytest.mark.parametrize(
    "change",
    [
        Change(name="a.txt", content=(b"xy",), size=1),
        Change(name="a.txt", content=(b"x",), size=2),
        Change(name="log.txt", content=(b"x",), start=3, size=4),
        Change(name="b.txt", moved_from="log.txt", size=9),
        Change(name="b.txt", moved_from="missing", size=9),
    ],
    ids=["too much", "too little", "a gap", "another size", "nothing there"],
)
def test_what_does_not_fit_is_refused(copy: Path, change: Change) -> None:
    """The file keeps what it had."""
    copy.mkdir()
    (copy / "log.txt").write_text("ab")
    with pytest.raises(FoldersDiffer):
        apply(copy, [change])
    assert content(copy) == {"log.txt": b"ab"}
