"""The folder of a study that goes on from another one: what is damaged or leads elsewhere is not used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.checked import check_params
from sweep.storage.folder import StudyFolder
from sweep.storage.parents import place_checkpoint
from sweep.storage.regular import NotRegular
from sweep.study.record import planned_record
from sweep.study.spec import StudySpec
from tests.support.studies import study_spec

START: dict[str, Any] = {"from": {"study": "/runs/first", "top": 2, "parents": [7, 2]}}


@pytest.fixture
def study() -> StudySpec:
    """A study of two trials, each with its parent."""
    return study_spec({"parent": [7, 2], "x": {"inherited": [[7, 0.1], [2, 0.2]]}, "steps": 5}, **START)


def test_a_trial_of_another_parent_is_damage(study: StudySpec) -> None:
    """Nothing is computed with it."""
    record = planned_record(study, 0, study.grid.point(0))
    check_params(record, study)
    for other in (3, "7", None, (7,)):
        with pytest.raises(ValueError, match="which is no trial of the study"):
            check_params(replace(record, params=record.params | {"parent": other}), study)


def test_a_parents_checkpoint_is_placed_once(study: StudySpec, tmp_path: Path) -> None:
    """With the earlier reports that it counts on, which are the run's own file from then on."""
    folder = StudyFolder(root=tmp_path)
    copies = folder.parent_dir(2, 0)
    copies.mkdir(parents=True)
    (copies / "checkpoint.pt").write_bytes(b"state")
    (copies / "checkpoint.history.jsonl").write_bytes(b"[1, 2]\n")
    record = planned_record(study, 1, study.grid.point(1))
    place_checkpoint(folder, record)
    run = folder.trial_dir(record.folder)
    assert (run / "checkpoint.parent.pt").read_bytes() == b"state"
    with (run / "checkpoint.history.jsonl").open("ab") as file:
        file.write(b"[2, 3]\n")
    place_checkpoint(folder, record)
    assert (run / "checkpoint.history.jsonl").read_bytes() == b"[1, 2]\n[2, 3]\n"
    assert (copies / "checkpoint.history.jsonl").read_bytes() == b"[1, 2]\n"


@pytest.mark.parametrize("name", ["parents", "parents/0007"])
def test_a_link_in_the_place_of_the_copies_is_refused(
    study: StudySpec, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """It leads out of the study's folder."""
    folder = StudyFolder(root=tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(NotRegular, match="leads elsewhere"):
        place_checkpoint(folder, planned_record(study, 0, study.grid.point(0)))
