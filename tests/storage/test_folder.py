"""The paths of a study's folder; names from a damaged database cannot lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.storage.folder import STOP_AT_ONCE, StudyFolder, folder_of, recorded
from sweep.storage.regular import NotRegular
from tests.support.studies import study_spec


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(root=tmp_path)


def test_the_names_of_the_files_are_those_of_every_version(folder: StudyFolder) -> None:
    """Old folders must resume."""
    paths = (folder.study_file, folder.database, folder.environment, folder.imported_trials)
    assert [path.name for path in paths] == ["study.yaml", "study.db", "environment.json", "prior.json"]
    assert [path.name for path in (folder.lock, folder.report, folder.stop_request)] == ["lock", "report.html", "stop"]
    assert {path.parent for path in (*paths, folder.lock, folder.report, folder.stop_request)} == {folder.root}
    run = folder.trial_dir("0001_x=1")
    assert folder.trial_file("0001_x=1") == run / "trial.json"
    assert [path.name for path in folder.checkpoints("0001_x=1")] == [
        "checkpoint.pt",
        "checkpoint.previous.pt",
        "checkpoint.parent.pt",
        "checkpoint.unusable.pt",
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", "zero\0", "link"])
def test_a_run_folder_elsewhere_is_refused(folder: StudyFolder, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By its name, and if it is a link."""
    (folder.root / "link").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises((ValueError, NotRegular), match="leads elsewhere"):
        folder.trial_file(name)


def test_a_studys_folder_is_its_name_in_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, from the working directory or the home directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of(study_spec({"x": 1}, output="out")).root == tmp_path / "out" / "study"
    assert folder_of(study_spec({"x": 1}, output="~/out")).root == tmp_path / "home" / "out" / "study"


def test_a_stop_request_is_taken_once(folder: StudyFolder) -> None:
    """Without one, the answer is empty."""
    assert folder.taken_stop_request("ab12") == ""
    folder.stop_request.write_text(STOP_AT_ONCE)
    assert folder.taken_stop_request("ab12") == STOP_AT_ONCE
    assert not folder.stop_request.exists()
    assert folder.taken_stop_request("ab12") == ""


@pytest.mark.parametrize(("text", "found"), [(None, {}), ("{", {}), ("[1]", {}), ('{"torch": "2"}', {"torch": "2"})])
def test_a_damaged_record_of_the_environment_counts_as_none(folder: StudyFolder, text: str | None, found: object) -> None:
    """It is information for people; a study runs without it."""
    if text is not None:
        folder.environment.write_text(text)
    assert recorded(folder) == found
