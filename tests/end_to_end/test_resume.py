"""Going on exactly: whatever ends a trial wherever, the numbers are those of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder
from sweep.study.trial import TrialState
from tests.conftest import Cli, wait_for, write_objectives, write_study
from tests.support.reading import outcome, records

Start = Callable[..., subprocess.Popen[str]]

STUDY = """
name: study
objective: mine:learn
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {values: [1, 2]}
  steps: {value: 4}
workers: {devices: cpu, per_device: 2}
checkpoints: {keep_best: 100}
"""
# Every lasting effect of a report with a state, in their order.
EFFECTS = [
    "scalars written",
    "event files synced",
    "written",
    "synced",
    "kept the previous",
    "renamed",
    "folder synced",
    "report sent",
    "decided",
]


SLOWER = ["SIGTERM", "SIGHUP", "twice", "sweep stop"]


@pytest.fixture
def study(here: Path) -> Path:
    """A study file beside the test objectives."""
    write_objectives(here)
    return write_study(here, STUDY)


def runs(here: Path, name: str = "study") -> Path:
    return here / "runs" / name


def same_but(changes: set[str], one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Compare outcomes, leaving out some parameters."""

    def stripped(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            trial | {"params": {k: v for k, v in trial["params"].items() if k not in changes}, "number": 0} for trial in found
        ]

    return stripped(one) == stripped(other)


@pytest.mark.parametrize("effects", [EFFECTS[::3], pytest.param(EFFECTS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_report_is_one_unit_wherever_its_process_is_killed(cli: Cli, study: Path, here: Path, effects: list[str]) -> None:
    """Between each pair of its effects: the trial goes on in a new process, and no number or point differs."""
    done = cli("run", str(study), "x.value=1", f"parameters.kill={json.dumps({'values': ['nothing', *effects]})}")
    assert done.code == 0, done.err
    undisturbed, *killed = outcome(runs(here))
    assert undisturbed["points"]["score"] == [(step, undisturbed["points"]["score"][step - 1][1]) for step in range(1, 5)]
    assert set(undisturbed["points"]) == {"score", "best/score", "loss", "extra/first", "last"}
    assert undisturbed["ends"] == 1
    for trial, effect in zip(killed, effects, strict=True):
        assert same_but({"kill"}, [trial], [undisturbed]), effect
        assert (runs(here) / records(runs(here))[trial["number"]].folder / "killed").exists(), effect
    assert [record.attempts for record in records(runs(here))] == [1] + [2] * len(effects)
    assert done.out.count("resumed after step 1") + done.out.count("resumed after step 2") == len(effects)
    # Everything up to the rename belongs to step 1, everything after it to step 2.
    logs = [(runs(here) / record.folder / "log.txt").read_text() for record in records(runs(here))]
    assert ["resumes after step 2" in log for log in logs[1:]] == [EFFECTS.index(effect) >= 5 for effect in effects]


@pytest.mark.slow
def test_a_checkpoint_between_reports_counts_too(cli: Cli, study: Path, here: Path) -> None:
    """`trial.save` inside a step: what was logged since the last report stands once."""
    kills = ["nothing", "event files synced", "folder synced", "scalars written"]
    words = ["x.value=1", f"parameters.kill={json.dumps({'values': kills})}", "parameters.between.value=1"]
    done = cli("run", str(study), *words, "parameters.kill_at.value=3")
    assert done.code == 0, done.err
    undisturbed, *killed = outcome(runs(here))
    assert [step for step, _ in undisturbed["points"]["extra/first"]] == [1, 2, 3, 4]
    for trial, kill in zip(killed, kills[1:], strict=True):
        assert same_but({"kill"}, [trial], [undisturbed]), kill
    assert [record.attempts for record in records(runs(here))] == [1, 2, 2, 2]


@pytest.mark.parametrize("own", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_an_objective_that_ignores_its_state_starts_over(cli: Cli, study: Path, here: Path, own: str) -> None:
    """Going on without it would give other numbers, silently."""
    done = cli("run", str(study), "objective=mine:forgetful", f"parameters.own.value={own}")
    assert done.code == 0, done.err
    one, other = outcome(runs(here))
    assert (one["metrics"], one["points"]) == (other["metrics"], other["points"])
    assert [step for step, _ in other["points"]["extra"]] == [1, 2, 3, 4, 5]
    assert "does not read trial.state" in (runs(here) / records(runs(here))[1].folder / "log.txt").read_text()


@pytest.mark.slow
def test_reports_may_count_otherwise_than_steps(cli: Cli, study: Path, here: Path) -> None:
    """By batches, say: the trial goes on after the right step all the same."""
    words = ["x.value=1", "parameters.scale.value=100", "parameters.kill={values: [nothing, decided, renamed]}"]
    done = cli("run", str(study), *words, "parameters.kill_at.value=3")
    assert done.code == 0, done.err
    undisturbed, *killed = outcome(runs(here))
    assert [step for step, _ in undisturbed["points"]["score"]] == [100, 200, 300, 400]
    assert done.out.count("resumed after step 300") == 2
    for trial in killed:
        assert same_but({"kill"}, [trial], [undisturbed])


@pytest.mark.slow
def test_a_step_that_is_saved_half_way_is_finished(cli: Cli, study: Path, here: Path) -> None:
    """Though a report of the first batch has the number of the first step."""
    done = cli("run", str(study), "objective=mine:by_batches", "x.value=1", "parameters.kill_at={values: [0, 2, 6]}")
    assert done.code == 0, done.err
    undisturbed, *killed = outcome(runs(here))
    assert [step for step, _ in undisturbed["points"]["score"]] == list(range(1, 13))
    for trial in killed:
        assert same_but({"kill_at"}, [trial], [undisturbed])
    assert [record.attempts for record in records(runs(here))] == [1, 2, 2]


@pytest.mark.slow
def test_an_ordinary_training_loop_goes_on_exactly(cli: Cli, study: Path, here: Path) -> None:
    """A DataLoader with workers, a scheduler, dropout."""
    done = cli("run", str(study), "objective=mine:with_loader", "x.value=1", "parameters.kill_at={values: [0, 3]}")
    assert done.code == 0, done.err + done.out
    one, other = outcome(runs(here))
    assert "resumed after step 2" in done.out
    assert same_but({"kill_at"}, [one], [other])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_is_a_signal_to_the_runner(
    cli: Cli, study: Path, here: Path, start: Start, number: signal.Signals
) -> None:
    """As service managers and batch systems send it; one trial saves only when asked, and does so."""
    process = start("run", str(study), "objective=mine:saves_when_asked")
    wait_for(step_reached(here, 10))
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everything:
        one.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + number, out
    assert [record.state for record in records(runs(here))] == [TrialState.WAITING] * 2
    assert len(list(runs(here).glob("*/checkpoint.pt"))) == 2
    done = cli("resume", str(study), "objective=mine:saves_when_asked")
    assert done.code == 0, done.err
    for trial in outcome(runs(here)):
        steps = [step for step, _ in trial["points"]["score"]]
        assert steps == list(range(10, steps[-1] + 1, 10))


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_after_its_target_is_reached_still_finishes(
    cli: Cli, study: Path, here: Path, start: Start
) -> None:
    """What was in flight is settled by resuming, and nothing new is planned."""
    words = ["x.values=[1, 9, 2, 3]", "metric.target=20", "parameters.sleep.value=0.2"]
    # Trial 1 passes the target at its end; trial 0 is held up until then.
    process = start("run", str(study), *words, "steps.value=4", "parameters.hang_at.value=0")
    wait_for(lambda: any(record.state.finished for record in records(runs(here))))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    before = records(runs(here))
    done = cli("run", str(study), *words, "steps.value=4", "parameters.hang_at.value=0")
    assert done.code == 0, done.err
    after = records(runs(here))
    assert len(after) == len(before) < 4
    assert all(record.state is TrialState.COMPLETE for record in after)


@pytest.mark.slow
def test_what_waits_is_shown_as_waiting(cli: Cli, study: Path, here: Path, start: Start) -> None:
    """After a stop, and while another trial runs again; Optuna's tools see no trial left RUNNING."""
    words = ["steps.value=40", "parameters.sleep.value=0.1"]
    process = start("run", str(study), *words)
    wait_for(step_reached(here, 2))
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert cli("status", str(study), "--json").json["counts"]["waiting"] == 2
    with contextlib.closing(sqlite3.connect(runs(here) / "study.db")) as database:
        assert database.execute("SELECT state FROM trials").fetchall() == [("WAITING",), ("WAITING",)]
    spent = [record.duration_s or 0 for record in records(runs(here))]
    process = start("run", str(study), *words, "workers.per_device=1")
    wait_for(lambda: any(record.state is TrialState.RUNNING and (record.step or 0) > 3 for record in records(runs(here))))
    assert cli("status", str(study), "--json").json["counts"] | {"complete": 0} == {
        "waiting": 1, "running": 1, "complete": 0, "pruned": 0, "failed": 0,
    }  # fmt: skip
    assert (records(runs(here))[0].duration_s or 0) >= spent[0] > 0.2
    process.send_signal(signal.SIGINT)
    process.wait(20)


@pytest.fixture
def undisturbed(cli: Cli, study: Path, here: Path) -> list[dict[str, Any]]:
    """What the study comes to when nothing happens to it."""
    assert cli("run", str(study), "name=undisturbed", "steps.value=20").code == 0
    return outcome(runs(here, "undisturbed"))


def step_reached(here: Path, step: int) -> Callable[[], bool]:
    return lambda: sum((record.step or 0) >= step for record in records(runs(here))) == 2


def started(here: Path, number: int) -> Callable[[], bool]:
    return lambda: len(records(runs(here))) > number


@pytest.mark.parametrize("how", ["SIGINT", *(pytest.param(how, marks=pytest.mark.slow) for how in ("SIGKILL", *SLOWER))])
def test_whatever_ends_the_sweep_it_goes_on_exactly(
    how: str, cli: Cli, study: Path, here: Path, start: Start, undisturbed: list[dict[str, Any]]
) -> None:
    """Signals stop the trials at their next step; a second one, and kill -9, at once; the trials go on where they were."""
    process = start("run", str(study), "parameters.sleep.value=0.2", "steps.value=20")
    wait_for(step_reached(here, 2))
    if how == "sweep stop":
        asked = cli("stop", str(study))
        assert asked.code == 0, asked.err
        assert f"asked process {process.pid}" in asked.out
        assert "study: 2 waiting" in asked.out
    elif how == "twice":
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    out, _ = process.communicate(timeout=20)
    code = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "sweep stop": 143, "twice": 130, "SIGKILL": -9}[how]
    assert process.returncode == code, out
    if how != "SIGKILL":
        assert out.splitlines()[-1] == "resume the study:    sweep resume runs/study"
        assert "stopped by" in out
    assert lock_holder(StudyFolder(root=runs(here))) is None
    assert not (runs(here) / "stop").exists()

    done = cli("resume", "runs/study", "parameters.sleep.value=0", "steps.value=20")
    assert done.code == 0, done.err
    assert done.out.count("resumed after step") == 2
    assert same_but({"sleep"}, outcome(runs(here)), undisturbed)
    assert [record.attempts for record in records(runs(here))] == [2, 2]


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_by_its_timeout(cli: Cli, study: Path, here: Path) -> None:
    """It is failed with the reason and its log; the others go on; taken again it starts over and completes."""
    done = cli("run", str(study), "parameters.hang_at={values: [0, 2]}", "x.value=1", "timeout=3s")
    assert done.code == 1, done.err
    fine, hung = records(runs(here))
    assert (fine.state, hung.state) == (TrialState.COMPLETE, TrialState.FAILED)
    assert hung.error is not None
    assert hung.error.startswith("it took longer than 3 s (timeout); its last report was step 1\nlast lines of ")
    assert 3 <= (hung.duration_s or 0) < 10
    assert not list((runs(here) / hung.folder).glob("checkpoint*"))
    assert cli("resume", str(study), "parameters.hang_at={values: [0, 2]}", "x.value=1", "--retry-failed").code == 0
    one, other = outcome(runs(here))
    assert same_but({"hang_at"}, [one], [other])


@pytest.mark.slow
def test_a_trial_that_takes_too_long_inline_is_failed_at_its_next_report(cli: Cli, study: Path, here: Path) -> None:
    """Nothing can end a thread by force; its row has one status all the same."""
    done = cli("run", str(study), "x.value=1", "steps.value=100", "parameters.sleep.value=0.2", "timeout=1s", "--inline")
    assert done.code == 1, done.err
    [record] = records(runs(here))
    assert (record.error or "").startswith("it took longer than 1 s (timeout); its last report was step")
    assert outcome(runs(here))[0]["ends"] == 1


@pytest.mark.slow
def test_device_memory_that_runs_out_fails_the_trial_and_renews_its_process(cli: Cli, study: Path, here: Path) -> None:
    """The next trial of the slot has another process; the sweep goes on."""
    done = cli("run", str(study), "objective=mine:out_of_memory", "x.values=[1, 2, 3]", "workers.per_device=1")
    assert done.code == 1
    found = records(runs(here))
    assert [str(record.state) for record in found] == ["complete", "failed", "complete"]
    assert [record.attempts for record in found] == [1, 1, 1]
    assert (found[1].error or "").startswith("the device's memory ran out")
    assert "torch.OutOfMemoryError: CUDA out of memory" in (found[1].error or "")
    pids = [(runs(here) / record.folder / "pid").read_text() for record in found]
    assert pids[0] == pids[1] != pids[2]


@pytest.mark.slow
def test_an_interrupted_tpe_study_proposes_the_same_points(cli: Cli, study: Path, here: Path, start: Start) -> None:
    """With one worker, whatever was in flight when it was interrupted."""
    words = ["method=tpe", "budget.trials=16", "x={min: 0.0, max: 1.0}", "steps.value=2", "workers.per_device=1"]
    assert cli("run", str(study), *words, "name=undisturbed").code == 0
    for kills in (3, 9, 13):
        process = start("run", str(study), *words)
        wait_for(started(here, kills))
        process.kill()
        process.wait()
    assert cli("resume", str(study), *words).code == 0
    assert outcome(runs(here)) == outcome(runs(here, "undisturbed"))


@pytest.mark.slow
def test_only_the_best_trials_keep_their_checkpoints(cli: Cli, study: Path, here: Path) -> None:
    """Study-wide, one each; a study that asks for fewer later keeps fewer."""
    words = ["x.values=[1, 5, 3, 2, 4]", "parameters.how.value=ok"]
    assert cli("run", str(study), *words, "checkpoints.keep_best=2").code == 0
    assert [path.parent.name[:4] for path in sorted(runs(here).glob("*/*.pt"))] == ["0001", "0004"]
    assert cli("run", str(study), *words, "checkpoints.keep_best=1").code == 0
    assert [path.parent.name[:4] for path in sorted(runs(here).glob("*/*.pt"))] == ["0001"]
