"""A study at one moment, read from its folder while no session runs and while one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sweep.storage.folder import StudyFolder
from sweep.storage.lock import locked
from sweep.storage.snapshot import Snapshot
from sweep.storage.store import StudyStore
from sweep.study.record import planned_record
from sweep.study.trial import TrialState
from tests.support.studies import study_spec

PARAMETERS = {"x": [0, 1, 2, 3]}
LOSS = {"name": "loss", "goal": "minimize"}
SPEC = study_spec(PARAMETERS, metric=LOSS)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(root=tmp_path)


def store_trials(folder: StudyFolder) -> None:
    """Store trial 0 as complete, with one report, and trial 2 as running."""
    store = StudyStore(folder, SPEC)
    complete, running = (planned_record(SPEC, number, SPEC.grid.point(number)) for number in (0, 2))
    for record in (complete, running):
        store.start(dataclasses.replace(record, state=TrialState.RUNNING))
    complete = dataclasses.replace(complete, state=TrialState.COMPLETE, step=1, value=0.5, metrics={"loss": 0.5, "size": 4.0})
    store.report(complete)
    store.finish(complete)
    store.close()


def test_a_study_that_never_ran_has_no_records(folder: StudyFolder) -> None:
    """A grid lists its points all the same, and nothing is created."""
    snapshot = Snapshot.take(SPEC, folder)
    assert (snapshot.records, snapshot.runner, snapshot.time_spent, snapshot.eta_s, snapshot.slots) == ([], None, None, None, 0)
    assert [trial.params["x"] for trial in snapshot.trials()] == [0, 1, 2, 3]
    assert snapshot.status_json()["best"] is None
    assert list(folder.root.iterdir()) == []


def test_without_a_session_nothing_runs(folder: StudyFolder) -> None:
    """What a killed session left running waits; with a session it runs."""
    store_trials(folder)
    assert [record.state for record in Snapshot.take(SPEC, folder).records] == [TrialState.COMPLETE, TrialState.WAITING]
    with locked(folder):
        snapshot = Snapshot.take(SPEC, folder)
        assert snapshot.runner is not None
        assert [record.state for record in snapshot.records] == [TrialState.COMPLETE, TrialState.RUNNING]
        assert [trial["number"] for trial in snapshot.status_json()["running"]] == [2]


def test_the_trials_of_a_grid_are_in_order_with_those_to_come(folder: StudyFolder) -> None:
    """Trials 1 and 3 have not started; counts, best and curves are those of the others."""
    store_trials(folder)
    snapshot = Snapshot.take(SPEC, folder)
    assert [(trial.number, str(trial.state)) for trial in snapshot.trials()] == [
        (0, "complete"),
        (1, "waiting"),
        (2, "waiting"),
        (3, "waiting"),
    ]
    assert (snapshot.counts["complete"], snapshot.counts["waiting"]) == (1, 3)
    assert snapshot.ranking.best is not None
    assert snapshot.ranking.best.number == 0
    assert snapshot.curves([0, 2]) == {0: [(1, 0.5)]}


def test_keys_of_several_metrics_and_constraints_are_there_only_where_they_apply(folder: StudyFolder) -> None:
    """A study with one metric has neither `values` nor `front` nor `feasible`."""
    store_trials(folder)
    plain = Snapshot.take(SPEC, folder)
    assert {"values", "front", "feasible"}.isdisjoint(plain.trial_json(plain.records[0]))
    assert "front" not in plain.status_json()
    metrics = [LOSS, {"name": "size", "goal": "minimize"}]
    several = study_spec(PARAMETERS, metric=None, metrics=metrics, constraints={"size": {"max": 3.0}})
    snapshot = Snapshot.take(several, folder)
    data = snapshot.trial_json(snapshot.records[0])
    assert (data["values"], data["front"], data["feasible"]) == ([0.5, 4.0], False, False)
    assert data["dir"] == str(folder.trial_dir(snapshot.records[0].folder))
