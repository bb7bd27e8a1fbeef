"""A study's folder with missing, damaged, replaced, moved, locked or unwritable files: before, during and after a session."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from sweep.storage.folder import StudyFolder
from sweep.storage.lock import locked
from tests.hostile.damage import damage
from tests.hostile.folders import (
    Place,
    Values,
    assert_clear,
    copied,
    finish,
    held,
    remove,
    state_of,
    sweep,
    values,
    write_files,
)
from tests.support.command_line import COMMAND, Running, run_sweep
from tests.support.deep import deep_folders

pytestmark = pytest.mark.slow
# Without the right to write what its permissions forbid, which root has: then a read-only folder is one.
AS_USER = (
    sys.executable,
    "-c",
    "import ctypes, os, sys\n"
    "libc = ctypes.CDLL(None)\n"
    "for capability in (1, 2, 3):\n"
    "    libc.prctl(24, capability, 0, 0, 0)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'sweep', *sys.argv[1:]])",
)
SEED = 20261125


# ---------------------------------------------------------------- after a session: every verb, on every kind of damage

FILES = [
    "study.db",
    "study.yaml",
    "environment.json",
    "lock",
    "stop",
    "prior.json",
    "remarks.json",
    "0001_x=2/checkpoint.pt",
    "0001_x=2/trial.json",
]
DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "random bytes": lambda path: path.write_bytes(bytes(range(255, 0, -1)) * 40),
    "deep": lambda path: path.write_bytes(b"[" * 200_000),
    "a huge number": lambda path: path.write_bytes(b"1" + b"0" * 20),
    "a folder": lambda path: path.mkdir(),
}
VERBS = [
    ("status",), ("status", "--json"), ("trials",), ("trials", "--format", "csv"), ("best",), ("plan",), ("check",), ("report",),
    ("stop",), ("resume", "--inline"),
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_every_verb_on_a_damaged_file(name: str, how: str, place: Place, whole: Values) -> None:
    """No traceback, no waiting without an end; a verb that only shows changes nothing; put right, the study ends as it would."""
    path, kept = place.root / name, place.here / "kept"
    if path.exists():
        shutil.copy2(path, kept)
    else:
        path.write_text("{}")
    if how == "a folder":
        remove(path)
    DAMAGES[how](path)
    database = place.root / "study.db"
    for verb, *options in VERBS[:-1]:
        before = state_of(place.root)
        assert_clear(sweep(verb, str(place.root), *options))
        after = state_of(place.root)
        for ours in (before, after):
            for written in (".", "report.html", "study.db-shm", "study.db-wal", "stop"):
                ours.pop(written, None)
        assert after == before, verb
    said = sweep("resume", str(place.root), "--inline")
    assert_clear(said)
    if said.code != 0:
        remove(path)
        if kept.exists():
            shutil.copy2(kept, path)
        finish(place, whole)
    assert database.is_file()
    assert values(place) == whole


DAMAGED_RECORDS = {
    "a number of 10^20": ("number", 10**20),
    "a negative number": ("number", -1),
    "a number that is text": ("number", "one"),
    "a number of 9 million": ("number", 9_000_000),
    "parameters that are a list": ("params", [1, 2]),
    "a parameter that is a mapping": ("params", {"x": {"a": 1}}),
    "a parameter that is not a number": ("params", {"x": float("nan")}),
    "metrics of text": ("metrics", {"score": "high"}),
    "metrics of 10^400": ("metrics", {"score": 10**400}),
    "a value of text": ("value", "high"),
    "a start that is no time": ("started", "yesterday"),
    "a start without a zone": ("started", "2026-01-01T00:00:00"),
    "spans of text": ("spans", "spans"),
    "a span without a slot": ("spans", [{"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:00+00:00"}]),
    "an unknown state": ("state", "sleeping"),
    "a step of 10^30": ("step", 10**30),
    "a total below zero": ("total", -5),
    "a duration without an end": ("duration_s", float("inf")),
    "attempts of text": ("attempts", "many"),
    "a folder elsewhere": ("folder", "../../outside"),
    "a folder with an endless name": ("folder", "x" * 10_000),
    "a seed of text": ("seed", "lucky"),
    "an error that is a list": ("error", ["a", "b"]),
    "terminal escapes": ("error", "\x1b]0;evil\x07\x1b[2J"),
    "a repeat of 10^12": ("repeat", 10**12),
}


@pytest.mark.parametrize("which", DAMAGED_RECORDS)
def test_every_verb_on_a_damaged_record(which: str, place: Place, whole: Values) -> None:
    """As with damaged files; nothing is printed raw."""
    key, value = DAMAGED_RECORDS[which]
    kept = place.here / "kept"
    shutil.copy2(place.root / "study.db", kept)
    shutil.copy2(place.root / "study.db-wal", f"{kept}-wal")
    with sqlite3.connect(place.root / "study.db") as database:
        [text] = database.execute("SELECT value_json FROM trial_user_attributes WHERE trial_id = 1").fetchone()
        record = json.loads(text) | {key: value}
        database.execute("UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = 1", (json.dumps(record),))
    database.close()
    for verb, *options in VERBS:
        said = sweep(verb, str(place.root), *options)
        assert_clear(said)
        assert "csv" in options or "\x1b" not in said.out + said.err  # CSV is for programs, and has the text as it is
    if key not in ("error",):
        for suffix in ("", "-wal", "-shm"):
            (place.root / f"study.db{suffix}").unlink(missing_ok=True)
        shutil.copy2(kept, place.root / "study.db")
        shutil.copy2(f"{kept}-wal", place.root / "study.db-wal")
        finish(place, whole)


@seed(SEED)
@settings(max_examples=40, deadline=None, print_blob=True)
@given(number=st.integers(0, 10**9))
def test_no_damage_gives_a_traceback(half_done: Place, number: int) -> None:
    """One change of one file, by chance: each verb answers, and the files of the complete trial stay."""
    folder = half_done.here.parent / f"damaged-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    found = copied(half_done, folder)
    (found.root / "prior.json").write_text('{"version": 1, "sources": []}')
    (found.root / "stop").write_text("at the next step\nabc\n")
    (found.root / "lock").write_text("{}")
    said = damage(found.root, number)
    complete = {name: about for name, about in state_of(found.root).items() if name.startswith("0000_x=1/")}
    with contextlib.chdir(folder):
        for verb, *options in (("status",), ("trials", "--format", "json"), ("best",), ("plan",), ("resume", "--inline")):
            try:
                assert_clear(sweep(verb, str(found.root), *options))
            except BaseException as error:
                raise AssertionError(f"damage {number} ({said}), {verb} {options}: {error!r}") from error
    kept = [folder for folder in (found.root / "0000_x=1", folder / "runs" / "study.forgotten" / "0000_x=1") if folder.is_dir()]
    after = {f"0000_x=1/{name}": about[2] for name, about in state_of(kept[0]).items() if name != "."}
    # Retention, which removes no results, may take the checkpoint of a trial that is not among the best.
    assert after.items() <= {name: about[2] for name, about in complete.items()}.items()
    shutil.rmtree(folder)


# ---------------------------------------------------------------- during a session


def set_aside(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}.aside"))


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_link(path: Path) -> None:
    set_aside(path)
    path.symlink_to(f"{path.name}.aside")


def replaced_by_another(path: Path) -> None:
    set_aside(path)
    path.mkdir()


def replaced_by_a_copy(path: Path) -> None:
    copy = path.with_name(f"{path.name}.copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def all_of_the_database(path: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink()


# What is done to which file while a trial runs, how the session ends, and the name of its message.
DURING: dict[str, tuple[str, Callable[[Path], object], int, str]] = {
    "the database is removed": ("study.db", Path.unlink, 1, "database-lost"),
    "the database is replaced": ("study.db", replaced_by_a_copy, 1, "database-lost"),
    "the database and its log are removed": ("study.db", all_of_the_database, 1, "database-lost"),
    "the log of the database is removed": ("study.db-wal", Path.unlink, 1, "database-lost"),
    "the log of the database is replaced": ("study.db-wal", replaced_by_a_copy, 1, "database-lost"),
    "the shared memory of the database is removed": ("study.db-shm", Path.unlink, 0, ""),
    "the folder is moved": (".", set_aside, 1, "folder-lost"),
    "the folder is removed": (".", shutil.rmtree, 1, "folder-lost"),
    "the folder is replaced": (".", replaced_by_another, 1, "folder-lost"),
    "the folder above is moved": ("..", set_aside, 1, "folder-lost"),
    "the run folder is removed": ("0001_x=2", shutil.rmtree, 1, "write-failed"),
    "the run folder is moved": ("0001_x=2", set_aside, 1, "write-failed"),
    "the log is removed": ("0001_x=2/log.txt", Path.unlink, 0, ""),
    "the checkpoints are removed": ("0001_x=2/checkpoint.pt", Path.unlink, 0, ""),
    "the record of the run is removed": ("0001_x=2/trial.json", Path.unlink, 0, ""),
    "the record of the run is a folder": ("0001_x=2/trial.json", replaced_by_a_folder, 1, "write-failed"),
    "the study file is removed": ("study.yaml", Path.unlink, 0, ""),
    "the record of the environment is removed": ("environment.json", Path.unlink, 0, ""),
    "the lock is removed": ("lock", Path.unlink, 0, ""),
    "the lock is replaced": ("lock", replaced_by_a_copy, 0, ""),
    "the lock is a folder": ("lock", replaced_by_a_folder, 0, ""),
    "the lock is a named pipe": ("lock", replaced_by_a_fifo, 0, ""),
    "the report is a folder": ("report.html", Path.mkdir, 0, ""),
    "another run folder is a file": ("0002_x=3", Path.touch, 1, "write-failed"),
    "another run folder is a link": (
        "0002_x=3",
        lambda path: path.symlink_to(path.parent.parent.parent),
        4,
        "not-a-regular-file",
    ),
    "the event file is removed": ("events", Path.unlink, 1, "write-failed"),
    "the event file is replaced": ("events", replaced_by_a_copy, 1, "write-failed"),
    "the event file is a link": ("events", replaced_by_a_link, 1, "write-failed"),
}


@pytest.mark.parametrize("what", DURING)
def test_something_happens_to_the_folder_in_a_session(what: str, here: Path, whole: Values) -> None:
    """The session goes on, or ends with a message of its own; what is stored stays; the next one ends the study as it would."""
    name, act, code, message = DURING[what]
    write_files(here)
    place = Place(here=here)
    with held(here) as running:
        path = place.events if name == "events" else (place.root / name).resolve()
        stored = values(place)
        study_file = (place.root / "study.yaml").read_text()
        act(path)
        (here / "go").touch()
        assert running.end() == code, running.out
    assert "Traceback" not in running.out
    if message:
        assert f"[{message}]" in running.out
    aside = path.with_name(f"{path.name}.aside")
    if what == "the folder is removed":
        assert not place.root.exists()
        return
    if name in (".", "..") and aside.exists():
        assert what == "the folder is replaced" or not place.root.exists()
        assert str(aside) in running.out
        remove(path)
        aside.rename(path)
    elif aside.exists():
        remove(path)
        aside.rename(path)
    elif path.exists() and not path.is_file() and name != "0001_x=2":
        remove(path)
    if name == "0002_x=3":
        remove(path)
    if name == "study.yaml":  # a study without it is refused, since nothing else says how its trials were run
        assert "[study-incomplete]" in run_sweep("run", "study.yaml", here=here).err
        path.write_text(study_file)
    if "replaced" in what and name == "study.db":
        [saved] = place.root.glob("study.db.saved-*")
        saved.replace(path)
    assert {number: value for number, state, value in values(place) if state == "complete"}.items() >= {
        number: value for number, state, value in stored if state == "complete"
    }.items()
    done = run_sweep("run", "study.yaml", here=here)
    assert done.code == 0, done.err
    assert values(place) == whole


def test_a_removed_lock_lets_no_second_session_in(here: Path, whole: Values) -> None:
    """The folder itself is locked; the file is soon there again, and names the holder."""
    write_files(here)
    place = Place(here=here)
    with held(here) as running:
        (place.root / "lock").unlink()
        second = run_sweep("run", "study.yaml", here=here)
        assert (second.code, "[study-locked]" in second.err) == (4, True), second.err
        running.wait_until(lambda: (place.root / "lock").exists() and (place.root / "lock").read_text())
        assert json.loads((place.root / "lock").read_text())["pid"] == running.process.pid
        (here / "go").touch()
        assert running.end() == 0, running.out
    assert values(place) == whole


@pytest.mark.parametrize("seconds", [0, 3, 15])
def test_the_database_is_locked_by_another_process(seconds: int, here: Path, whole: Values) -> None:
    """The session says so, waits, and goes on."""
    write_files(here)
    with held(here) as running:
        locker = subprocess.Popen(
            [sys.executable, "-c", f"import sqlite3, time\nd = sqlite3.connect('runs/study/study.db', isolation_level=None)\n"
             f"d.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep({seconds})"],
            cwd=here, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        (here / "go").touch()
        assert running.end() == 0, running.out
        locker.communicate()
    assert ("another process has locked study.db" in running.out) == (seconds > 1)
    assert values(Place(here=here)) == whole


def test_the_database_is_read_by_another_process_at_the_start(place: Place, whole: Values) -> None:
    """A backup, Optuna's dashboard: the session waits until it is done."""
    sweep("resume", str(place.root), "--inline", "x.values=[1, 2, 3]", "budget.trials=2")
    with contextlib.closing(sqlite3.connect(place.root / "study.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM trials").fetchall()
        with Running("resume", str(place.root), "budget.trials=3", here=place.here) as running:
            running.line("another process has locked study.db; waiting for it")
            reader.execute("COMMIT")
            assert running.end() == 0, running.out
    assert values(place) == whole


def test_no_room_for_larger_files(place: Place, whole: Values) -> None:
    """As on a full disk, or with a quota: the session ends, what was stored stays, and the next one goes on."""
    before = values(place)
    limit = (place.root / "study.db").stat().st_size + 4096

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit // 40, resource.RLIM_INFINITY))

    done = subprocess.run(
        [*COMMAND, "resume", str(place.root)],
        cwd=place.here,
        preexec_fn=small,  # two calls in the child, which take no lock
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, "[write-failed]" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert values(place)[0] == before[0]
    finish(place, whole)


# ---------------------------------------------------------------- permissions


@contextlib.contextmanager
def not_writable(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("name", [".", "study.db", "study.db-wal", "lock", "0001_x=2", "0001_x=2/log.txt"])
def test_what_may_only_be_read(name: str, place: Place, whole: Values) -> None:
    """Results can be shown; a session ends with a message, and goes on when it may write."""
    with not_writable(place.root / name):
        for verb in ("status", "trials"):
            shown = run_sweep(verb, str(place.root), here=place.here, command=AS_USER)
            assert "Traceback" not in shown.err
            assert shown.code == 0, shown.err
        done = run_sweep("resume", str(place.root), here=place.here, command=AS_USER)
        assert "Traceback" not in done.err
        assert done.code in (1, 2, 4), done.err
        assert "full disk" not in done.err
    finish(place, whole)


def test_a_note_is_stored_where_the_lock_may_only_be_read(place: Place) -> None:
    """It is no error that the HPARAMS tab has it later, which is said."""
    with not_writable(place.root / "lock"):
        done = run_sweep("note", str(place.root), "0", "odd", here=place.here, command=AS_USER)
    assert (done.code, done.err) == (0, "")
    assert "noted of trial 0: odd" in done.out
    assert "the HPARAMS tab has it after the next  sweep dashboard" in done.out
    noted = json.loads(run_sweep("trials", str(place.root), "--format", "json", here=place.here).out)
    assert noted[0]["note"] == "odd"


@pytest.mark.parametrize("name", [".", "study.db", "study.yaml", "environment.json"])
def test_what_may_not_even_be_read(name: str, place: Place, whole: Values) -> None:
    """Each verb says so."""
    mode = (place.root / name).stat().st_mode
    (place.root / name).chmod(0)
    try:
        for verb in ("status", "trials", "resume", "report", "stop"):
            done = run_sweep(verb, str(place.root), here=place.here, command=AS_USER)
            assert "Traceback" not in done.err, done.err
            if name != "environment.json":
                assert done.code in (1, 2, 4), (verb, done)
    finally:
        (place.root / name).chmod(mode)
    if values(place) != whole:  # a session does without the record of its environment
        finish(place, whole)


# ---------------------------------------------------------------- at the start


@pytest.mark.parametrize("where", ["0001_x=2", ".", "0000_x=1"])
def test_folders_that_are_nested_very_deeply(where: str, place: Place, whole: Values) -> None:
    """Deeper than Python can recurse, and than a path can say."""
    with deep_folders(place.root / where, 2500):
        for verb, *options in VERBS[:-1]:
            assert_clear(sweep(verb, str(place.root), *options))
        finish(place, whole)


@pytest.mark.parametrize(
    "name", ["what?", "100%41", "a#b", "a b", "x%3Fy=1&z", "ü", "'\"", "$(touch evil)", "a\nb", "file:x?mode=memory"]
)
def test_the_name_of_a_folder_above(name: str, here: Path) -> None:
    """Characters that mean something in a URL or a shell mean nothing here."""
    folder = here / name
    folder.mkdir()
    write_files(folder)
    done = run_sweep("run", "study.yaml", "x.values=[1]", here=folder)
    assert done.code == 0, done.err
    assert (folder / "runs" / "study" / "study.db").is_file()
    assert {path.name for path in here.iterdir()} == {name}
    assert run_sweep("run", "study.yaml", "x.values=[1,2]", here=folder).code == 0
    assert len(run_sweep("trials", "runs/study", "--format", "json", here=folder).json) == 2


def test_a_folder_whose_name_is_no_text(here: Path) -> None:
    """Bytes that are no UTF-8, as old systems leave them."""
    folder = here / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_files(folder)
    done = run_sweep("run", "study.yaml", "x.values=[1]", here=folder)
    assert done.code == 0, done.err
    for verb in ("status", "trials", "report", "resume", "plan", "stop"):
        assert "Traceback" not in run_sweep(verb, "study.yaml", here=folder).err
    assert {trial["state"] for trial in run_sweep("trials", "runs/study", "--format", "json", here=folder).json} == {"complete"}


@pytest.mark.parametrize("verb", ["run", "resume", "status", "trials", "best", "plan", "check", "report", "stop"])
def test_a_working_directory_that_was_deleted(verb: str, place: Place) -> None:
    """Said as it is."""
    (place.here / "gone").mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", f'cd gone && rmdir ../gone && exec "{sys.executable}" -P -m sweep {verb} "{place.root}"'],
        cwd=place.here, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "[no-working-directory]" in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_the_working_directory_is_deleted_in_a_session(here: Path) -> None:
    """The results are elsewhere; the session ends as usual, with whole paths in what it says."""
    write_files(here)
    (here / "cwd").mkdir()
    with Running("run", str(here / "study.yaml"), f"output={here}/runs", "x.values=[1, 2]", "workers.per_device=1",
                 here=here / "cwd", env={"PYTHONPATH": str(Path(__file__).parents[2])}) as running:  # fmt: skip
        running.line("trial 0 started")
        (here / "cwd").rmdir()
        assert running.end() == 0, running.out
    assert "Traceback" not in running.out
    assert str(here / "runs" / "study" / "report.html") in running.out


# ---------------------------------------------------------------- sweep stop


def test_a_request_for_an_earlier_session_does_not_stop_the_next(here: Path, whole: Values) -> None:
    """It names the session that it is for."""
    write_files(here)
    place = Place(here=here)
    with held(here) as running:
        (place.root / "stop").write_text("at once\n0123456789abcdef\n")
        running.wait_until(lambda: not (place.root / "stop").exists())
        (here / "go").touch()
        assert running.end() == 0, running.out
    assert values(place) == whole


def test_a_request_of_an_older_version_stops(here: Path) -> None:
    """It names no session."""
    write_files(here)
    place = Place(here=here)
    with held(here) as running:
        (place.root / "stop").write_text("at once\n")
        assert running.end() == 143, running.out


def test_stop_ends_when_another_session_runs(here: Path) -> None:
    """A session that begins right after the one that was asked goes on."""
    folder = StudyFolder(root=here / "runs" / "study")
    write_files(here)
    with held(here) as running:
        with Running("stop", "runs/study", "--now", here=here) as stop:
            stop.line("asked process")
            assert running.end() == 143
            with locked(folder):
                (here / "hold").unlink()
                assert stop.end() == 0, stop.out
        assert "waiting" in stop.out


@pytest.mark.parametrize("holder", ["", "{", "[]", '{"pid": [1], "host": null}', "null", "[" * 100_000])
def test_stop_of_a_study_that_nobody_runs(holder: str, place: Place) -> None:
    """Whatever the file of the lock says."""
    (place.root / "lock").write_text(holder)
    said = sweep("stop", str(place.root))
    assert (said.code, "[not-running]" in said.err) == (2, True), said.err
    assert not (place.root / "stop").exists()


def test_what_a_killed_session_left_is_taken_over(half_done: Place, tmp_path: Path, whole: Values) -> None:
    """Unfinished files of every kind beside the study's own."""
    place = copied(half_done, tmp_path)
    for name in (".study.db.1", ".study.yaml.7", "0001_x=2/.checkpoint.pt.unfinished", "0001_x=2/.trial.json.9", "stop"):
        (place.root / name).write_bytes(b"half")
    finish(place, whole)
