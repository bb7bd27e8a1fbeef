"""Trainings without an end: a last step, a time after which a trial is complete, and when a target counts."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep import Trial
from sweep.errors import SweepError
from sweep.study.record import TrialRecord
from sweep.study.trial import TrialState
from sweep.worker.endings import TrialStopped
from tests.conftest import Cli
from tests.support.reading import hparams_tags, outcome, scalars
from tests.support.studies import write_study

STUDY: dict[str, Any] = {
    "name": "study",
    "metric": {"name": "score", "goal": "maximize"},
    "method": "grid",
    "parameters": {"x": {"values": [1]}},
    "workers": {"devices": "cpu", "per_device": 1},
}


def run(objective: Any, **keys: Any) -> tuple[TrialRecord, ...]:
    return sweep.run(STUDY | keys, objective, inline=True, quiet=True).trials


def for_ever(trial: Trial) -> None:
    for step in itertools.count(1):
        trial.report(step, {"score": float(step)}, state={"step": step})


def test_a_trial_is_complete_once_it_has_reported_the_last_step(here: Path) -> None:
    """Its value is that of this step, its curve ends there, and TensorBoard has its success once."""
    [trial] = run(for_ever, max_steps=4)
    assert (trial.state, trial.value, trial.step, trial.total) == (TrialState.COMPLETE, 4.0, 4, 4)
    folder = here / "runs" / "study" / trial.folder
    assert scalars(folder)["score"] == [(step, float(step)) for step in range(1, 5)]
    assert outcome(here / "runs" / "study")[0]["ends"] == 1
    assert hparams_tags(folder)["_hparams_/session_end_info"]


def test_an_objective_leaves_the_loop_over_its_steps_itself(here: Path) -> None:
    """`trial.steps` ends at the last step; what comes after the loop still counts."""

    def train(trial: Trial) -> dict[str, float]:
        steps = []
        for step in trial.steps(100):
            steps.append(step)
            trial.report(step, {"score": float(step)})
        return {"test": float(len(steps))}

    [trial] = run(train, max_steps=3)
    assert (trial.state, trial.metrics) == (TrialState.COMPLETE, {"score": 3.0, "test": 3.0})


def test_a_last_step_beyond_the_training_changes_nothing(here: Path) -> None:
    """An objective that ends before is complete as always."""

    def train(trial: Trial) -> None:
        for step in trial.steps(2):
            trial.report(step, {"score": float(step)})

    [trial] = run(train, max_steps=50)
    assert (trial.state, trial.value, trial.total) == (TrialState.COMPLETE, 2.0, 2)


def test_steps_that_skip_the_last_one_end_the_trial_after_it(here: Path) -> None:
    """The first report at or after the last step is the last."""

    def train(trial: Trial) -> None:
        for step in itertools.count(10, 10):
            trial.report(step, {"score": float(step)})

    [trial] = run(train, max_steps=35)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 40.0)


def test_an_objective_that_swallows_the_end_reports_nothing_more(here: Path) -> None:
    """Each further report raises again and is not stored."""

    def train(trial: Trial) -> None:
        for step in range(1, 9):
            try:
                trial.report(step, {"score": float(step)})
            except BaseException:
                trial.params["swallowed"] = True

    [trial] = run(train, max_steps=3)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 3.0)
    assert [step for step, _ in scalars(here / "runs" / "study" / trial.folder)["score"]] == [1, 2, 3]


def test_a_metric_that_is_missing_at_the_last_step_is_missing(here: Path) -> None:
    """As at the end of any trial."""

    def train(trial: Trial) -> None:
        for step in itertools.count(1):
            trial.report(step, {"other": 1.0})

    with pytest.raises(SweepError, match="score") as caught:
        run(train, max_steps=2)
    assert caught.value.id == "metric-never-reported"


def test_a_checkpoint_of_the_last_step_completes_the_trial_when_it_resumes(here: Path) -> None:
    """Interrupted between its checkpoint and the decision, it trains no further step."""

    def train(trial: Trial) -> None:
        first = (trial.state or {"step": 0})["step"] + 1
        for step in itertools.count(first):
            if trial.attempt == 1 and step == 3:
                assert trial._host is not None
                trial._host.exchange = dies  # type: ignore[method-assign]  # the process ends after the checkpoint
            trial.report(step, {"score": float(step)}, state={"step": step})

    def dies(report: object) -> Any:
        raise TrialStopped

    run(train, max_steps=3)
    [trial] = run(train, max_steps=3)
    assert (trial.state, trial.value, trial.attempts) == (TrialState.COMPLETE, 3.0, 2)
    assert [step for step, _ in scalars(here / "runs" / "study" / trial.folder)["score"]] == [1, 2, 3]


def test_another_last_step_is_another_study(here: Path) -> None:
    """Old and new trials would have been trained for different times."""
    run(for_ever, max_steps=2)
    with pytest.raises(SweepError, match="another study file") as caught:
        run(for_ever, max_steps=3)
    assert caught.value.why == "max_steps: was 2, is now 3"


def test_a_trial_whose_time_is_over_is_complete_at_its_next_report(here: Path) -> None:
    """With the last value of each metric, and one success in TensorBoard."""

    def train(trial: Trial) -> None:
        for step in itertools.count(1):
            time.sleep(0.02)
            trial.report(step, {"score": float(step)})

    [trial] = run(train, timeout={"after": 0.5, "then": "complete"})
    assert (trial.state, trial.error, trial.cause) == (TrialState.COMPLETE, None, None)
    assert trial.value == trial.step
    assert 0.5 <= (trial.duration_s or 0) < 5
    assert outcome(here / "runs" / "study")[0]["ends"] == 1


def test_without_the_metric_a_trial_whose_time_is_over_is_failed(here: Path) -> None:
    """It has nothing to be compared by."""

    def train(trial: Trial) -> None:
        for step in itertools.count(1):
            time.sleep(0.02)
            trial.report(step, {"other": 1.0})

    with pytest.raises(SweepError) as caught:
        run(train, timeout={"after": 0.3, "then": "complete"})
    assert caught.value.id == "metric-never-reported"


def test_a_target_counts_when_a_trial_is_complete(here: Path) -> None:
    """By its last value: a report on the way does not end the sweep."""

    def train(trial: Trial) -> None:
        trial.report(1, {"score": 10.0})
        trial.report(2, {"score": float(trial.params["x"])})

    keys = {"metric": {"name": "score", "goal": "maximize", "target": 3}, "parameters": {"x": {"values": [1, 2, 3, 4]}}}
    result = sweep.run(STUDY | keys, train, inline=True, quiet=True)
    assert [trial.value for trial in result.trials] == [1.0, 2.0, 3.0]
    assert result.ended_by == "the target 3 is reached"


SCRIPT_STUDY = """
command: python script.py ${args}
metric: {name: score, goal: maximize}
method: grid
parameters: {x: {values: [1]}}
workers: {devices: cpu, per_device: 1}
"""
LISTENS = """
import itertools
from sweep import trial
for step in itertools.count(1):
    trial.report(step, {"score": step})
"""
PRINTS = """
import itertools, time
for step in itertools.count(1):
    print('{"score": %d, "step": %d}' % (step, step), flush=True)
    time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [LISTENS, PRINTS], ids=["listens", "prints"])
def test_a_script_without_an_end_is_complete_at_the_last_step(cli: Cli, here: Path, script: str) -> None:
    """Whether it listens, and leaves `trial.report`, or only prints, and is ended."""
    (here / "script.py").write_text(script)
    write_study(here, SCRIPT_STUDY + "max_steps: 5\n")
    done = cli("run", "study.yaml")
    assert done.code == 0, done.out + done.err
    [trial] = cli("trials", "study.yaml", "--format", "json").json
    assert (trial["state"], trial["value"]) == ("complete", 5.0)
    assert "Traceback" not in (Path(trial["dir"]) / "log.txt").read_text()


@pytest.mark.slow
def test_a_trial_that_does_not_report_again_is_ended_by_force_and_complete(cli: Cli, here: Path) -> None:
    """Some seconds after its time, with what it has reported."""
    (here / "mine.py").write_text(
        "import time\ndef train(trial):\n    trial.report(1, {'score': 7.0})\n    while True:\n        time.sleep(0.01)\n"
    )
    text = SCRIPT_STUDY.replace("command: python script.py ${args}", "objective: mine:train")
    write_study(here, text + "timeout: {after: 1s, then: complete}\n")
    done = cli("run", "study.yaml")
    assert done.code == 0, done.out + done.err
    [trial] = outcome(here / "runs" / "study")
    assert (trial["state"], trial["metrics"], trial["ends"]) == ("complete", {"score": 7.0}, 1)
