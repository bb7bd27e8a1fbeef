"""How time is spent: every second of the wall clock is counted once, whatever happens to trials, workers and runner."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

import sweep
from sweep.runner import ledger
from sweep.runner.timers import RunningClock, SessionTimer
from sweep.storage.database import read_time
from sweep.storage.folder import StudyFolder
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.timing import Stopwatch, TimeBreakdown
from sweep.worker import checkpoint
from tests.conftest import Cli
from tests.support.interrupting import interrupt
from tests.support.studies import write_objectives, write_study
from tests.support.waiting import wait_for

STUDY: dict[str, Any] = {
    "name": "study",
    "metric": {"name": "score", "goal": "maximize"},
    "method": "grid",
    "parameters": {"x": {"values": [1]}},
    "workers": {"devices": "cpu", "per_device": 1},
}
TEXT = """
name: study
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {value: 1}
  steps: {value: 1}
  how:   {value: ok}
  sleep: {values: [3, 0.3, 0.29]}
workers: {devices: cpu, per_device: 2}
"""
ALMOST = 0.98  # what is slept, when it is shared out over the wall clock to the millisecond


def breakdown_of(folder: Path) -> TimeBreakdown:
    found = read_time(StudyFolder(root=folder.resolve()))
    assert found is not None
    return found


def run_inline(objective: Callable[[sweep.Trial], Any] | None, **keys: Any) -> TimeBreakdown:
    return breakdown_of(sweep.run(STUDY | keys, objective, inline=True, quiet=True).dir)


def sums_up(spent: dict[str, float]) -> bool:
    """Return whether there are five parts, none is negative, and they sum to the wall clock time."""
    parts = [seconds for name, seconds in spent.items() if name != "wall_s"]
    return len(parts) == 5 and min(parts) >= 0 and sum(parts) == pytest.approx(spent["wall_s"])


def sleeps(trial: sweep.Trial) -> None:
    """Train for half a second."""
    time.sleep(0.5)
    trial.report(1, {"score": 1})


class Now:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def test_time_in_which_nothing_could_run_is_not_counted() -> None:
    """A long interval between two ticks was a suspension, unless this process has computed in it."""
    now, computed = Now(), Now()
    clock = RunningClock(now, computed)
    now.seconds += 0.75
    assert clock() == 0.75
    now.seconds += 3600
    assert clock() == pytest.approx(0.95)
    now.seconds += 5
    computed.seconds += 4
    assert clock() == pytest.approx(5.95)
    assert clock() == pytest.approx(5.95)


def test_the_clock_ticks_while_the_runner_waits() -> None:
    """A wait of the runner's is no suspension."""
    clock = RunningClock()
    with clock.ticking():
        time.sleep(1.5)
        assert clock() == pytest.approx(1.5, abs=0.4)


def test_each_part_of_a_trial_is_counted_as_what_it_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparation, the objective, scalars, a checkpoint and the way of a report, each of which takes its time."""
    slow = {"scalars written": 0.2, "written": 0.4, "report sent": 0.1}
    monkeypatch.setattr(checkpoint, "passed", lambda effect: time.sleep(slow.get(effect, 0.0)))

    def train(trial: sweep.Trial) -> None:
        for step in trial.steps(2):
            time.sleep(0.3)
            trial.report(step, {"score": step}, {"step": step})

    train.prepare = lambda params: time.sleep(0.5)  # type: ignore[attr-defined]  # a function has no declared attributes
    began = time.monotonic()
    found = run_inline(train)
    assert found.total <= time.monotonic() - began
    assert found.training >= 0.6 * ALMOST
    assert found.logging >= 0.4 * ALMOST
    assert found.checkpointing >= 0.8 * ALMOST
    assert found.waiting >= 0.2 * ALMOST
    assert found.starting >= 0.5 * ALMOST


@pytest.mark.slow
def test_status_and_report_say_where_the_time_of_two_slots_went(cli: Cli, here: Path) -> None:
    """Three trials, one of them long: the other slot waits at last. Optuna's tools find it, too."""
    write_objectives(here)
    study = str(write_study(here, TEXT))
    assert cli("run", study).code == 0
    spent = cli("status", study, "--json").json["time"]
    assert sums_up(spent)
    assert spent["wall_s"] >= 3.0
    assert spent["training_s"] >= (3.0 + 0.3 + 0.29) / 2 * ALMOST
    assert spent["waiting_s"] > 0.2
    assert spent["starting_s"] > 0.2
    shares = ", ".join(rf"{name} \d+\.\d %" for name in ("training", "logging", "checkpointing", "starting", "waiting"))
    assert re.search(rf"^time  \d+\.\d s on 2 slots: {shares}$", cli("status", study).out, flags=re.MULTILINE)
    assert re.search(rf"All sessions took \d+\.\d s on 2 slots: {shares}\.", (here / "runs/study/report.html").read_text())
    stored = optuna.load_study(study_name="study", storage=f"sqlite:///{here}/runs/study/study.db")
    assert stored.user_attrs["sweep:time"] == spent


def test_it_is_there_while_the_study_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running trial is counted before its first report."""
    monkeypatch.setattr(ledger, "_TIME_EVERY_S", 0.0)
    seen: list[dict[str, Any]] = []

    def train(trial: sweep.Trial) -> None:
        folder = StudyFolder(root=trial.dir.parent)
        wait_for(lambda: (found := read_time(folder)) is not None and found.training > 0.3)
        seen.append(Snapshot.take(stored_study(folder), folder).status_json())
        trial.report(1, {"score": 1})

    found = run_inline(train)
    assert seen[0]["runner"] is not None
    assert sums_up(seen[0]["time"])
    assert 0.3 < seen[0]["time"]["training_s"] <= found.training


def test_a_study_that_goes_on_adds_up(here: Path) -> None:
    """The time between two runs is nobody's; a run that finds nothing to do changes nothing."""
    first = run_inline(sleeps)
    time.sleep(1.0)
    began = time.monotonic()
    both = run_inline(sleeps, parameters={"x": {"values": [1, 2]}})
    assert 0.5 <= both.total - first.total <= time.monotonic() - began
    assert both.training - first.training >= 0.5 * ALMOST
    assert run_inline(sleeps, parameters={"x": {"values": [1, 2]}}) == both


@pytest.mark.parametrize("how", ["raises", "is pruned", "takes too long", "is a script"])
def test_a_trial_counts_however_it_ends(here: Path, how: str) -> None:
    """What it trained is not lost, nor what a script did."""

    def train(trial: sweep.Trial) -> None:
        time.sleep(0.5)
        if how == "raises":
            raise RuntimeError("boom")
        trial.report(1, {"score": 1})
        while not trial.stop_requested:
            time.sleep(0.01)
        trial.save({})

    ways: dict[str, dict[str, Any]] = {
        "raises": {},
        "is pruned": {"pruner": {"type": "threshold", "upper": 0.5}},
        "takes too long": {"timeout": 1},
        "is a script": {"command": ["python", "-c", "import time; time.sleep(0.5); print('{\"score\": 1}')"]},
    }
    found = run_inline(None if how == "is a script" else train, **ways[how])
    assert found.training >= (1.0 if how == "takes too long" else 0.5) * ALMOST
    assert sums_up(found.to_json())


@pytest.mark.slow
def test_what_a_killed_worker_trained_counts(cli: Cli, here: Path) -> None:
    """Until its last report, and after it; then the slot starts again."""
    write_objectives(here)
    study = str(write_study(here, TEXT))
    done = cli("run", study, "sleep.values=[0.5]", "steps.value=3", "how.value=kill once")
    assert done.code == 0, done.err
    spent = cli("status", study, "--json").json["time"]
    assert sums_up(spent)
    assert spent["training_s"] >= (2 + 3) * 0.5 * ALMOST


@pytest.mark.slow
def test_a_killed_runner_leaves_an_account_that_adds_up(here: Path) -> None:
    """What it wrote down last holds, and the next run adds to it."""
    write_objectives(here)
    study, folder = str(write_study(here, TEXT)), here / "runs" / "study"
    words = ["sleep.values=[0.1]", "steps.value=600"]

    def has_trained() -> bool:
        return (read_time(StudyFolder(root=folder)) or TimeBreakdown()).training > 0

    interrupt("run", study, *words, here=here, when=has_trained, how="SIGKILL")
    killed = breakdown_of(folder)
    assert sums_up(killed.to_json())
    interrupt("resume", study, *words, here=here, when=lambda: breakdown_of(folder).total > killed.total, how="SIGKILL")
    assert breakdown_of(folder).training >= killed.training
    assert sums_up(breakdown_of(folder).to_json())


def test_a_study_that_nobody_measured_has_no_such_line(cli: Cli, here: Path) -> None:
    """As one of an older version: status, its JSON and the report leave it out, and the next run begins to measure."""
    folder = sweep.run(STUDY, sleeps, inline=True, quiet=True).dir
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("DELETE FROM study_user_attributes")
    database.close()
    assert cli("status", str(folder), "--json").json["time"] is None
    shown = cli("status", str(folder))
    assert "1 complete of 1" in shown.out
    assert "time  " not in shown.out
    assert cli("report", str(folder)).code == 0
    assert "All sessions took" not in (folder / "report.html").read_text()
    assert run_inline(sleeps, parameters={"x": {"values": [1, 2]}}).training >= 0.5 * ALMOST


def test_slots_that_come_and_go_share_the_wall_clock() -> None:
    """Each counts for as long as it was there; what a worker reports replaces what the runner assumes."""
    now = Now()
    timer = SessionTimer(now)
    now.seconds += 1
    first = timer.add_slot(from_start=True)
    assert timer.read() == TimeBreakdown(starting=1)
    now.seconds += 1
    first.turn_to("training")
    now.seconds += 4
    assert timer.read() == TimeBreakdown(starting=2, training=4)
    first.update(TimeBreakdown(starting=1, training=2, logging=0.5))
    assert timer.read() == TimeBreakdown(starting=3, training=2, logging=0.5, waiting=0.5)
    second = timer.add_slot()
    now.seconds += 2
    second.turn_to("waiting")
    now.seconds += 2
    second.turn_to(None)
    now.seconds += 2
    whole = TimeBreakdown(starting=3 + 2, training=2 + 6, logging=0.5, waiting=0.5 + 2)
    assert whole.total == 12 + 4
    assert timer.read() == whole.scaled_to(12)
    assert timer.read().total == pytest.approx(12)


def test_a_stopwatch_counts_what_interrupts_the_training_once() -> None:
    """What happens within something else belongs to that, and before the training to the start."""
    now = Now()
    watch = Stopwatch(now)
    assert not watch.interrupt("logging")
    now.seconds += 1
    watch.turn_to("training")
    now.seconds += 2
    assert watch.interrupt("checkpointing")
    now.seconds += 4
    assert not watch.interrupt("logging")
    now.seconds += 8
    watch.turn_to("training")
    assert watch.read() == TimeBreakdown(starting=1, training=2, checkpointing=12)


def test_a_breakdown_without_slots_is_all_start() -> None:
    """A run that has not come to its slots yet; and what is stored comes back."""
    assert TimeBreakdown().scaled_to(3) == TimeBreakdown(starting=3)
    assert TimeBreakdown().shares == {}
    whole = TimeBreakdown(training=1.0004, waiting=2)
    assert TimeBreakdown.from_json(whole.to_json()) == TimeBreakdown(training=1, waiting=2)
    assert whole.to_json()["wall_s"] == 3
