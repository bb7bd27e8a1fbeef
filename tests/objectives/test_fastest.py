"""A way to compute is chosen by measuring, once, and the choice is kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from sweep.objectives.fastest import fastest

SMALL, LARGE = torch.zeros(100), torch.zeros(10_000_000)


def small() -> None:
    SMALL.add_(1)


def large() -> None:
    LARGE.add_(1)


def never() -> None:
    raise AssertionError("nothing is to be measured")


def too_large() -> None:
    raise torch.OutOfMemoryError


def test_the_fastest_is_chosen_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Another process finds the choice, and does not measure."""
    folder = tmp_path / "new"
    assert fastest("additions", {"large": large, "small": small}, "cpu", folder) == "small"
    [path] = folder.iterdir()
    said = capfd.readouterr().out
    assert "additions: large" in said
    assert str(path) in said
    assert fastest("additions", {"large": never, "small": never}, "cpu", folder) == "small"
    assert fastest("others", {"small": small, "large": large}, "cpu", folder) == "small"
    assert len([*folder.iterdir()]) == 2


@pytest.mark.parametrize(("other", "chosen"), [(0.0975, "first"), (0.075, "other")])
def test_the_first_stays_where_less_than_5_percent_is_gained(tmp_path: Path, other: float, chosen: str) -> None:
    """Which may be noise."""
    ways = {"first": lambda: time.sleep(0.1), "other": lambda: time.sleep(other)}
    assert fastest("naps", ways, "cpu", tmp_path) == chosen


def test_a_way_without_enough_memory_is_not_chosen(tmp_path: Path) -> None:
    """Whatever the speed of the other."""
    assert fastest("additions", {"too large": too_large, "large": large}, "cpu", tmp_path) == "large"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"fastest": "removed"}', '{"fastest": ["large"]}'])
def test_a_damaged_choice_is_made_again(tmp_path: Path, content: str) -> None:
    """And one of a way that there is not any more."""
    ways = {"large": large, "small": small}
    fastest("additions", ways, "cpu", tmp_path)
    [path] = tmp_path.iterdir()
    path.write_text(content, encoding="utf-8")
    assert fastest("additions", ways, "cpu", tmp_path) == "small"
    assert json.loads(path.read_text(encoding="utf-8"))["fastest"] == "small"
    assert [*tmp_path.iterdir()] == [path]


def test_the_first_choice_that_is_written_counts(tmp_path: Path) -> None:
    """Of two processes that measure at the same time."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    fastest("additions", {"small": small, "large": large}, "cpu", elsewhere)
    [path] = elsewhere.iterdir()

    def other_process() -> None:
        here.mkdir(exist_ok=True)
        (here / path.name).write_text('{"fastest": "large"}', encoding="utf-8")
        small()

    assert fastest("additions", {"small": other_process, "large": large}, "cpu", here) == "large"


def test_without_a_place_to_keep_it_the_first_is_chosen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Else a trial that is interrupted could go on in another way."""
    (tmp_path / "file").touch()
    assert fastest("additions", {"large": large, "small": small}, "cpu", tmp_path / "file") == "large"
    assert "could not be kept" in capfd.readouterr().out
