"""The file of remarks: changed as a whole by one at a time, read by everybody, and never a traceback."""

from __future__ import annotations

import fcntl
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.storage import remarks
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import Remarks, RemarksWatch, change_remarks, read_remarks
from sweep.study.ranking import complete_of
from sweep.study.repeats import trainings, trial_of
from tests.support.studies import run_record, study_spec, trial_record


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(root=tmp_path)


def dropping(number: int, folder: StudyFolder) -> tuple[Remarks, Remarks]:
    return change_remarks(folder, lambda now: replace(now, dropped=now.dropped | {number}))


def test_what_is_written_is_read_again(folder: StudyFolder) -> None:
    """With what it was before; a change that changes nothing writes nothing."""
    assert read_remarks(folder) == Remarks()
    said = Remarks(study="a\nnote \udcff", notes={3: "ü <b>"}, dropped=frozenset((12, 3)), in_hparams={3: "old"})
    assert change_remarks(folder, lambda now: said) == (Remarks(), said)
    assert read_remarks(folder) == said
    written = folder.remarks.stat().st_mtime_ns
    change_remarks(folder, replace)
    assert folder.remarks.stat().st_mtime_ns == written
    assert json.loads(folder.remarks.read_text())["dropped"] == [3, 12]


def test_changes_at_the_same_time_are_all_kept(folder: StudyFolder) -> None:
    """Each waits for the lock of the file that is there then."""
    threads = [threading.Thread(target=dropping, args=(number, folder)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_remarks(folder).dropped == frozenset(range(16))
    assert [path.name for path in folder.root.iterdir()] == ["remarks.json"]


def test_a_lock_that_is_not_given_back_is_said(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(remarks, "_PATIENCE_S", 0.2)
    dropping(1, folder)
    with folder.remarks.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SweepError, match="is locked by another process"):
            dropping(2, folder)
    assert dropping(2, folder)[1].dropped == {1, 2}


WRONG: list[dict[str, object]] = [
    {"dropped": [True]},
    {"dropped": 3},
    {"notes": {"x": "y"}},
    {"notes": {"1": 2}},
    {"in_hparams": []},
    {"study": 3},
    {"version": 2},
]
WHOLE = {"version": 1, "study": "", "notes": {}, "dropped": [], "in_hparams": {}}


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, "\udc80", *(json.dumps(WHOLE | wrong) for wrong in WRONG)])
def test_damage_is_a_message(folder: StudyFolder, text: str) -> None:
    """With what to do, for whoever reads it or changes it; the file stays."""
    folder.remarks.write_text(text, errors="surrogateescape")
    for use in (read_remarks, lambda folder: dropping(1, folder)):
        with pytest.raises(SweepError) as caught:
            use(folder)
        assert caught.value.id == "remarks-not-readable"
        assert "restore it" in str(caught.value)
    assert folder.remarks.read_text(errors="surrogateescape") == text


def test_no_link_is_followed(folder: StudyFolder, tmp_path: Path) -> None:
    """Neither to read nor to write."""
    other = tmp_path / "other"
    other.write_text("")
    folder.remarks.symlink_to(other)
    with pytest.raises(SweepError, match=r"remarks\.json cannot be used"):
        read_remarks(folder)
    with pytest.raises(SweepError, match="it is a link"):
        dropping(1, folder)
    assert other.read_text() == ""


def test_a_session_sees_changes_and_survives_damage(folder: StudyFolder) -> None:
    """What was said before holds until the file can be read again."""
    said: list[str] = []
    watch = RemarksWatch(folder, said.append)
    assert not watch.changed()
    dropping(1, folder)
    assert [watch.changed(), watch.changed()] == [True, False]
    folder.remarks.write_text("{")
    assert not watch.changed()
    assert len(said) == 1
    assert "what was said before holds" in said[0]
    assert watch.remarks.dropped == {1}
    folder.remarks.unlink()
    assert watch.changed()
    assert watch.remarks == Remarks()


def test_records_have_their_remarks_and_statistics_leave_dropped_trials_out() -> None:
    """Also the runs of a trial that is repeated; what is taken back counts again."""
    study = study_spec({"x": [0, 1]}, repeats=2)
    runs = [run_record(study, number, {"x": number}, 1.0, repeat=repeat) for number in (0, 1) for repeat in (0, 1)]
    said = Remarks(dropped=frozenset((1,)), notes={0: "good"})
    remarked = said.of(runs)
    assert [(run.number, run.dropped, run.note) for run in remarked] == [(0, False, "good")] * 2 + [(1, True, None)] * 2
    trials = [trial_of(remarked[:2], study), trial_of(remarked[2:], study)]
    assert [trial.dropped for trial in trials] == [False, True]
    assert [trial.number for trial in complete_of(trials)] == [0]
    assert [run.key for run in trainings(trials)] == [(0, 0), (0, 1)]
    assert Remarks().of(remarked) == runs
    assert "dropped" not in trial_record(1, dropped=True).to_json()
