"""Repeats: every assignment trained with several seeds, one trial and one row of them all."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from sweep.errors import StudyFileError, SweepError
from sweep.runner.ledger import Ledger
from sweep.runner.plain_lines import PlainLines
from sweep.storage.folder import StudyFolder
from sweep.storage.store import StudyStore
from sweep.study.compatibility import resumed_spec
from sweep.study.file.reading import read_study
from sweep.study.record import TrialRecord
from sweep.study.repeats import due, trial_of
from sweep.study.seeds import derive_seed
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialResult, TrialState
from sweep.worker.devices import Slot
from tests.conftest import Cli
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags, outcome, records
from tests.support.studies import run_record, write_objectives, write_study
from tests.support.tensorboards import served

STUDY = """
name: study
objective: mine:learn
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {values: [1, 2]}
  steps: {value: 3}
repeats: 3
workers: {per_device: 1}
"""


@pytest.fixture
def study(here: Path) -> Path:
    """Return the path of a study with two trials of three runs."""
    write_objectives(here)
    return write_study(here, STUDY)


@pytest.fixture
def spec(study: Path) -> StudySpec:
    """Return the same study as a specification."""
    return read_study(study)


def run(spec: StudySpec, repeat: int, state: TrialState, value: float | None = None) -> TrialRecord:
    return run_record(spec, 0, {"x": 1}, value, repeat=repeat, state=state, duration_s=1.0)


COMPLETE, FAILED, PRUNED, RUNNING, WAITING = (
    TrialState.COMPLETE,
    TrialState.FAILED,
    TrialState.PRUNED,
    TrialState.RUNNING,
    TrialState.WAITING,
)


@pytest.mark.parametrize(
    ("states", "allowed", "expected"),
    [
        ((COMPLETE,) * 3, 0, COMPLETE),
        ((COMPLETE,) * 2, 0, WAITING),
        ((COMPLETE, RUNNING), 0, RUNNING),
        ((COMPLETE, FAILED, RUNNING), 0, RUNNING),
        ((COMPLETE, FAILED), 0, FAILED),
        ((COMPLETE, FAILED), 1, WAITING),
        ((COMPLETE, FAILED, COMPLETE), 1, COMPLETE),
        ((FAILED, FAILED), 1, FAILED),
        ((PRUNED,), 0, PRUNED),
        ((COMPLETE, WAITING, COMPLETE), 0, WAITING),
    ],
)
def test_a_trials_state_is_that_of_its_runs(
    spec: StudySpec, states: tuple[TrialState, ...], allowed: int, expected: TrialState
) -> None:
    """It is complete if all runs have ended and no more of them failed than allowed."""
    spec = replace(spec, repeated=replace(spec.repeated, allow_failed=allowed))
    runs = [run(spec, repeat, state, 1.0) for repeat, state in enumerate(states)]
    assert trial_of(runs, spec).state is expected


def test_a_trials_value_is_the_mean_of_its_complete_runs(spec: StudySpec) -> None:
    """Its standard error is that of the mean."""
    spec = replace(spec, repeated=replace(spec.repeated, allow_failed=1))
    trial = trial_of([run(spec, 0, COMPLETE, 1.0), run(spec, 1, FAILED, 90.0), run(spec, 2, COMPLETE, 4.0)], spec)
    assert trial.value == trial.metrics["score"] == 2.5
    assert trial.standard_error == pytest.approx(statistics.stdev([1.0, 4.0]) / math.sqrt(2))
    assert trial.duration_s == 3.0
    assert trial.error is None


def test_what_is_left_to_run_follows_from_what_was_started(spec: StudySpec) -> None:
    """All runs start at once; with a pruner only the first one starts, and the others when it is complete."""
    pruned = replace(spec, pruner={"type": "median"})

    def left(study: StudySpec, *runs: TrialRecord) -> list[int]:
        return [run.repeat for run in due(0, {"x": 1}, runs, study)]

    assert left(spec) == [0, 1, 2]
    assert left(spec, run(spec, 1, RUNNING)) == [0, 2]
    assert left(spec, run(spec, 0, FAILED)) == []
    assert left(pruned) == [0]
    assert left(pruned, run(spec, 0, RUNNING)) == []
    assert left(pruned, run(spec, 0, COMPLETE)) == [1, 2]
    assert left(pruned, run(spec, 0, PRUNED)) == []


@pytest.mark.slow
def test_a_study_with_repeats_runs(study: Path, cli: Cli) -> None:
    """Each run has a folder and a seed; each trial has a value, a standard error and one row in the tab."""
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert "trial 1, repeat 2 complete" in done.out
    assert "trial 1 complete  score=" in done.out
    assert "2 complete" in done.out
    folder = study.parent / "runs" / "study"
    runs = records(folder)
    assert [run.key for run in runs] == [(number, repeat) for number in (0, 1) for repeat in (0, 1, 2)]
    assert [run.seed for run in runs] == [derive_seed(0, "repeat", str(repeat)) for _ in (0, 1) for repeat in (0, 1, 2)]
    assert sorted(path.name for path in folder.glob("0*")) == [
        f"000{x - 1}_x={x}_repeat={repeat}" for x in (1, 2) for repeat in (0, 1, 2)
    ]
    trials = cli("trials", str(study), "--format", "json").json
    for trial in trials:
        values = [run.value for run in runs if run.number == trial["number"] and run.value is not None]
        assert [run["value"] for run in trial["runs"]] == values
        assert trial["value"] == trial["metrics"]["score"] == statistics.fmean(values)
        assert trial["standard_error"] == pytest.approx(statistics.stdev(values) / math.sqrt(3))
    assert f"±{trials[0]['standard_error']:.4f}" in cli("best", str(study)).out
    assert cli("status", str(study), "--json").json["counts"]["complete"] == 2
    stored = optuna.load_study(study_name="study", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.value for trial in stored.trials] == [trial["value"] for trial in trials]
    groups = {run.folder: _group(folder / run.folder) for run in runs}
    assert set(groups.values()) == {"0000_x=1", "0001_x=2"}


def _group(run_folder: Path) -> str:
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = hparams_tags(run_folder)["_hparams_/session_start_info"]
    return str(plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.group_name)


@pytest.mark.slow
def test_a_failed_run_fails_its_trial_and_saves_the_others(study: Path, cli: Cli) -> None:
    """Unless the study allows as many failures; only the failed run is retried on request."""
    text = STUDY.replace("mine:learn", "mine:train").replace(
        "x:     {values: [1, 2]}", "x: {value: 1}\n  how: {values: [ok, raise]}"
    )
    done = cli("run", str(write_study(study.parent, text)))
    assert done.code == 1
    assert [str(run.state) for run in records(study.parent / "runs" / "study")] == ["complete"] * 3 + ["failed"]
    assert "trial 1 failed" in done.out
    trials = cli("trials", str(study), "--format", "json").json
    assert [trial["state"] for trial in trials] == ["complete", "failed"]
    assert "repeat 0: " in trials[1]["error"]
    (study.parent / "mine.py").write_text((study.parent / "mine.py").read_text().replace('raise RuntimeError("boom")', "return"))
    done = cli("resume", str(study), "--retry-failed")
    assert done.code == 4
    assert "trial 1, which failed, would be trained again beside them" in done.err
    done = cli("resume", str(study), "--retry-failed", "--keep")
    assert done.code == 0, done.err
    assert [str(run.state) for run in records(study.parent / "runs" / "study")] == ["complete"] * 6


@pytest.mark.slow
def test_a_pruned_first_run_spares_the_others(study: Path, cli: Cli) -> None:
    """The pruner uses the first run; the others start when it is complete."""
    text = STUDY.replace("mine:learn", "mine:train").replace("values: [1, 2]", "values: [8, 1]")
    done = cli("run", str(write_study(study.parent, text + "pruner: {type: median, n_startup_trials: 1}\n")))
    assert done.code == 0, done.err
    assert [str(run.state) for run in records(study.parent / "runs" / "study")] == ["complete"] * 3 + ["pruned"]
    assert [trial["state"] for trial in cli("trials", str(study), "--format", "json").json] == ["complete", "pruned"]


def test_no_run_is_handed_out_twice_or_lost(spec: StudySpec, here: Path) -> None:
    """This includes runs that wait for their workers, and runs that were interrupted and resume one after another."""
    folder = StudyFolder(root=here / "runs" / "study")
    folder.root.mkdir(parents=True)
    slot, observer = Slot(index=0, device="cpu", torch_device="cpu", threads=1), PlainLines(quiet=True)
    observer.begin(spec, (), 1)

    def handed(ledger: Ledger) -> TrialRecord:
        record = ledger.next()
        assert record is not None
        folder.trial_dir(record.folder).mkdir(exist_ok=True)
        return record

    def complete(ledger: Ledger, record: TrialRecord) -> None:
        done = ledger.settle(record, TrialResult(state=COMPLETE, metrics={"score": 1.0}), 0.1)
        ledger.finish(done)

    store = StudyStore(folder, spec)
    ledger = Ledger(spec, folder, store, (), observer)
    first, second, third = (handed(ledger) for _ in range(3))
    second = ledger.start(second, slot)  # whose worker was there first
    complete(ledger, ledger.start(first, slot))
    assert ledger.records[0].folder == first.folder
    fourth = handed(ledger)
    assert [run.key for run in (first, second, third, fourth)] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    started = [ledger.start(run, slot) for run in (third, fourth)]
    for run in (second, *started):
        ledger.interrupt(run, 0.1)
    store.close()

    store = StudyStore(folder, spec)
    ledger = Ledger(spec, folder, store, store.records(), observer)
    order = []
    while (record := ledger.next()) is not None:
        order.append(record.key)
        complete(ledger, ledger.start(record, slot))
    store.close()
    assert order == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [trial.state for trial in ledger.records] == [COMPLETE, COMPLETE]
    assert ledger.done


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_interrupted_repeats_end_the_same(study: Path, cli: Cli, how: str) -> None:
    """The number of workers does not matter."""
    text = STUDY.replace("steps: {value: 3}", "steps: {value: 8}\n  sleep: {value: 0}")
    calm = write_study(study.parent, text.replace("name: study", "name: calm"))
    assert cli("run", str(calm)).code == 0
    study = write_study(
        study.parent, text.replace("sleep: {value: 0}", "sleep: {value: 0.1}").replace("per_device: 1", "per_device: 2")
    )
    folder = study.parent / "runs" / "study"
    for key in ((0, 1), (1, 0)):
        interrupt("run", str(study), here=study.parent, when=reached(folder, 2, key=key), how=how)
    assert cli("run", str(study)).code == 0

    def values(name: str) -> list[tuple[tuple[int, int], float | None, int]]:
        return [(run.key, run.value, run.seed) for run in records(study.parent / "runs" / name)]

    assert values("study") == values("calm")
    assert len(outcome(folder)) == len(outcome(study.parent / "runs" / "calm"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("repeats: 0", "repeats.count: input should be greater than 0, got 0"),
        ("repeats: {count: 2, allow_failed: 2}", "repeats.allow_failed: 2 of 2 may not fail; at most 1"),
        ("repeats: {number: 2}", "repeats.number: unknown key"),
        ("repeats: many", "repeats: needs keys (count, allow_failed), got 'many'"),
    ],
)
def test_wrong_repeats_are_found_in_the_file(study: Path, line: str, message: str) -> None:
    """The message says what to write."""
    with pytest.raises(StudyFileError) as caught:
        read_study(write_study(study.parent, STUDY.replace("repeats: 3", line)))
    assert any(message in str(problem) for problem in caught.value.problems)


def test_repeats_and_a_seed_parameter_exclude_each_other(study: Path) -> None:
    """Both would select the random seed."""
    with pytest.raises(StudyFileError) as caught:
        read_study(write_study(study.parent, STUDY.replace("steps:", "seed: {values: [1, 2]}\n  steps:")))
    assert "repeats: cannot be combined with a parameter seed" in str(caught.value.problems[0])


def test_another_number_of_repeats_is_another_study(spec: StudySpec) -> None:
    """Means of three and of five runs are not comparable."""
    with pytest.raises(SweepError, match="another study file") as caught:
        resumed_spec(spec, replace(spec, repeated=replace(spec.repeated, count=5)), "runs/study")
    assert caught.value.why == "repeats: was 3, is now 5"


@pytest.mark.slow
def test_the_tab_has_one_row_of_means_for_each_trial(study: Path, cli: Cli) -> None:
    """The numbers are those of `sweep trials`, and each run has a status."""
    assert cli("run", str(study)).code == 0
    trials = cli("trials", str(study), "--format", "json").json
    with served(study.parent / "runs" / "study") as board:
        found = board.wait_for_rows(2)
        for row, trial in zip(sorted(found, key=lambda row: str(row["name"])), trials, strict=True):
            assert row["hparams"]["x"] == trial["params"]["x"]
            means = {value["name"]["tag"]: value["value"] for value in row["metricValues"]}
            assert means["score"] == pytest.approx(trial["value"])
            assert len(row["sessions"]) == 3
            assert {session["status"] for session in row["sessions"]} == {"STATUS_SUCCESS"}
