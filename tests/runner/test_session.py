"""What a session does around its trials: checks, the record of the study, renewed columns. Trials run in this process."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sweep.errors import SweepError
from sweep.runner.observers import SessionOutcome
from sweep.runner.runner import Runner
from sweep.runner.session import renew_columns, run_study
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import change_remarks
from sweep.storage.store import StudyStore
from sweep.study.file.reading import read_study
from sweep.study.trial import TrialState
from sweep.worker.handle import Trial
from tests.support.observing import Silent
from tests.support.reading import scalars
from tests.support.studies import write_objectives, write_study

STUDY = """
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  how:   {values: [ok]}
  x:     {values: [1, 2]}
  steps: {value: 1}
log: {figures: false, images: false}
workers: {devices: cpu, per_device: 1}
"""


@pytest.fixture
def folder(here: Path) -> StudyFolder:
    """The folder of a study that has not run, beside the test objectives."""
    write_objectives(here)
    return StudyFolder(root=here / "runs" / "study")


def session(folder: StudyFolder, text: str = STUDY, *, retry_failed: bool = False) -> tuple[SessionOutcome, Silent]:
    observer = Silent()
    path = write_study(folder.root.parent.parent, text)
    return run_study(read_study(path), folder, path, observer, inline=True, retry_failed=retry_failed), observer


def test_a_folder_that_is_not_a_study_is_refused(folder: StudyFolder) -> None:
    """Nothing is written into it."""
    folder.root.mkdir(parents=True)
    (folder.root / "thesis.tex").write_text("years of work")
    with pytest.raises(SweepError) as caught:
        session(folder)
    assert caught.value.id == "not-a-study"
    assert [path.name for path in folder.root.iterdir()] == ["thesis.tex"]


def test_a_study_whose_database_is_lost_is_refused(folder: StudyFolder) -> None:
    """Its trials would be trained again under other numbers."""
    session(folder)
    folder.database.unlink()
    with pytest.raises(SweepError) as caught:
        session(folder)
    assert caught.value.id == "study-incomplete"


def test_the_folder_says_what_was_run_and_with_what(folder: StudyFolder) -> None:
    """The resolved study file names its source; the environment has the slots; an old stop request is removed."""
    folder.root.mkdir(parents=True)
    folder.lock.touch()
    folder.stop_request.write_text("at once\n")
    outcome, _ = session(folder)
    assert outcome.exit_code == 0
    assert not folder.stop_request.exists()
    assert folder.study_file.read_text().endswith(f"# resolved from {folder.root.parent.parent / 'study.yaml'}\n")
    described = json.loads(folder.environment.read_text())
    assert described["slots"] == [{"device": "cpu", "threads": 1}]


def test_a_session_stops_before_its_first_trial(folder: StudyFolder) -> None:
    """When it was asked to before it runs; the outcome says that a request stopped it."""
    path = write_study(folder.root.parent.parent, STUDY)
    outcome = run_study(read_study(path), folder, path, Silent(), inline=True, on_start=Runner.stop)
    assert (outcome.exit_code, outcome.ended_by, outcome.records) == (None, "stopped on request", [])
    assert outcome.summary(read_study(path), [2]) == "study: 2 waiting; stopped by SIGINT"


def test_what_is_dropped_before_a_session_is_stopped_counts_no_more(folder: StudyFolder) -> None:
    """Though no trial ends after it: the Pareto front in TensorBoard follows."""
    metrics = "metrics: [{name: score, goal: maximize}, {name: size, goal: minimize}]"
    text = STUDY.replace("metric: {name: score, goal: maximize}", metrics).replace("[1, 2]", "[3, 2, 1]")
    path = write_study(folder.root.parent.parent, text)
    running: list[Runner] = []

    def train(trial: Trial) -> None:
        x = float(trial.params["x"])
        if x == 1:
            change_remarks(folder, lambda now: dataclasses.replace(now, dropped=frozenset((0,))))
            running[0].stop()
        for step in trial.steps(2):
            trial.report(step, {"score": x, "size": -x})

    study = read_study(path)
    outcome = run_study(study, folder, path, Silent(), objective=train, inline=True, on_start=running.append)
    assert [trial.state for trial in outcome.records] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.WAITING]
    assert scalars(next(folder.root.glob("0001*")))["front"][-1][1] == 1


def test_failed_trials_are_retried_only_on_request(folder: StudyFolder) -> None:
    """Under their own numbers, with the constants that the study file has now."""
    text = STUDY.replace("[ok]", "[ok, raise]").replace("[1, 2]", "[1]")
    assert session(folder, text.replace("steps: {value: 1}", "steps: {value: 3}"))[0].exit_code == 1  # it raises at step 2
    outcome, observer = session(folder, text)
    assert (outcome.exit_code, observer.seen) == (1, [])
    outcome, observer = session(folder, text, retry_failed=True)
    assert {run.number for _, _, run in observer.seen} == {1}
    assert [(record.attempts, record.params["steps"]) for record in outcome.records] == [(1, 3), (2, 1)]


def test_a_killed_sessions_runs_wait_as_soon_as_the_next_one_opens_the_study(folder: StudyFolder) -> None:
    """Their records said that they were running."""
    session(folder)
    path = folder.root.parent.parent / "study.yaml"
    study = read_study(path)
    store = StudyStore(folder, study)
    first = store.records()[0]
    store.start(dataclasses.replace(first, state=TrialState.RUNNING))
    store.close()
    seen = []

    def look(runner: Runner) -> None:
        seen.append(json.loads(folder.trial_file(first.folder).read_text())["state"])
        runner.stop()

    run_study(study, folder, path, Silent(), inline=True, on_start=look)
    assert seen == ["waiting"]


def test_columns_are_renewed_when_a_parameter_is_added(folder: StudyFolder) -> None:
    """Every earlier trial has them then, and the observer says so; with the same parameters nothing is renewed."""
    session(folder)
    extended = STUDY.replace("[1, 2]", "[1, 2, 3]")
    _, observer = session(folder, extended)
    assert observer.notices == ["the parameters have changed: renewing the HPARAMS columns of 2 trials"]
    _, observer = session(folder, extended)
    assert observer.notices == []


def test_columns_are_not_renewed_without_an_earlier_study(folder: StudyFolder) -> None:
    """There is nothing to renew in a folder without a study file."""
    observer = Silent()
    study = read_study(write_study(folder.root.parent.parent, STUDY))
    renew_columns(study, folder, observer)
    assert observer.notices == []
