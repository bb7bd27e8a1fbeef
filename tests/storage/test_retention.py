"""Which checkpoints and embeddings of finished trials stay in a study's folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.folder import StudyFolder
from sweep.storage.retention import Retention
from sweep.study.record import TrialRecord, planned_record
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import study_spec

LOSS = {"name": "loss", "goal": "minimize"}
SIZE = {"name": "size", "goal": "minimize"}


def study(keep_best: int, **keys: Any) -> StudySpec:
    return study_spec({"x": [0, 1, 2, 3]}, **({"metric": LOSS} | keys), checkpoints={"keep_best": keep_best})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(root=tmp_path)


def with_files(folder: StudyFolder, record: TrialRecord) -> TrialRecord:
    """Give a run both checkpoints with their earlier reports, and embeddings."""
    folder.embeddings(record.folder).mkdir(parents=True)
    for path in (*folder.checkpoints(record.folder)[:2], folder.history(record.folder)):
        path.write_text("state")
    return record


def ended(folder: StudyFolder, spec: StudySpec, number: int, **metrics: float) -> TrialRecord:
    planned = planned_record(spec, number, {"x": number})
    complete = dataclasses.replace(planned, state=TrialState.COMPLETE, value=metrics["loss"], metrics=metrics)
    return with_files(folder, complete)


def kept(folder: StudyFolder, what: str = "checkpoint.pt") -> list[int]:
    """Return the numbers of the trials that have such a file."""
    return sorted(int(path.relative_to(folder.root).parts[0][:4]) for path in folder.root.glob(f"*/{what}"))


@pytest.mark.parametrize(("keep_best", "numbers"), [(0, []), (1, [2]), (2, [1, 2])])
def test_the_checkpoints_of_the_best_trials_stay(folder: StudyFolder, keep_best: int, numbers: list[int]) -> None:
    """As many as the study says, decided after every trial; embeddings stay for the best one only."""
    spec = study(keep_best)
    retention = Retention(spec, folder, ())
    trials = [ended(folder, spec, number, loss=loss) for number, loss in enumerate((3.0, 2.0, 1.0, 4.0))]
    for trial in trials:
        retention.ended(trial)
    assert kept(folder) == kept(folder, "checkpoint.history.jsonl") == numbers
    assert kept(folder, "checkpoint.previous.pt") == []
    assert kept(folder, "plugins/*") == [2]
    assert [retention.keeps_embeddings(trial) for trial in trials] == [False, False, True, False]


def test_of_several_metrics_the_pareto_front_stays_first(folder: StudyFolder) -> None:
    """A trial of the front keeps its checkpoint before one outside it that is better in the first metric."""
    spec = study(2, metric=None, metrics=[LOSS, SIZE])
    retention = Retention(spec, folder, ())
    for number, (loss, size) in enumerate(((1.0, 5.0), (1.5, 6.0), (3.0, 1.0))):
        retention.ended(ended(folder, spec, number, loss=loss, size=size))
    assert kept(folder) == [0, 2]


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED])
def test_a_trial_without_a_result_keeps_nothing(folder: StudyFolder, state: TrialState) -> None:
    """Even if it is the only one."""
    spec = study(2)
    Retention(spec, folder, ()).ended(dataclasses.replace(ended(folder, spec, 0, loss=0.0), state=state))
    assert kept(folder) == kept(folder, "checkpoint.previous.pt") == kept(folder, "plugins/*") == []


def test_files_that_an_earlier_session_left_are_removed(folder: StudyFolder) -> None:
    """It may have been killed between a trial's end and the removal; an interrupted trial keeps both checkpoints."""
    spec = study(1)
    known = [ended(folder, spec, number, loss=loss) for number, loss in enumerate((2.0, 1.0))]
    known.append(dataclasses.replace(ended(folder, spec, 2, loss=0.0), state=TrialState.WAITING))
    Retention(spec, folder, known)
    assert kept(folder) == [1, 2]
    assert kept(folder, "checkpoint.previous.pt") == [2]


def test_every_repeat_of_a_best_trial_keeps_its_checkpoint(folder: StudyFolder) -> None:
    """They are ranked together, and stay or go together."""
    spec = study(1, repeats=2)
    retention = Retention(spec, folder, ())
    for number, loss in enumerate((2.0, 1.0)):
        runs = []
        for repeat in range(2):
            planned = planned_record(spec, number, {"x": number}, repeat)
            runs.append(with_files(folder, dataclasses.replace(planned, state=TrialState.COMPLETE, value=loss)))
        retention.ended(dataclasses.replace(runs[0], runs=tuple(runs)))
    assert kept(folder) == [1, 1]


def test_a_dropped_trial_keeps_its_files_and_no_place(folder: StudyFolder) -> None:
    """The next best one keeps its own, in the same session and in the next; what is taken back competes again."""
    spec = study(1)
    best, other, last = (ended(folder, spec, number, loss=float(number)) for number in (0, 1, 2))
    retention = Retention(spec, folder, [])
    retention.ended(best)
    dropped = dataclasses.replace(best, dropped=True)
    retention.remarked([dropped])
    retention.ended(other)
    retention.ended(last)
    assert kept(folder) == [0, 1]
    Retention(spec, folder, [dropped, other])
    assert kept(folder) == [0, 1]
    retention.remarked([best])
    assert kept(folder) == [0]
