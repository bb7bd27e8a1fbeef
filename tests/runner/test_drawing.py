"""The last pictures of trials are drawn by the runner."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweep.runner.drawing import Drawing
from sweep.storage.folder import PICTURES
from sweep.tensorboard import drawings
from sweep.tensorboard.drawings import Picture
from sweep.tensorboard.run_writer import RunWriter
from tests.conftest import Cli
from tests.support.interrupting import kill_runner_at
from tests.support.reading import points, records
from tests.support.studies import write_objectives, write_study

STUDY = """
name: drawn
objective: mine:shows
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2, 3]}
log: {graph: false, histograms: false, projector: true}
workers: {devices: cpu, per_device: 2}
"""


def leave(root: Path, number: int) -> Path:
    """Make a run that has left a picture; return its folder."""
    writer = RunWriter(root / f"{number:04}")
    writer.close()
    drawings.leave(
        writer.events.path, [Picture(tag="m", step=1, values=np.eye(2, dtype=int), texts=["a", "b"], is_grid=False)], {}
    )
    return Path(writer.log_dir)


def test_the_session_waits_until_everything_is_drawn(tmp_path: Path) -> None:
    """In a thread, so that the runner goes on meanwhile."""
    said: list[str] = []
    with Drawing([], said.append) as drawing:
        runs = [leave(tmp_path, number) for number in range(5)]
        for run in runs:
            drawing.ended(run, lambda: True)
        drawing.ended(tmp_path / "without", lambda: True)
    assert [points(run) for run in runs] == [[("image", "m", 1)]] * 5
    assert said == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("drawing")]


def test_what_a_killed_session_left_is_drawn_first(tmp_path: Path) -> None:
    """Before the next one starts a trial; where that takes a while, it is said."""
    runs = [leave(tmp_path, number) for number in range(30)]
    said: list[str] = []
    with Drawing(runs, said.append):
        assert [points(run) for run in runs] == [[("image", "m", 1)]] * 30
    assert said == ["drawing the last pictures of 30 trials for TensorBoard, as an earlier session was killed"]


def test_what_cannot_be_drawn_is_said_and_ends_nothing(tmp_path: Path) -> None:
    """The other pictures are drawn."""
    said: list[str] = []
    with Drawing([], said.append) as drawing:
        runs = [leave(tmp_path, number) for number in range(2)]
        (runs[0] / PICTURES).write_bytes(b"nothing")
        for run in runs:
            drawing.ended(run, lambda: True)
    [line] = said
    assert line.startswith("the last pictures of 0000 could not be drawn: ")
    assert points(runs[1]) == [("image", "m", 1)]


def test_an_error_does_not_wait_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not begun is drawn by the next session."""
    begun = threading.Event()
    may_end = threading.Event()
    draw = drawings.draw

    def slowly(run_folder: Path, **options: Any) -> None:
        begun.set()
        may_end.wait(10)
        draw(run_folder, **options)

    monkeypatch.setattr(drawings, "draw", slowly)
    drawing = Drawing([], print)
    runs = [leave(tmp_path, number) for number in range(3)]

    def session() -> None:
        with drawing:
            for run in runs:
                drawing.ended(run, lambda: True)
            begun.wait(10)
            threading.Timer(0.2, may_end.set).start()
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        session()
    assert [drawings.is_left(run) for run in runs] == [False, True, True]


@pytest.mark.slow
def test_each_picture_is_there_once_wherever_the_runner_is_killed(cli: Cli, here: Path) -> None:
    """As often as in a session that nobody disturbs; and each trial has one event file."""
    write_objectives(here)
    study = write_study(here, STUDY)
    whole = cli("run", str(study), "name=whole")
    assert whole.code == 0, whole.err
    root = here / "runs" / "whole"
    expected = [sorted(points(root / record.folder)) for record in records(root)]
    assert all(("image", "predictions/confusion", 3) in found for found in expected)
    assert all(len(list((root / record.folder).glob("events*"))) == 1 for record in records(root))
    kept = {str(path.relative_to(root)) for path in root.rglob("projector_config.pbtxt")}
    assert len(kept) == 2  # of the first trial's data, and of the best trial's model
    root = here / "runs" / "drawn"
    for place in ("sweep.tensorboard.drawings.draw", "sweep.tensorboard.event_files.append"):
        for when in ("before", "after"):
            kill_runner_at(place, when, 1, "run", str(study), here=here)
            done = cli("run", str(study))
            assert done.code == 0, done.err
            assert [sorted(points(root / record.folder)) for record in records(root)] == expected
            assert not list(root.rglob(PICTURES))
            assert {str(path.relative_to(root)) for path in root.rglob("projector_config.pbtxt")} == kept
            shutil.rmtree(root)
