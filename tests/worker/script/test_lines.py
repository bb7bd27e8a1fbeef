"""Lines: the same whatever pieces they arrive in, and long ones in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.worker.script import lines
from sweep.worker.script.lines import GrowingFile, Piece, Splitter


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"\xc3", b"\xa9", b"\r\n"])))
def test_lines_do_not_depend_on_the_pieces_that_arrive(data: list[bytes]) -> None:
    """A letter or a line may be cut anywhere; what is no UTF-8 is replaced, and the last line needs no end."""
    splitter = Splitter()
    found = [piece for part in [*filter(None, data), b""] for piece in splitter.take(part)]
    whole = b"".join(data).decode("utf-8", "replace").split("\n")
    assert [piece.text for piece in found] == (whole if whole[-1] else whole[:-1])
    assert all(piece.whole for piece in found)


def test_a_long_line_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is taken for a line of its own."""
    monkeypatch.setattr(lines, "LONGEST", 10)
    splitter = Splitter()
    found = [piece for part in (b"x" * 8, b"y" * 8, b"z\n{}\n", b"") for piece in splitter.take(part)]
    assert found == [Piece("x" * 8 + "y" * 8, ends=False), Piece("z", begins=False), Piece("{}")]


def test_only_an_ordinary_file_is_read(tmp_path: Path) -> None:
    """A named pipe, a device or a folder neither waits nor fails."""
    path = tmp_path / "metrics.jsonl"
    os.mkfifo(path)
    assert [*GrowingFile(path, from_end=False).lines(last=True)] == []
    for target in (Path("/dev/zero"), path):
        path.unlink()
        path.symlink_to(target)
        assert [*GrowingFile(path, from_end=False).lines(last=True)] == []
    path.unlink()
    path.mkdir()
    assert [*GrowingFile(path, from_end=False).lines(last=True)] == []
