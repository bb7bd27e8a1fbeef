"""Pictures that are left to the runner are drawn once, into the run's own file."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sweep.storage.folder import BEST_EMBEDDINGS, PICTURES
from sweep.storage.regular import NotRegular
from sweep.study.spec import LogSpec
from sweep.tensorboard import drawings, event_files
from sweep.tensorboard.drawings import Picture
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.projector import Embedding
from sweep.tensorboard.run_writer import RunWriter
from tests.support.reading import points

GRID = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
PICTURES_LEFT = [
    Picture(tag="grid", step=1, values=GRID, texts=["a\nb", "c"], is_grid=True),
    Picture(tag="untitled", step=1, values=GRID[:1], texts=None, is_grid=True),
    Picture(tag="matrix", step=2, values=np.array([[3, 1], [0, 2]]), texts=["cat", "dog"], is_grid=False, numbers=True),
]
POINTS = np.array([[1.0, 2.0], [0.5, -1.0]], dtype=np.float32)
EMBEDDINGS = {"hidden": Embedding(vectors=POINTS, labels=["a", "b"], images=GRID), "bare": Embedding(vectors=POINTS)}
DRAWN = [("image", "grid", 1), ("image", "untitled", 1), ("image", "matrix", 2)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with one closed event file of two records."""
    folder = tmp_path / "study" / "0000_x=1"
    writer = RunWriter(folder)
    writer.add_scalar("score", 1.0, 1)
    writer.close()
    drawings.leave(writer.events.path, PICTURES_LEFT, EMBEDDINGS)
    return folder


def test_what_is_left_is_drawn_into_the_runs_own_file(run: Path) -> None:
    """As the worker would have drawn it; then nothing is left."""
    assert drawings.is_left(run)
    drawings.draw(run)
    assert not drawings.is_left(run)
    assert points(run) == [("simple_value", "score", 1), *DRAWN]
    [file] = event_files.of_run(run)
    events = [event for _, _, event in event_files.events(file)][2:]
    assert [event.summary.value[0].image for event in events] == [one.summary().value[0].image for one in PICTURES_LEFT]
    assert [event.wall_time for event in events] == [one.at for one in PICTURES_LEFT]


def test_embeddings_are_written_as_the_worker_would_have(run: Path, tmp_path: Path) -> None:
    """Points, labels, thumbnails and what lists them."""
    drawings.draw(run)
    (tmp_path / "direct").mkdir()
    drawings.write_embeddings(tmp_path / "direct", EMBEDDINGS)
    found, expected = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (run / BEST_EMBEDDINGS, tmp_path / "direct" / BEST_EMBEDDINGS)
    )
    assert len(expected) == 5
    assert found == expected


@pytest.mark.parametrize("answers", [[False], [True, False]], ids=["before", "meanwhile"])
def test_embeddings_of_a_trial_that_is_not_the_best_are_not_there(run: Path, answers: list[bool]) -> None:
    """Also if a better one ends while they are written; the pictures are drawn."""
    drawings.draw(run, best=iter(answers).__next__)
    assert not (run / "plugins").exists()
    assert points(run)[1:] == DRAWN


@pytest.mark.parametrize("kept", [0, 1, 200, None], ids=["nothing", "a byte", "part of a record", "everything"])
def test_each_picture_is_there_once_after_a_kill(run: Path, tmp_path: Path, kept: int | None) -> None:
    """However much of the records had been added."""
    shutil.copy(run / PICTURES, tmp_path / "copy")
    [file] = event_files.of_run(run)
    before = file.stat().st_size
    drawings.draw(run)
    if kept is not None:
        with file.open("r+b") as opened:
            opened.truncate(before + kept)
    (tmp_path / "copy").rename(run / PICTURES)
    drawings.draw(run, again=True)
    assert points(run) == [("simple_value", "score", 1), *DRAWN]


def test_a_dropped_trial_stays_hidden(run: Path) -> None:
    """Its pictures are in its file, and are shown when the trial is taken back."""
    event_files.hide(run)
    drawings.draw(run)
    assert not event_files.are_shown(run)
    event_files.show(run)
    assert points(run)[1:] == DRAWN


def test_a_run_without_its_file_gets_none(run: Path) -> None:
    """Somebody has removed it."""
    for file in event_files.of_run(run):
        file.unlink()
    drawings.draw(run)
    assert not event_files.of_run(run)


@pytest.mark.parametrize(
    ("damage", "error"), [("empty", EOFError), ("cut", zipfile.BadZipFile), ("pickled", ValueError), ("link", NotRegular)]
)
def test_what_cannot_be_read_is_no_picture(run: Path, tmp_path: Path, damage: str, error: type[Exception]) -> None:
    """Nothing is executed, no link is followed, and the next session does not try again."""
    path = run / PICTURES
    content = path.read_bytes()
    outside = tmp_path / "outside"
    outside.write_bytes(content)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "pickled":
        np.savez(path, np.array([object()], dtype=object))
    else:
        path.unlink()
        path.symlink_to(outside)
    with pytest.raises(error):
        drawings.draw(run)
    assert outside.read_bytes() == content
    assert points(run) == [("simple_value", "score", 1)]
    assert not drawings.is_left(run)


def test_an_event_file_that_lost_records_gets_none(run: Path) -> None:
    """And the next session does not try again."""
    [file] = event_files.of_run(run)
    event_files.cut_after(file, 1)
    before = file.read_bytes()
    with pytest.raises(event_files.NotEnoughRecords):
        drawings.draw(run, again=True)
    assert file.read_bytes() == before
    assert not drawings.is_left(run)


def test_a_full_disk_leaves_them_for_the_next_session(run: Path) -> None:
    """And no half of a record, after which TensorBoard reads nothing."""
    [file] = event_files.of_run(run)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 500, hard))
    try:
        with pytest.raises(OSError, match=r"too large|No space"):
            drawings.draw(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == before
    drawings.draw(run, again=True)
    assert points(run)[1:] == DRAWN


def test_no_file_outside_the_run_is_written(run: Path) -> None:
    """Whatever a stranger has written into the file."""
    path = run / PICTURES
    other = run.parent / "other" / "events.out.tfevents.1"
    other.parent.mkdir()
    other.write_bytes(event_files.of_run(run)[0].read_bytes())
    before = other.read_bytes()
    with np.load(path) as content:
        head, *values = (content[name] for name in content.files)
    changed = json.loads(str(head)) | {"file": "../other/events.out.tfevents.1"}
    np.savez(path, np.array(json.dumps(changed)), *values)
    drawings.draw(run, again=True)
    assert other.read_bytes() == before
    assert points(run) == [("simple_value", "score", 1)]


def test_a_link_in_their_place_is_replaced(run: Path, tmp_path: Path) -> None:
    """Else a stranger could choose which file a worker overwrites."""
    outside = tmp_path / "outside"
    outside.write_text("mine", encoding="utf-8")
    for name in (PICTURES, f"{PICTURES}.unfinished"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside)
    drawings.leave(event_files.of_run(run)[0], PICTURES_LEFT, EMBEDDINGS)
    assert outside.read_text(encoding="utf-8") == "mine"
    drawings.draw(run)
    assert points(run)[1:] == DRAWN


def test_the_embeddings_before_a_report_are_written_with_it(tmp_path: Path) -> None:
    """As the pictures are."""
    run = RunWriter(tmp_path)
    panels = Panels(run, LogSpec(projector=True), first=False)
    panels.embedding("hidden", torch.ones(2, 3))
    assert not (tmp_path / BEST_EMBEDDINGS).exists()
    panels.reported(1)
    assert (tmp_path / BEST_EMBEDDINGS / "projector" / "hidden" / "tensors.tsv").exists()
    panels.embedding("other", torch.ones(2, 3))
    _, embeddings = panels.taken()
    assert list(embeddings) == ["hidden", "other"]
    run.close()


def test_the_pictures_before_a_report_are_drawn_with_it(tmp_path: Path) -> None:
    """So that they are in the file when the checkpoint is made; those after it wait for the trial's end."""
    run = RunWriter(tmp_path)
    panels = Panels(run, LogSpec(pr_curves=False), first=False)
    labels, scores = torch.arange(6) % 3, torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    panels.predictions(None, labels, scores, step=1)
    assert points(tmp_path) == []
    panels.reported(1)
    assert points(tmp_path) == [("image", "predictions/confusion", 1)]
    panels.predictions(None, labels, scores, step=2)
    pictures, embeddings = panels.taken()
    assert [(one.tag, one.step) for one in pictures] == [("predictions/confusion", 2)]
    assert embeddings == {}
    assert panels.taken() == ([], {})
    run.close()
