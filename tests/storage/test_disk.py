"""What a study does not need of its folder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.disk import remove, spare_files, spare_folders, usage
from sweep.storage.folder import StudyFolder
from sweep.storage.outline import outline, study_in
from sweep.study.file.writing import write_study
from sweep.study.record import TrialRecord
from sweep.study.spec import CheckpointsSpec, StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import run_record, study_spec

STUDY = study_spec({"x": [0, 1, 2, 3]}, metric={"name": "loss", "goal": "minimize"})
KEPT = ["trial.json", "log.txt", "events.out.tfevents.1", "wandb/checkpoint.pt", "checkpoint.pth", "mine.unfinished", ".x"]
FILES = [
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "checkpoint.history.jsonl",
    "checkpoint.unusable.pt",
    ".checkpoint.pt.unfinished",
]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study's folder whose four trials have every kind of file, of ten bytes each."""
    folder = StudyFolder(root=tmp_path / "study")
    for trial in trials():
        place = folder.root / trial.folder
        (place / "wandb").mkdir(parents=True)
        for name in [*FILES, *KEPT]:
            (place / name).write_text("0123456789")
    (folder.root / "parents" / "0007").mkdir(parents=True)
    (folder.root / "parents" / "0007" / "checkpoint.pt").write_text("0123456789")
    return folder


def trials(last: TrialState = TrialState.COMPLETE) -> list[TrialRecord]:
    """Return the records of four trials, the second of which is the best."""
    found = [run_record(STUDY, number, {"x": number}, value=abs(number - 1.2)) for number in range(4)]
    return [*found[:3], replace(found[3], state=last)]


def spare(folder: StudyFolder, records: list[TrialRecord], keep_best: int, study: StudySpec = STUDY) -> dict[str, list[str]]:
    """Return the names of the spare files of each folder."""
    found: dict[str, list[str]] = {}
    for one in spare_files(study, folder, records, usage(folder.root), keep_best=keep_best):
        assert one.size == 10 * len(one.paths)
        for path in one.paths:
            place, _, name = path.relative_to(folder.root).as_posix().partition("/")
            found.setdefault(place[:4] if name else place, []).append(name)
    return found


@pytest.mark.parametrize(
    ("keep_best", "kept"), [(0, set()), (1, {"0001"}), (2, {"0001", "0002"}), (9, {"0000", "0001", "0002", "0003"})]
)
def test_checkpoints_of_ended_trials_are_spare_but_for_the_best(folder: StudyFolder, keep_best: int, kept: set[str]) -> None:
    """No other file is, neither a number nor what a script wrote."""
    found = spare(folder, trials(), keep_best)
    assert found.pop("parents") == [""]
    for place, names in found.items():
        assert sorted(names) == sorted(set(FILES) - ({"checkpoint.pt", "checkpoint.history.jsonl"} if place in kept else set()))
    assert len(found) == 4


@pytest.mark.parametrize("state", [TrialState.WAITING, TrialState.FAILED])
def test_a_trial_that_waits_keeps_what_it_needs(folder: StudyFolder, state: TrialState) -> None:
    """Its last two checkpoints with their reports; and the parents' checkpoints stay as long as a trial may start from them."""
    found = spare(folder, trials(state), 1)
    assert "parents" not in found
    unneeded = {"checkpoint.unusable.pt", ".checkpoint.pt.unfinished"}
    assert set(found["0003"]) == (unneeded if state is TrialState.WAITING else set(FILES))


def test_the_parents_stay_while_trials_are_to_come(folder: StudyFolder) -> None:
    """Whose number is not known, or larger."""
    assert "parents" not in spare(folder, trials()[:3], 1)
    unlimited = study_spec({"x": {"min": 0.0, "max": 1.0}}, method="random", budget={"time": "1h"})
    assert "parents" not in spare(folder, trials(), 1, unlimited)


def test_the_runs_of_a_trial_stay_until_all_have_ended(folder: StudyFolder) -> None:
    """A checkpoint of one that is complete is not spare while the next repeat waits."""
    repeated = study_spec({"x": [0, 1, 2, 3]}, metric={"name": "loss", "goal": "minimize"}, repeats=2)
    runs = (trials()[0], replace(trials()[3], number=0, repeat=1, state=TrialState.WAITING))
    trial = replace(trials()[0], state=TrialState.WAITING, runs=runs)
    assert all("checkpoint.pt" not in names for names in spare(folder, [trial], 0, repeated).values())


def test_links_are_neither_counted_nor_followed(folder: StudyFolder, tmp_path: Path) -> None:
    """Nor is what they lead to removed."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoint.pt").write_text("a" * 1000)
    before = usage(folder.root).total
    (folder.root / "0009").symlink_to(other)
    assert usage(folder.root).total == before
    assert remove([folder.root / "0009"]) == []
    assert (other / "checkpoint.pt").exists()


def test_what_was_moved_aside_is_spare(folder: StudyFolder) -> None:
    """By `--fresh`, or since its trials were unknown; another folder, or a study, with such a name is not."""
    aside = [folder.root.with_name(name) for name in ("study.20261130-120000", "study.20261130-120000-2", "study.forgotten")]
    names = "study.20261130", "study.20261130-120001", "study.20261130-120002", "study2.forgotten"
    others = [folder.root.with_name(name) for name in names]
    for path in [*aside, *others]:
        (path / "0000").mkdir(parents=True)
        (path / "0000" / "log.txt").write_text("0123456789")
    for path, name in ((aside[0], "study"), (aside[1], "study"), (others[2], others[2].name)):
        (path / "study.yaml").write_text(write_study(replace(STUDY, name=name)))
        (path / "study.db").touch()
    found = spare_folders(folder)
    assert [path for one in found for path in one.paths] == aside
    assert found[2].size == 10
    assert remove(path for one in found for path in one.paths) == []
    assert not any(path.exists() for path in aside)
    assert all(path.exists() for path in others)


def test_a_removal_that_was_killed_is_taken_up_again(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file was the last: what is left of a folder that was moved aside is found."""
    unlink = os.unlink
    for last in range(1, 6):
        aside = folder.root.with_name("study.20261130-120000")
        (aside / "0000").mkdir(parents=True, exist_ok=True)
        (aside / "study.yaml").write_text(write_study(STUDY))
        for name in ("study.db", "environment.json", "lock", "0000/log.txt"):
            (aside / name).touch()
        left = [last]

        def kill(path: Any, *, left: list[int] = left, **options: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            unlink(path, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", kill)
            with contextlib.suppress(KeyboardInterrupt):
                remove([aside])
        found = [path for one in spare_folders(folder) for path in one.paths]
        assert found == ([aside] if last < 5 else [])


def test_what_stays_is_said(folder: StudyFolder) -> None:
    """As many as there are: of dropped trials, none."""
    said = [
        spare_files(STUDY, folder, records, usage(folder.root), keep_best=3)[0].what
        for records in ([replace(one, dropped=True) for one in trials()], trials()[:1], trials())
    ]
    assert said == [
        "checkpoints of 4 trials that ended; none stays",
        "checkpoints of 1 trial that ended; that of the best trial stays",
        "checkpoints of 4 trials that ended; those of the 3 best trials stay",
    ]


@pytest.mark.parametrize(("kept", "stay"), [(0, 1), (2, 2)])
def test_the_study_says_how_many_checkpoints_stay(folder: StudyFolder, kept: int, stay: int) -> None:
    """At least that of the best trial, also when the study is known by its outline."""
    study = replace(STUDY, checkpoints=CheckpointsSpec(keep_best=kept))
    outlined = study_in(outline(study, "text"), b"text")
    assert outlined is not None
    for one in (study, outlined):
        paths = spare_files(one, folder, trials(), usage(folder.root))[0].paths
        assert sum(path.name == "checkpoint.pt" for path in paths) == 4 - stay
