"""The lock, the database and the files of a study's folder when somebody else interferes."""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.runner.stopping import StopRequests
from sweep.storage import lock, transactions
from sweep.storage.checked import record_in
from sweep.storage.database import read_records
from sweep.storage.files import read_json, write_text
from sweep.storage.folder import STOP_AT_ONCE, StudyFolder
from sweep.storage.lock import any_holder, holder_text, lock_holder, locked, same_session
from sweep.storage.messages import write_failed
from sweep.storage.regular import NotRegular, keep_one_name, open_own
from sweep.storage.store import StudyStore
from sweep.study.record import planned_record
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import TrialState
from tests.support.studies import study_spec
from tests.support.waiting import wait_for

SPEC = study_spec({"x": [0, 1, 2, 3]})
RECORDS = [planned_record(SPEC, number, {"x": number}) for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.setattr(lock, "_LOOK_S", 0.02)
    found = StudyFolder(root=tmp_path / "runs" / "study")
    found.root.mkdir(parents=True)
    return found


def test_a_verb_that_has_the_lock_is_no_session(folder: StudyFolder) -> None:
    """It is named, waited for a moment, and may follow another at once."""
    with locked(folder, doing="clean"):
        assert lock_holder(folder) is None
        assert "(sweep clean)" in holder_text(any_holder(folder) or {})
        with pytest.raises(SweepError) as caught, locked(folder):
            pass
        assert "in use by another process, sweep clean" in caught.value.what
        assert "sweep stop" not in (caught.value.do or "")

    def hold(number: int) -> int:
        with locked(folder, doing="note"):
            time.sleep(0.1)
        return number

    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(hold, range(6))] == [*range(6)]


def test_a_removed_lock_file_lets_nobody_in_and_is_written_again(folder: StudyFolder) -> None:
    """The folder is locked too."""
    with locked(folder) as held:
        session = (lock_holder(folder) or {})["session"]
        folder.lock.unlink()
        with pytest.raises(SweepError, match="is being run by another process"), locked(folder):
            pass
        wait_for(lambda: (lock_holder(folder) or {}).get("session") == session)
        held.check()
    assert lock_holder(folder) is None


def test_a_lock_file_that_another_session_holds_ends_this_one(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder cannot be locked, as on NFS."""
    monkeypatch.setattr(lock, "_NO_FOLDER_LOCKS", set())
    with locked(folder) as held, (folder.root / "new").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (folder.root / "new").replace(folder.lock)
        wait_for(lambda: held._lost is not None)
        with pytest.raises(SweepError) as caught:
            held.check()
        assert (caught.value.id, caught.value.exit_code) == ("lock-lost", 4)


@pytest.mark.parametrize("how", ["moved", "replaced", "removed"])
def test_a_folder_that_is_not_there_any_more_is_noticed_before_the_last_write(folder: StudyFolder, how: str) -> None:
    """The message says where it is now."""
    with locked(folder) as held:
        store = StudyStore(folder, SPEC, held.check)
        store.start(RECORDS[0])
        moved = folder.root.rename(folder.root.with_name("moved"))
        if how == "replaced":
            folder.root.mkdir()
        if how == "removed":
            for path in sorted(moved.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            moved.rmdir()
        with pytest.raises(SweepError) as caught:
            store.note_time(TimeBreakdown())
        store.close()
    assert caught.value.id == "folder-lost"
    assert how == "removed" or str(moved) in (caught.value.where or "")
    assert not list(folder.root.glob("*"))


@pytest.mark.parametrize("name", ["study.db", "study.db-wal"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lost_database_is_noticed_and_nothing_is_lost(
    folder: StudyFolder, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the last write at the latest; it is written again, and a file that somebody else has put there stays."""
    monkeypatch.setattr(transactions, "_LOOK_S", math.inf)
    store = StudyStore(folder, SPEC)
    for record in RECORDS[:3]:
        store.start(record)
    (folder.root / name).unlink()
    if how == "replaced":
        (folder.root / name).write_bytes(b"")
    store.start(RECORDS[3])
    with pytest.raises(SweepError) as caught:
        store.note_time(TimeBreakdown())
    store.close()
    assert (caught.value.id, caught.value.exit_code) == ("database-lost", 1)
    saved = [*folder.root.glob("study.db.saved-*")]
    assert len(saved) == (name == "study.db" and how == "replaced")
    for path in saved:
        path.replace(folder.database)
    assert [record.number for record in read_records(folder)] == [0, 1, 2, 3]


def test_a_locked_database_is_waited_for_and_then_given_up(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a line that says so; what was stored stays."""
    monkeypatch.setattr(transactions, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(transactions, "_TRY_S", 0.05)
    said: list[str] = []
    store = StudyStore(folder, SPEC, notice=said.append)
    store.start(RECORDS[0])
    other = sqlite3.connect(folder.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SweepError) as caught:
        store.start(RECORDS[1])
    assert (caught.value.id, caught.value.exit_code) == ("database-locked", 1)
    assert len(said) == 1
    other.execute("COMMIT")
    other.close()
    store.start(RECORDS[1])
    store.close()
    assert len(read_records(folder)) == 2


def test_every_write_can_be_repeated_and_two_writers_ruin_nothing(folder: StudyFolder) -> None:
    """A study that two sessions of an earlier version have ruined can be run again, too."""
    first = StudyStore(folder, SPEC)
    first.start(RECORDS[0])
    second = StudyStore(folder, SPEC)
    known = second.records()
    second.start(known[0])
    done = planned_record(SPEC, 0, {"x": 0}).__class__(**{**vars(known[0]), "state": TrialState.COMPLETE, "value": 1.0})
    for store in (first, second, first, second):
        store.finish(done)
        store.report(done)
    second.start(RECORDS[1])
    first.start(RECORDS[2])
    first.close()
    second.close()
    assert [record.number for record in read_records(folder)] == [0, 1, 2]
    with sqlite3.connect(folder.database) as database:
        assert database.execute("SELECT number FROM trials ORDER BY trial_id").fetchall() == [(0,), (1,), (2,)]
    database.close()


@pytest.mark.parametrize(("second_line", "count"), [("", 2), ("mine\n", 2), ("another\n", 0)])
def test_a_request_to_stop_is_for_one_session(folder: StudyFolder, second_line: str, count: int) -> None:
    """Earlier versions name none."""
    folder.lock.write_text(json.dumps({"session": "mine", "pid": 1}))
    with folder.lock.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        folder.stop_request.write_text(STOP_AT_ONCE + second_line)
        stops = StopRequests(folder, lambda: 0.0)
        stops.read_folder()
    assert stops._count == count
    assert not folder.stop_request.exists()


def test_sessions_are_the_same_by_their_names() -> None:
    """Those of earlier versions by host, process and time; an answer without anything says nothing."""
    older = {"host": "a", "pid": 1, "since": "x"}
    assert same_session(older, dict(older))
    assert not same_session(older, older | {"pid": 2})
    assert not same_session(older, older | {"session": "s"})
    assert same_session(older | {"session": "s"}, {"session": "s"})
    assert same_session({}, older)


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder"])
def test_only_ordinary_files_are_opened(tmp_path: Path, kind: str) -> None:
    """Whether to read or to write; what a link leads to stays as it is."""
    target, path = tmp_path / "target", tmp_path / "path"
    if kind != "dangling":
        target.write_text("kept")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(target)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND):
        with pytest.raises(NotRegular, match="does not belong here"):
            open_own(path, flags)
    assert target.exists() == (kind != "dangling")


def test_a_file_with_two_names_is_copied_before_it_is_written(tmp_path: Path) -> None:
    """A backup may have the other one."""
    path, backup = tmp_path / "path", tmp_path / "backup"
    path.write_text("old")
    backup.hardlink_to(path)
    descriptor = open_own(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b" new")
    os.close(descriptor)
    assert (path.read_text(), backup.read_text()) == ("old new", "old")
    keep_one_name(path)
    write_text(path, "other")
    assert path.read_text() == "other"


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")])
def test_damaged_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    """However deep."""
    (tmp_path / "file").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "file")


@pytest.mark.parametrize(
    ("key", "value"),
    [("number", 10**20), ("number", -1), ("number", True), ("params", []), ("params", {"x": {"a": 1}}), ("metrics", {"a": "b"}),
     ("started", "2026-01-01T00:00:00"), ("duration_s", float("inf")), ("spans", [{"slot": 0, "started": 1, "ended": 2}]),
     ("error", 3), ("seed", None), ("value", 10**400)],
)  # fmt: skip
def test_a_record_with_an_odd_value_is_damaged(key: str, value: object) -> None:
    """A record as it is stored passes."""
    data = RECORDS[0].to_json()
    assert record_in(json.dumps(data)) == RECORDS[0]
    with pytest.raises((ValueError, TypeError, AttributeError), match=r"."):
        record_in(json.dumps(data | {key: value}))


@pytest.mark.parametrize(
    ("reason", "why"),
    [("[Errno 28] No space left on device", "the disk is full"), ("[Errno 13] Permission denied: 'x'", "you may not write there"),
     ("[Errno 2] No such file", "was removed or renamed"), ("[Errno 40] it is a link", "no link"),
     ("disk I/O error", "usually a full disk")],
)  # fmt: skip
def test_a_failed_write_has_its_cause(folder: StudyFolder, reason: str, why: str) -> None:
    """By the system's number."""
    assert why in (write_failed(reason, folder).why or "")
