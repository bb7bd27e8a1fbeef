"""The checks and repairs in a study's folder before a session runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.storage.folder import StudyFolder
from sweep.storage.integrity import check_ours, check_whole, set_aside, set_orphans_aside
from sweep.storage.store import StudyStore
from sweep.study.record import TrialRecord, planned_record
from tests.support.studies import study_spec

SPEC = study_spec({"x": [0, 1, 2, 3]})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    found = StudyFolder(root=tmp_path / "runs" / "study")
    found.root.mkdir(parents=True)
    return found


@pytest.fixture
def records(folder: StudyFolder) -> list[TrialRecord]:
    """Two trials that were started, with a study file."""
    store = StudyStore(folder, SPEC)
    found = [planned_record(SPEC, number, {"x": number}) for number in range(2)]
    for record in found:
        store.start(record)
    store.close()
    folder.study_file.write_text("name: study\n")
    return found


def test_a_complete_study_passes(folder: StudyFolder, records: list[TrialRecord]) -> None:
    """Nothing is moved and nothing is said."""
    said: list[str] = []
    check_ours(folder)
    check_whole(folder)
    set_orphans_aside(folder, records, said.append)
    assert said == []
    assert all(folder.trial_dir(record.folder).is_dir() for record in records)


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("name", ["study.db", "study.yaml"])
def test_a_study_without_its_database_or_its_file_is_refused(folder: StudyFolder, name: str) -> None:
    """The trials would be planned again, or run with other settings."""
    (folder.root / name).unlink()
    with pytest.raises(SweepError, match=f"its {name} is gone") as caught:
        check_whole(folder)
    assert (caught.value.id, caught.value.exit_code) == ("study-incomplete", 4)


def test_a_folder_that_is_not_a_studys_is_refused(folder: StudyFolder) -> None:
    """An empty one, a missing one, and one with any file of a study pass."""
    check_ours(folder)
    (folder.root / "holiday.jpg").touch()
    with pytest.raises(SweepError, match="is in the way") as caught:
        check_ours(folder)
    assert caught.value.id == "not-a-study"
    folder.imported_trials.touch()
    check_ours(folder)
    check_ours(StudyFolder(root=folder.root / "missing"))


def test_run_folders_without_a_trial_are_set_aside(folder: StudyFolder, records: list[TrialRecord]) -> None:
    """Next to the study with all their files, also if one of that name is there; other folders and links stay."""
    said: list[str] = []
    outside = folder.root.parent / "0009_elsewhere"
    for path in (outside, folder.root / "notes", folder.root / "notes_0001"):
        path.mkdir()
        (path / "trial.json").touch()
    (folder.root / "0009_link").symlink_to(outside)
    for content in ("first", "second"):
        orphan = folder.root / "0007_x=7"
        orphan.mkdir()
        (orphan / "trial.json").write_text(content)
        set_orphans_aside(folder, records, said.append)
    aside = folder.root.parent / "study.forgotten"
    assert {path.name: (path / "trial.json").read_text() for path in aside.iterdir()} == {
        "0007_x=7": "first",
        "0007_x=7-2": "second",
    }
    assert said[0] == f"0007_x=7 belongs to no trial in study.db; it is now {aside}/0007_x=7"
    assert {path.name for path in folder.root.iterdir() if path.is_dir()} == {
        "notes", "notes_0001", "0009_link", *(record.folder for record in records)
    }  # fmt: skip


def test_moving_aside_keeps_everything(tmp_path: Path) -> None:
    """Twice within a second too."""
    folder = StudyFolder(root=tmp_path / "study")
    assert set_aside(folder) is None
    moved = []
    for content in ("one", "two"):
        folder.root.mkdir()
        (folder.root / "file").write_text(content)
        aside = set_aside(folder)
        assert aside is not None
        moved.append((aside / "file").read_text())
    assert moved == ["one", "two"]
    assert len(list(tmp_path.iterdir())) == 2
