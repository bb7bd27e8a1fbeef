"""Links and such in the place of the files that a session writes: nothing outside the study's folder changes, nothing hangs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from sweep.worker import checkpoint
from tests.hostile.folders import (
    KINDS,
    Place,
    Values,
    assert_clear,
    copied,
    finish,
    make_outside,
    remove,
    state_of,
    sweep,
    values,
)
from tests.support.command_line import run_sweep

pytestmark = pytest.mark.slow
# What is written at the end of a session may be missing before it.
STUDY_FILES = ["lock", "study.yaml", "study.db", "study.db-wal", "study.db-shm", "study.db-journal", "environment.json",
               "prior.json", "remarks.json", "stop", "report.html"]  # fmt: skip
RUN_FILES = ["log.txt", "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.unusable.pt", ".checkpoint.pt.unfinished",
             "trial.json", "events"]  # fmt: skip
# Where a link is no obstacle: the name is taken by a rename, or what is there is no checkpoint or event file and is put aside.
REPLACED = {
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "checkpoint.unusable.pt",
    ".checkpoint.pt.unfinished",
    "trial.json",
    "events",
}


def put(kind: str, path: Path, place: Place) -> tuple[Path, Path]:
    """Put something in the place of a file; return what it leads to, and where the file is kept."""
    kept = place.here / "kept"
    if path.exists():
        shutil.copy2(path, kept)
    remove(path)
    outside = make_outside(place.here, like=kept)
    KINDS[kind](path, outside)
    return outside, kept


def put_right(path: Path, kept: Path) -> None:
    """Put a file back, if there was one."""
    remove(path)
    if kept.exists():
        shutil.copy2(kept, path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STUDY_FILES)
def test_something_in_the_place_of_a_studys_file(name: str, kind: str, place: Place, whole: Values) -> None:
    """The session is refused, or goes on with a file of its own; when it is put right, the study ends as it would have."""
    path = place.root / name
    outside, kept = put(kind, path, place)
    before = state_of(outside)
    said = sweep("resume", str(place.root), "--inline")
    assert_clear(said)
    assert state_of(outside) == before
    if name == "report.html":  # it is written once the trials are done, and costs none of them
        assert said.code == 0, said.err
        assert ("the report could not be written" in said.err) == (kind == "a folder")
    elif kind != "a hard link":
        assert (said.code, "[not-a-regular-file]" in said.err) == (4, True), said.err
    for verb in ("status", "trials", "stop"):
        assert_clear(sweep(verb, str(place.root)))
    assert state_of(outside) == before
    if said.code != 0:
        put_right(path, kept)
        finish(place, whole)
    assert values(place) == whole
    assert state_of(outside) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUN_FILES)
def test_something_in_the_place_of_a_runs_file(name: str, kind: str, place: Place, whole: Values) -> None:
    """What is not the trial's is not used; the trial ends with the numbers that it would have had."""
    path = place.events if name == "events" else place.run / name
    outside, kept = put(kind, path, place)
    before = state_of(outside)
    said = sweep("resume", str(place.root), "--inline")
    assert_clear(said)
    assert state_of(outside) == before
    if name in REPLACED and "folder" not in kind.removeprefix("a link to"):
        assert said.code == 0, said.err
    if said.code != 0:
        assert str(path) in said.err.replace("'", "")
        put_right(path, kept)
        finish(place, whole)
    assert values(place) == whole
    assert state_of(outside) == before


@pytest.mark.parametrize("kind", KINDS)
def test_something_in_the_place_of_the_log_of_a_workers_process(kind: str, place: Place, whole: Values) -> None:
    """Native code writes there too."""
    path = place.run / "log.txt"
    remove(path)
    outside = make_outside(place.here)
    KINDS[kind](path, outside)
    before = state_of(outside)
    done = run_sweep("resume", str(place.root), here=place.here)
    assert "Traceback" not in done.err
    assert state_of(outside) == before
    if kind == "a hard link":
        assert done.code == 0
        assert path.read_bytes().startswith(b"years of work\n")
    else:
        assert (done.code, "[write-failed]" in done.err) == (1, True), done.err
        remove(path)
        finish(place, whole)
    assert values(place) == whole


@pytest.mark.parametrize("name", ["study.yaml", "environment.json", "report.html", "trial.json"])
def test_the_temporary_name_of_a_file_is_a_link(name: str, place: Place, whole: Values) -> None:
    """Somebody who guesses the process's number gets nothing written."""
    outside = make_outside(place.here)
    folder = place.run if name == "trial.json" else place.root
    (folder / f".{name}.{os.getpid()}").symlink_to(outside / "precious")
    before = state_of(outside)
    finish(place, whole)
    assert state_of(outside) == before


@pytest.mark.parametrize("which", ["0001_x=2", "0002_x=3"])
def test_a_run_folder_that_is_a_link(which: str, place: Place, whole: Values) -> None:
    """That of an interrupted trial, and that of one that has not begun."""
    outside = make_outside(place.here)
    path, kept = place.root / which, place.here / "kept"
    if path.exists():
        path.rename(kept)
    path.symlink_to(outside)
    before = state_of(outside)
    said = sweep("resume", str(place.root), "--inline")
    assert_clear(said)
    assert said.code != 0
    assert state_of(outside) == before
    path.unlink()
    if kept.exists():
        kept.rename(path)
    finish(place, whole)


@pytest.mark.parametrize("part", ["plugins", "projector", "plugins/org_tensorflow_tensorboard_projector"])
def test_a_folder_in_a_run_folder_that_is_a_link(part: str, place: Place) -> None:
    """Embeddings are not written there, and not removed there."""
    (place.here / "mine.py").write_text(
        "import torch\ndef train(trial):\n"
        "    trial.panels.embedding('e', torch.eye(4), list('abcd'), of_model=True)\n"
        "    trial.panels.embedding('d', torch.eye(4), list('abcd'), of_model=False)\n"
        "    trial.report(1, {'score': -trial.params['x']}, {'a': 1})\n"
    )
    outside = make_outside(place.here)
    for name in ("org_tensorflow_tensorboard_projector", "e", "d"):
        (outside / name).mkdir()
        (outside / name / "precious").touch()
    for run in ("0000_x=1", "0001_x=2", "0002_x=3"):
        (place.root / run / part).parent.mkdir(parents=True, exist_ok=True)
        (place.root / run / part).symlink_to(outside)
    before = state_of(outside)
    assert_clear(sweep("run", "study.yaml", "name=study", "--inline", "--fresh"))
    moved = next(path for path in (place.here / "runs").iterdir() if path.name != "study")
    for folder in moved.glob("000*"):
        path = place.root / folder.name / part
        if folder.is_dir() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(outside)
    assert_clear(sweep("run", "study.yaml", "x.values=[1,2,3,4]", "--inline"))
    assert state_of(outside) == before


def test_a_studys_folder_that_is_a_link(half_done: Place, here: Path, whole: Values) -> None:
    """People put results on another disk: the path of the folder may have links, also its last part."""
    place = copied(half_done, here)
    scratch = here / "scratch"
    scratch.mkdir()
    place.root.rename(scratch / "elsewhere")
    place.root.symlink_to(scratch / "elsewhere")
    (here / "runs").rename(scratch / "runs")
    (here / "runs").symlink_to(scratch / "runs")
    finish(place, whole)


def test_a_backup_of_hard_links_stays_as_it_was(place: Place, whole: Values) -> None:
    """`cp -al` and rsync's --link-dest make one; the session writes copies of its own."""
    backup = place.here / "backup"
    shutil.copytree(place.root, backup, copy_function=os.link)
    # The files' times and contents; SQLite's shared memory is no part of the data.
    before = {name: about for name, about in state_of(backup).items() if not name.endswith("-shm")}
    finish(place, whole)
    assert {name: about for name, about in state_of(backup).items() if not name.endswith("-shm")} == before


@pytest.mark.parametrize("text", ["\n echo evil >> ~/.bashrc\n", "\r\n echo evil", "\x1b]0;evil\x07", "\u2028 echo evil"])
def test_complaints_about_a_crafted_checkpoint_are_one_line(text: str, place: Place, whole: Values) -> None:
    """Whatever the names in it are, the log and the terminal get them escaped."""
    before = checkpoint.read(place.run / "checkpoint.pt")
    crafted = checkpoint.Checkpoint(
        identity=before.identity, position=before.position, state=before.state, events={text: 3}, randomness=before.randomness
    )
    checkpoint.save(place.run, crafted)
    checkpoint.save(place.run, crafted)
    done = run_sweep("resume", str(place.root), here=place.here)
    assert done.code == 0, done.err
    log = (place.run / "log.txt").read_text()
    [*complaints] = [line for line in log.split("\n") if "evil" in line]
    assert complaints
    assert all(line.startswith("sweep: ") and line.isprintable() for line in complaints)
    assert values(place) == whole


def test_a_database_with_a_hostile_run_folder_writes_nothing_there(place: Place) -> None:
    """A stranger's database can name any folder."""
    outside = make_outside(place.here)
    before = state_of(outside)
    with sqlite3.connect(place.root / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = json_set(value_json, '$.folder', '../../outside') WHERE trial_id = 2"
        )
    database.close()
    said = sweep("resume", str(place.root), "--inline")
    assert (said.code, "[database-not-readable]" in said.err) == (4, True)
    assert state_of(outside) == before
