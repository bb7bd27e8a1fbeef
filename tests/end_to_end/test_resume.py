"""A study that is interrupted continues exactly: whatever ends a trial wherever, the numbers are those of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.storage.database import read_curves
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.interrupting import CODES, assert_undisturbed, interrupt, reached, run_killed, started, without
from tests.support.reading import outcome, records
from tests.support.studies import make_study, run_study, study_text

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

# Those on the file with a long trial's earlier reports, and those around them.
EARLIER = ["reports synced", "event files synced", "reports written", "synced", "kept the previous", "renamed"]

SLOWER = ["SIGTERM", "SIGHUP", "twice", "sweep stop"]


@pytest.fixture
def study(here: Path) -> Path:
    """A study file beside the test objectives."""
    keys: dict[str, Any] = {"workers": {"devices": "cpu", "per_device": 2}, "checkpoints": {"keep_best": 100}}
    return make_study(here, {"x": [1, 2], "steps": 4}, objective="mine:learn", **keys)


@pytest.fixture
def folder(here: Path) -> Path:
    """The folder of the study when it runs."""
    return here / "runs" / "study"


@pytest.mark.parametrize("effects", [EFFECTS[::3], pytest.param(EFFECTS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_report_is_one_unit_wherever_its_process_is_killed(study: Path, folder: Path, here: Path, effects: list[str]) -> None:
    """Between each pair of its effects: the trial continues in a new process, and no number or point differs."""
    kills = json.dumps({"values": ["nothing", *effects]})
    out, [undisturbed, *_] = run_killed(str(study), "x.value=1", f"parameters.kill={kills}", here=here)
    assert undisturbed["points"]["score"] == [(step, undisturbed["points"]["score"][step - 1][1]) for step in range(1, 5)]
    assert set(undisturbed["points"]) == {"score", "best/score", "loss", "extra/first", "last"}
    assert undisturbed["ends"] == 1
    assert all((folder / record.folder / "killed").exists() for record in records(folder)[1:])
    assert [record.attempts for record in records(folder)] == [1] + [2] * len(effects)
    assert out.count("resumed after step 1") + out.count("resumed after step 2") == len(effects)
    # Everything up to the rename belongs to step 1, everything after it to step 2.
    logs = [(folder / record.folder / "log.txt").read_text() for record in records(folder)]
    assert ["resumes after step 2" in log for log in logs[1:]] == [EFFECTS.index(effect) >= 5 for effect in effects]


@pytest.mark.parametrize("effects", [EARLIER[:1], pytest.param(EARLIER, marks=pytest.mark.slow)], ids=["one", "all"])
def test_the_earlier_reports_of_a_long_trial_are_there_once(study: Path, folder: Path, here: Path, effects: list[str]) -> None:
    """They are in a file of their own; killed around each effect on it, the trial continues with every report."""
    kills = json.dumps({"values": ["nothing", *effects]})
    words = ["x.value=1", "parameters.recent.value=1", f"parameters.kill={kills}", "parameters.kill_at.value=4", "steps.value=6"]
    out, _ = run_killed(str(study), *words, here=here)
    assert out.count("resumed after step 3") + out.count("resumed after step 4") == len(effects)
    curves = read_curves(StudyFolder(root=folder))
    assert len(curves) == 1 + len(effects)
    assert all(curve == curves[0] and [step for step, _ in curve] == list(range(1, 7)) for curve in curves.values())
    for record in records(folder):
        earlier = (folder / record.folder / "checkpoint.history.jsonl").read_text().splitlines()
        assert [json.loads(line)[0] for line in earlier] == list(range(1, len(earlier) + 1))
        assert len(earlier) >= 4


@pytest.mark.slow
def test_a_checkpoint_between_reports_counts_too(study: Path, folder: Path, here: Path) -> None:
    """`trial.save` inside a step: what was logged since the last report is there once."""
    kills = json.dumps({"values": ["nothing", "event files synced", "folder synced", "scalars written"]})
    words = ["x.value=1", f"parameters.kill={kills}", "parameters.between.value=1"]
    _, [undisturbed, *_] = run_killed(str(study), *words, "parameters.kill_at.value=3", here=here)
    assert [step for step, _ in undisturbed["points"]["extra/first"]] == [1, 2, 3, 4]
    assert [record.attempts for record in records(folder)] == [1, 2, 2, 2]


@pytest.mark.parametrize("own", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_an_objective_that_ignores_its_state_starts_over(cli: Cli, study: Path, folder: Path, own: str) -> None:
    """If it continued without its state, it would have other numbers, and nobody would see why."""
    done = cli("run", str(study), "objective=mine:forgetful", f"parameters.own.value={own}")
    assert done.code == 0, done.err
    one, other = outcome(folder)
    assert (one["metrics"], one["points"]) == (other["metrics"], other["points"])
    assert [step for step, _ in other["points"]["extra"]] == [1, 2, 3, 4, 5]
    assert "does not read trial.state" in (folder / records(folder)[1].folder / "log.txt").read_text()


@pytest.mark.slow
def test_reports_may_count_otherwise_than_steps(study: Path, here: Path) -> None:
    """For example by batches: the trial continues after the right step all the same."""
    words = ["x.value=1", "parameters.scale.value=100", "parameters.kill={values: [nothing, decided, renamed]}"]
    out, [undisturbed, *_] = run_killed(str(study), *words, "parameters.kill_at.value=3", here=here)
    assert [step for step, _ in undisturbed["points"]["score"]] == [100, 200, 300, 400]
    assert out.count("resumed after step 300") == 2


@pytest.mark.slow
def test_a_step_that_is_saved_half_way_is_finished(study: Path, folder: Path, here: Path) -> None:
    """Though a report of the first batch has the number of the first step."""
    words = ["objective=mine:by_batches", "x.value=1", "parameters.kill_at={values: [0, 2, 6]}"]
    _, [undisturbed, *_] = run_killed(str(study), *words, here=here, by="kill_at")
    assert [step for step, _ in undisturbed["points"]["score"]] == list(range(1, 13))
    assert [record.attempts for record in records(folder)] == [1, 2, 2]


@pytest.mark.slow
def test_an_ordinary_training_loop_continues_exactly(study: Path, here: Path) -> None:
    """A DataLoader with workers, a scheduler, dropout."""
    words = ["objective=mine:with_loader", "x.value=1", "parameters.kill_at={values: [0, 3]}"]
    out, found = run_killed(str(study), *words, here=here, by="kill_at")
    assert "resumed after step 2" in out
    assert len(found) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_is_a_signal_to_the_runner(
    cli: Cli, study: Path, folder: Path, here: Path, number: signal.Signals
) -> None:
    """As service managers and batch systems send it; an objective that saves only when it is asked does so."""
    with Running("run", str(study), "objective=mine:saves_when_asked", here=here) as running:
        running.wait_until(reached(folder, 10, trials=2))
        for process in running.processes():
            process.send_signal(number)
        assert running.end(20) == 128 + number, running.out
    assert [record.state for record in records(folder)] == [TrialState.WAITING] * 2
    assert len(list(folder.glob("*/checkpoint.pt"))) == 2
    done = cli("resume", str(study), "objective=mine:saves_when_asked")
    assert done.code == 0, done.err
    for trial in outcome(folder):
        steps = [step for step, _ in trial["points"]["score"]]
        assert steps == list(range(10, steps[-1] + 1, 10))


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_after_its_target_is_reached_still_finishes(
    cli: Cli, study: Path, folder: Path, here: Path
) -> None:
    """Trials that ran are completed by resuming, and no new one is planned."""
    # Trial 1 passes the target at its end; trial 0 is slower and still runs then.
    (here / "held.py").write_text(
        "from mine import learn\n"
        "def train(trial):\n"
        "    trial.params['sleep'] = 0.1 if trial.number else 1.0\n"
        "    return learn(trial)\n"
    )
    words = ["objective=held:train", "x.values=[1, 9, 2, 3]", "metric.target=20", "steps.value=4"]
    interrupt("run", str(study), *words, here=here, when=lambda: any(record.state.finished for record in records(folder)))
    before = records(folder)
    done = cli("run", str(study), *words)
    assert done.code == 0, done.err
    after = records(folder)
    assert len(after) == len(before) < 4
    assert all(record.state is TrialState.COMPLETE for record in after)


@pytest.mark.slow
def test_what_waits_is_shown_as_waiting(cli: Cli, study: Path, folder: Path, here: Path) -> None:
    """After a stop, and while another trial runs again; Optuna's tools see no trial left RUNNING."""
    words = ["run", str(study), "steps.value=40", "parameters.sleep.value=0.1"]
    interrupt(*words, here=here, when=reached(folder, 2, trials=2))
    assert cli("status", str(study), "--json").json["counts"]["waiting"] == 2
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        assert database.execute("SELECT state FROM trials").fetchall() == [("WAITING",), ("WAITING",)]
    spent = [record.duration_s or 0 for record in records(folder)]
    with Running(*words, "workers.per_device=1", here=here) as running:
        running.wait_until(
            lambda: any(record.state is TrialState.RUNNING and (record.step or 0) > 3 for record in records(folder))
        )
        assert cli("status", str(study), "--json").json["counts"] | {"complete": 0} == {
            "waiting": 1, "running": 1, "complete": 0, "pruned": 0, "failed": 0,
        }  # fmt: skip
        assert (records(folder)[0].duration_s or 0) >= spent[0] > 0.2
        running.send(signal.SIGINT)
        running.end(20)


def stopped(study: Path, here: Path, when: Callable[[], bool], cli: Cli, *words: str) -> Running:
    """Run the study and stop it by `sweep stop`."""
    with Running("run", str(study), *words, here=here) as running:
        running.wait_until(when)
        asked = cli("stop", str(study))
        assert asked.code == 0, asked.err
        assert f"asked process {running.process.pid}" in asked.out
        assert "study: 2 waiting" in asked.out
        assert running.end(20) == CODES["SIGTERM"], running.out
    return running


@pytest.mark.parametrize("how", ["SIGINT", *(pytest.param(how, marks=pytest.mark.slow) for how in ("SIGKILL", *SLOWER))])
def test_whatever_ends_the_sweep_it_continues_exactly(how: str, cli: Cli, study: Path, folder: Path, here: Path) -> None:
    """Signals stop the trials at their next step; a second one, and kill -9, at once; each trial continues where it was."""
    words = ["parameters.sleep.value=0.2", "steps.value=20"]
    when = reached(folder, 2, trials=2)
    if how == "sweep stop":
        ended = stopped(study, here, when, cli, *words)
    else:
        ended = interrupt("run", str(study), *words, here=here, when=when, how=how)
    if how != "SIGKILL":
        assert ended.lines[-1] == "resume the study:    sweep resume runs/study\n"
        assert "stopped by" in ended.out
    assert lock_holder(StudyFolder(root=folder)) is None
    assert not (folder / "stop").exists()

    done = cli("resume", "runs/study", "parameters.sleep.value=0", "steps.value=20")
    assert done.code == 0, done.err
    assert done.out.count("resumed after step") == 2
    assert_undisturbed(study, "steps.value=20", ignoring={"sleep"})
    assert [record.attempts for record in records(folder)] == [2, 2]


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_by_its_timeout(cli: Cli, study: Path, folder: Path) -> None:
    """It fails with the reason and its log; the others continue; retried, it starts over and completes."""
    done = cli("run", str(study), "parameters.hang_at={values: [0, 2]}", "x.value=1", "timeout=3s")
    assert done.code == 1, done.err
    fine, hung = records(folder)
    assert (fine.state, hung.state) == (TrialState.COMPLETE, TrialState.FAILED)
    assert hung.error is not None
    assert hung.error.startswith("it took longer than 3 s (timeout); its last report was step 1\nlast lines of ")
    assert 3 <= (hung.duration_s or 0) < 10
    assert not list((folder / hung.folder).glob("checkpoint*"))
    assert cli("resume", str(study), "parameters.hang_at={values: [0, 2]}", "x.value=1", "--retry-failed").code == 0
    one, other = outcome(folder)
    assert without(one, "hang_at", "number") == without(other, "hang_at", "number")


@pytest.mark.slow
def test_a_trial_that_takes_too_long_inline_is_failed_at_its_next_report(cli: Cli, study: Path, folder: Path) -> None:
    """A thread cannot be ended by force; its row has one status all the same."""
    done = cli("run", str(study), "x.value=1", "steps.value=100", "parameters.sleep.value=0.2", "timeout=1s", "--inline")
    assert done.code == 1, done.err
    [record] = records(folder)
    assert (record.error or "").startswith("it took longer than 1 s (timeout); its last report was step")
    assert outcome(folder)[0]["ends"] == 1


@pytest.mark.slow
def test_device_memory_that_runs_out_fails_the_trial_and_renews_its_process(cli: Cli, study: Path, folder: Path) -> None:
    """The next trial of the slot has another process; the sweep continues."""
    done = cli("run", str(study), "objective=mine:out_of_memory", "x.values=[1, 2, 3]", "workers.per_device=1")
    assert done.code == 1
    found = records(folder)
    assert [str(record.state) for record in found] == ["complete", "failed", "complete"]
    assert [record.attempts for record in found] == [1, 1, 1]
    assert (found[1].error or "").startswith("the device's memory ran out")
    assert "torch.OutOfMemoryError: CUDA out of memory" in (found[1].error or "")
    pids = [(folder / record.folder / "pid").read_text() for record in found]
    assert pids[0] == pids[1] != pids[2]


@pytest.mark.slow
def test_an_interrupted_tpe_study_proposes_the_same_points(cli: Cli, study: Path, folder: Path, here: Path) -> None:
    """With one worker, whatever ran when it was interrupted."""
    words = ["method=tpe", "budget.trials=16", "x={min: 0.0, max: 1.0}", "steps.value=2", "workers.per_device=1"]
    for trials in (4, 10, 14):
        interrupt("run", str(study), *words, here=here, when=started(folder, trials), how="SIGKILL")
    assert cli("resume", str(study), *words).code == 0
    assert_undisturbed(study, *words)


@pytest.mark.slow
def test_only_the_best_trials_keep_their_checkpoints(cli: Cli, study: Path, folder: Path) -> None:
    """In the whole study, one each; a study that asks for fewer later keeps fewer."""
    words = ["x.values=[1, 5, 3, 2, 4]", "parameters.how.value=ok"]
    assert cli("run", str(study), *words, "checkpoints.keep_best=2").code == 0
    assert [path.parent.name[:4] for path in sorted(folder.glob("*/*.pt"))] == ["0001", "0004"]
    assert cli("run", str(study), *words, "checkpoints.keep_best=1").code == 0
    assert [path.parent.name[:4] for path in sorted(folder.glob("*/*.pt"))] == ["0001"]


@pytest.mark.slow
def test_user_attributes_survive_an_interruption(here: Path) -> None:
    """What was recorded before the last checkpoint is recorded after it, too."""
    objective = """
        import os
        def train(trial):
            if trial.state is None:
                trial.set_user_attr("size", 12345)
            for step in trial.steps(3):
                trial.report(step, {"score": step}, {"step": step})
                if step == 2 and trial.attempt == 1:
                    os._exit(1)
        """
    (here / "mine.py").write_text(textwrap.dedent(objective))
    [trial] = run_study(study_text({"x": [1]}), folder=here).trials
    assert (trial["attempts"], trial["user_attrs"]) == (2, {"size": 12345})
