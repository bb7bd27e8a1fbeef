"""Faults at random moments and at chosen ones, against real studies: afterwards every number is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.study.trial import TrialState
from tests.conftest import Cli, wait_for, write_objectives, write_study
from tests.support.reading import outcome, records, scalars

pytestmark = pytest.mark.slow
FASHION = """
name: study
objective: sweep.objectives.fashion_mnist:train
metric: {name: validation/accuracy, goal: maximize}
method: grid
parameters:
  lr:               {values: [0.01, 0.001]}
  shuffle:          {values: [true, false]}
  epochs:           {value: 8}
  train_samples:    {value: 4000}
  checkpoint_every: {value: 20}
workers: {devices: cpu, per_device: 2}
retries: 1000
checkpoints: {keep_best: 100}
"""
KILLS = 50


@pytest.fixture
def generator(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Random moments from a seed that is printed; SWEEP_FAULT_SEED repeats them."""
    seed = int(os.environ.get("SWEEP_FAULT_SEED") or time.time_ns() % 2**32)
    with capsys.disabled():
        print(f"\nSWEEP_FAULT_SEED={seed}", flush=True)
    return random.Random(seed)  # moments, not secrets


@pytest.fixture
def mine(here: Path) -> Path:
    """The test objectives, beside the study files."""
    write_objectives(here)
    return here


class Sweep:
    """A running `sweep run`, its output read as it comes."""

    def __init__(self, *words: str, here: Path, **environment: str) -> None:
        command, env = [sys.executable, "-m", "sweep", "run", *words], os.environ | environment
        self.process = subprocess.Popen(
            command, cwd=here, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def running(self) -> bool:
        """Tell whether the process has not ended."""
        return self.process.poll() is None

    def workers(self) -> list[psutil.Process]:
        """Return the processes that train."""
        return self._named("sweep-slot")

    def _named(self, name: str) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.process.pid).children(recursive=True) if child.name().startswith(name)]
        return []

    def kill(self, victim: str, generator: random.Random) -> None:
        """Kill -9 the runner, one worker, what the workers are copies of, or everything at once."""
        everything = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        targets = {"runner": everything[:1], "group": everything, "worker": [generator.choice(self.workers() or everything[:1])]}
        targets["template"] = self._named("sweep-template") or everything[:1]
        for target in targets[victim]:
            with contextlib.suppress(psutil.NoSuchProcess):
                target.kill()
        if victim in ("runner", "group"):
            self.end()
            wait_for(lambda: not any(_alive(process) for process in everything), seconds=5)

    def end(self, within: float = 60) -> None:
        """Wait for the process and read all that it said."""
        self.process.wait(timeout=within)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(2400)
def test_fifty_kills_change_no_number(here: Path, cli: Cli, fashion_data: Path, generator: random.Random) -> None:
    """Runner, worker, template and all in turn, wherever they are; no trial is lost or repeated, no more work than due."""
    study = write_study(here, FASHION)
    began = time.monotonic()
    assert cli("run", str(study), "name=undisturbed", timeout=600).code == 0
    # Longer on a slower machine: kills must hit trials that have something to lose.
    reach = max(9.0, (time.monotonic() - began) / 3)
    timings = ("time/epoch_s",)
    expected = outcome(here / "runs" / "undisturbed", timings=timings)
    kills = rounds = checked = 0
    while kills < KILLS:
        rounds += 1
        folder = here / "runs" / f"round-{rounds}"
        while True:
            before = _steps(folder)
            sweep = Sweep(str(study), f"name={folder.name}", here=here)
            while sweep.running() and kills < KILLS:
                victim = ("runner", "worker", "template", "group")[kills % 4]
                # From the first moment to somewhere in the third epoch after the start.
                deadline = time.monotonic() + generator.uniform(0.2, reach)
                while sweep.running() and time.monotonic() < deadline:
                    time.sleep(0.02)
                if not sweep.running():
                    break
                kills += 1
                sweep.kill(victim, generator)
            sweep.end(within=600)
            checked += _check_what_was_lost(before, sweep.lines)
            if sweep.process.returncode == 0:
                break
            assert sweep.process.returncode == -signal.SIGKILL, "".join(sweep.lines)
        assert outcome(folder, timings=timings) == expected
    assert kills == KILLS
    assert checked >= KILLS // 4, "hardly a kill hit a trial that had something to lose"


def _steps(folder: Path) -> dict[int, int]:
    return {record.number: record.step or 0 for record in records(folder) if not record.state.finished}


def _check_what_was_lost(before: dict[int, int], lines: list[str]) -> int:
    """Check that what was reported, and so checkpointed, before a kill is not trained again; return how often that was seen."""
    seen = 0
    for number, step in before.items():
        again = [line for line in lines if re.search(rf"trial {number} (resumed|step|complete)", line)]
        if step and again:
            match = re.search(rf"trial {number} resumed after step (\d+)", again[0])
            assert match, f"trial {number} had reported step {step} and started over: {again[0]}"
            assert int(match[1]) >= step, f"trial {number} had reported step {step} and went back: {again[0]}"
            seen += 1
    return seen


KILLING = """
import os, signal, sys
from sweep.runner import ledger
from sweep.storage import retention
from sweep.runner import runner
from sweep.storage import store as storage

place, when, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
module, owner, name = place.split(".")
owner = getattr(globals()[module], owner)
original = getattr(owner, name)
calls = 0

def patched(*args, **kwargs):
    global calls
    calls += 1
    if calls == count and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

if __name__ == "__main__":
    setattr(owner, name, patched)
    from sweep.cli.main import main
    sys.exit(main(sys.argv[4:]))
"""
TPE = """
name: study
objective: mine:learn
metric: {name: score, goal: maximize}
method: tpe
parameters:
  x:     {min: 0.0, max: 1.0}
  steps: {value: 2}
budget: {trials: 12}
workers: {devices: cpu, per_device: 1}
checkpoints: {keep_best: 3}
"""
# Every effect of the runner: what it stores, sends and removes.
PLACES = [
    "storage.StudyStore.start",
    "storage.StudyStore.report",
    "storage.StudyStore.finish",
    "runner.Runner._send",
    "ledger.Ledger.settle",
    "retention.Retention.ended",
]


@pytest.fixture(scope="module")
def tpe_outcome(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the small TPE study comes to when nothing happens."""
    here = tmp_path_factory.mktemp("undisturbed")
    write_objectives(here)
    write_study(here, TPE)
    subprocess.run([sys.executable, "-m", "sweep", "run", "study.yaml"], cwd=here, check=True, capture_output=True, timeout=100)
    return outcome(here / "runs" / "study")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", PLACES)
def test_the_runner_may_be_killed_between_any_two_of_its_effects(
    place: str, when: str, mine: Path, cli: Cli, tpe_outcome: list[dict[str, Any]]
) -> None:
    """At the third and, resumed, at the seventh time that it does each thing; TPE proposes the same points."""
    study = write_study(mine, TPE)
    (mine / "killing.py").write_text(textwrap.dedent(KILLING))
    for count in ("3", "7"):
        command = [sys.executable, "killing.py", place, when, count, "run", str(study)]
        died = subprocess.run(command, cwd=mine, capture_output=True, text=True, timeout=100, check=False)
        assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert outcome(mine / "runs" / "study") == tpe_outcome


SMALL = """
name: study
objective: mine:learn
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {values: [1, 2]}
  steps: {value: 12}
  sleep: {value: 0.1}
workers: {devices: cpu, per_device: 2}
checkpoints: {keep_best: 100}
"""
DAMAGES = [
    "checkpoint",
    "both checkpoints",
    "events",
    "events gone",
    "wal",
    "shm",
    "trial.json",
    "environment.json",
    "lock",
    "log.txt",
]


@pytest.mark.parametrize("what", DAMAGES)
def test_a_torn_file_costs_at_most_its_trials_work(what: str, mine: Path, cli: Cli, generator: random.Random) -> None:
    """Cut at a random byte after a kill -9, each kind of file: the study goes on, and no number differs."""
    study = write_study(mine, SMALL)
    folder = mine / "runs" / "study"
    sweep = Sweep(str(study), here=mine)
    wait_for(lambda: sum((record.step or 0) >= 3 for record in records(folder)) == 2)
    sweep.kill("group", generator)
    patterns = {
        "checkpoint": "*/checkpoint.pt",
        "both checkpoints": "*/checkpoint*.pt",
        "events": "*/events.out.tfevents*",
        "events gone": "*/events.out.tfevents*",
        "wal": "study.db-wal",
        "shm": "study.db-shm",
    }
    found = list(folder.glob(patterns.get(what, f"**/{what}")))
    assert found, what
    for path in found:
        if what == "events gone":
            path.unlink()
        else:
            os.truncate(path, generator.randrange(path.stat().st_size))
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert cli("run", str(study), "name=undisturbed", "parameters.sleep.value=0").code == 0
    expected = outcome(mine / "runs" / "undisturbed")
    for trial in expected:
        trial["params"]["sleep"] = 0.1
    assert outcome(folder) == expected


def test_a_data_cache_damaged_between_runs_is_fetched_again(
    here: Path, cli: Cli, fashion_data: Path, generator: random.Random
) -> None:
    """A byte of an image changes after a kill -9: nothing is trained on it, and no number differs."""
    data = here / "data"
    shutil.copytree(fashion_data / "FashionMNIST" / "raw", data / "FashionMNIST" / "raw")
    study = write_study(here, FASHION.replace("{value: 8}", "{value: 4}"))
    sweep = Sweep(str(study), f"--data={data}", here=here)
    wait_for(lambda: any(_steps(here / "runs" / "study").values()))
    sweep.kill("group", generator)
    images = data / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[generator.randrange(16, len(content))] ^= 0x55
    images.write_bytes(content)
    done = cli("resume", str(study), f"--data={data}")
    assert done.code == 0, done.err
    assert cli("run", str(study), "name=undisturbed").code == 0
    timings = ("time/epoch_s",)
    assert outcome(here / "runs" / "study", timings=timings) == outcome(here / "runs" / "undisturbed", timings=timings)
    assert list((data / "FashionMNIST").glob("raw.damaged-*"))


STRESS = """
name: study
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {min: 1, max: 1000000}
  steps: {value: 2}
workers: {devices: cpu, per_device: 16}
retries: 1000
"""
STRESS_S = 60


def _lasting_descriptors(pid: int) -> int:
    """Count a process's descriptors but those that wait for a process's death, of which there are more the more it waits."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += "anon_inode" not in str(link.readlink())
    return count


def test_sixteen_workers_under_fire_lose_and_leak_nothing(mine: Path, generator: random.Random) -> None:
    """For a minute a worker is killed about every second: no trial is lost or doubled, no process or descriptor stays."""
    study = write_study(mine, STRESS)
    folder = mine / "runs" / "study"
    temporary = mine / "temporary"
    temporary.mkdir()
    sweep = Sweep(str(study), here=mine, TMPDIR=str(temporary))
    wait_for(lambda: len(sweep.workers()) == 16 and len(records(folder)) > 100, seconds=120)
    runner = psutil.Process(sweep.process.pid)
    opened, children, kills = [], [], 0
    end = time.monotonic() + STRESS_S
    while time.monotonic() < end:
        time.sleep(generator.uniform(0.3, 1.5))
        opened.append(_lasting_descriptors(runner.pid))
        children.append(len(runner.children(recursive=True)))
        if workers := sweep.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                generator.choice(workers).kill()
                kills += 1
    left = runner.children(recursive=True)
    sweep.process.send_signal(signal.SIGINT)
    sweep.end()
    assert sweep.process.returncode == 130, "".join(sweep.lines[-20:])
    assert kills > 30
    # A worker that died or is being started counts for a moment. One leaked by each kill would part the halves by dozens.
    half = len(opened) // 2
    assert statistics.median(opened[half:]) <= statistics.median(opened[:half]) + kills / 6, opened
    assert max(children) <= 16 + 5, children
    wait_for(lambda: not any(_alive(process) for process in left), seconds=5)
    assert list(temporary.glob("sweep-worker-*")) == []

    found = records(folder)
    assert [record.number for record in found] == list(range(len(found)))
    states = [record.state for record in found]
    assert states.count(TrialState.COMPLETE) >= len(found) - 16
    assert TrialState.FAILED not in states
    assert sum(record.attempts - 1 for record in found) <= kills + 16
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {record.folder for record in found}
    for record in found[:: max(1, len(found) // 200)] + [record for record in found if record.attempts > 1]:
        if record.state is TrialState.COMPLETE:
            x = record.params["x"]
            assert isinstance(x, int)
            assert record.metrics == {"score": x / 2, "loss": 0.5}
            assert [step for step, _ in scalars(folder / record.folder)["score"]] == [1, 2]
