"""Faults at random moments and at chosen ones, against real studies: afterwards every number is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.command_line import Running, run_sweep
from tests.support.interrupting import Outcome, assert_undisturbed, kill_part, kill_runner_at, reached
from tests.support.reading import outcome, records, scalars
from tests.support.studies import make_study, study_text, write_study
from tests.support.waiting import wait_until_gone

pytestmark = pytest.mark.slow
FASHION: dict[str, Any] = {
    "objective": "sweep.objectives.fashion_mnist:train",
    "metric": {"name": "validation/accuracy", "goal": "maximize"},
    "workers": {"devices": "cpu", "per_device": 2},
    "retries": 1000,
    "checkpoints": {"keep_best": 100},
    "log": {"batches": 7},
}
SPACE = {"lr": [0.01, 0.001], "shuffle": [True, False], "train_samples": 4000, "checkpoint_every": 20}
TIMINGS = ("time/epoch_s",)
KILLS = 50
# Of trials that are trained together; before a release 50 by hand.
GROUP_KILLS = int(os.environ.get("SWEEP_GROUP_KILLS") or 12)


@pytest.fixture
def generator(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Random moments from a seed that is printed; SWEEP_FAULT_SEED repeats them."""
    seed = int(os.environ.get("SWEEP_FAULT_SEED") or time.time_ns() % 2**32)
    with capsys.disabled():
        print(f"\nSWEEP_FAULT_SEED={seed}", flush=True)
    return random.Random(seed)  # moments, not secrets


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("workers", "wanted"), [({"per_device": 2}, KILLS), ({"per_device": 1, "fuse": 4}, GROUP_KILLS)], ids=["alone", "together"]
)
def test_kills_change_no_number(
    here: Path, cli: Cli, fashion_data: Path, generator: random.Random, workers: dict[str, int], wanted: int
) -> None:
    """Runner, worker, template and all in turn, wherever they are; no trial is lost or repeated, no more work than due."""
    study = write_study(here, study_text(SPACE | {"epochs": 8}, **FASHION | {"workers": {"devices": "cpu", **workers}}))
    began = time.monotonic()
    assert cli("run", str(study), "name=undisturbed", timeout=600).code == 0
    # Longer on a slower machine: kills must hit trials that have something to lose.
    reach = max(9.0, (time.monotonic() - began) / 3)
    expected = outcome(here / "runs" / "undisturbed", timings=TIMINGS)
    kills = rounds = checked = 0
    while kills < wanted:
        rounds += 1
        folder = here / "runs" / f"round-{rounds}"
        while True:
            before = _steps(folder)
            with Running("run", str(study), f"name={folder.name}", here=here) as running:
                while running.running() and kills < wanted:
                    victim = ("runner", "worker", "template", "group")[kills % 4]
                    # From the first moment to somewhere in the third epoch after the start.
                    deadline = time.monotonic() + generator.uniform(0.2, reach)
                    while running.running() and time.monotonic() < deadline:
                        time.sleep(0.02)
                    if not running.running():
                        break
                    kills += 1
                    kill_part(running, victim, generator)
                code = running.end(600)
            checked += _check_what_was_lost(before, running.lines)
            if code == 0:
                break
            assert code == -signal.SIGKILL, running.out
        assert outcome(folder, timings=TIMINGS) == expected
    assert kills == wanted
    assert checked >= wanted // 4, "hardly a kill hit a trial that had something to lose"


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


TPE: dict[str, Any] = {"objective": "mine:learn", "method": "tpe", "budget": {"trials": 12}, "checkpoints": {"keep_best": 3}}
# Every effect of the runner: what it stores, sends and removes.
PLACES = [
    "sweep.storage.store.StudyStore.start",
    "sweep.storage.store.StudyStore.report",
    "sweep.storage.store.StudyStore.finish",
    "sweep.runner.slots.Slots.send",
    "sweep.runner.ledger.Ledger.settle",
    "sweep.storage.retention.Retention.ended",
]


def tpe_study(here: Path) -> Path:
    return make_study(here, {"x": {"min": 0.0, "max": 1.0}, "steps": 2}, **TPE)


@pytest.fixture(scope="module")
def tpe_outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The outcome of the small TPE study when nothing happens."""
    here = tmp_path_factory.mktemp("undisturbed")
    assert run_sweep("run", str(tpe_study(here)), here=here).code == 0
    return outcome(here / "runs" / "study")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", PLACES)
def test_the_runner_may_be_killed_between_any_two_of_its_effects(
    place: str, when: str, here: Path, cli: Cli, tpe_outcome: Outcome
) -> None:
    """At the third and, resumed, at the seventh time that it does each thing; TPE proposes the same points."""
    study = tpe_study(here)
    for count in (3, 7):
        kill_runner_at(place, when, count, "run", str(study), here=here)
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert outcome(here / "runs" / "study") == tpe_outcome


# Which files a kind of damage is done to.
DAMAGES = {
    "checkpoint": "*/checkpoint.pt",
    "both checkpoints": "*/checkpoint*.pt",
    "events": "*/events.out.tfevents*",
    "events gone": "*/events.out.tfevents*",
    "wal": "study.db-wal",
    "shm": "study.db-shm",
    "trial.json": "**/trial.json",
    "environment.json": "**/environment.json",
    "lock": "**/lock",
    "log.txt": "**/log.txt",
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_torn_file_costs_at_most_its_trials_work(what: str, here: Path, cli: Cli, generator: random.Random) -> None:
    """Cut at a random byte after a kill -9, each kind of file: the study continues, and no number differs."""
    workers = {"devices": "cpu", "per_device": 2}
    space = {"x": [1, 2], "steps": 12, "sleep": 0.1}
    study = make_study(here, space, objective="mine:learn", workers=workers, checkpoints={"keep_best": 100})
    folder = here / "runs" / "study"
    with Running("run", str(study), here=here) as running:
        running.wait_until(reached(folder, 3, trials=2))
        kill_part(running, "group", generator)
    found = list(folder.glob(DAMAGES[what]))
    assert found, what
    for path in found:
        if what == "events gone":
            path.unlink()
        else:
            os.truncate(path, generator.randrange(path.stat().st_size))
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert_undisturbed(study, "parameters.sleep.value=0", ignoring={"sleep"})


def test_a_data_cache_damaged_between_runs_is_fetched_again(
    here: Path, cli: Cli, fashion_data: Path, generator: random.Random
) -> None:
    """A byte of an image changes after a kill -9: nothing is trained on it, and no number differs."""
    data = here / "data"
    shutil.copytree(fashion_data / "FashionMNIST" / "raw", data / "FashionMNIST" / "raw")
    study = write_study(here, study_text(SPACE | {"epochs": 4}, **FASHION))
    with Running("run", str(study), f"--data={data}", here=here) as running:
        running.wait_until(lambda: any(_steps(here / "runs" / "study").values()))
        kill_part(running, "group", generator)
    images = data / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[generator.randrange(16, len(content))] ^= 0x55
    images.write_bytes(content)
    done = cli("resume", str(study), f"--data={data}")
    assert done.code == 0, done.err
    assert_undisturbed(study, timings=TIMINGS)
    assert list((data / "FashionMNIST").glob("raw.damaged-*"))


STRESS_S = 60


def _lasting_descriptors(pid: int) -> int:
    """Count the open files of a process, except those by which it waits for the end of another process."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += "anon_inode" not in str(link.readlink())
    return count


def test_sixteen_workers_under_fire_lose_and_leak_nothing(here: Path, generator: random.Random) -> None:
    """For a minute a worker is killed about every second: no trial is lost or doubled, no process or descriptor stays."""
    workers = {"devices": "cpu", "per_device": 16}
    study = make_study(here, {"x": {"min": 1, "max": 1000000}, "steps": 2}, workers=workers, retries=1000)
    folder = here / "runs" / "study"
    temporary = here / "temporary"
    temporary.mkdir()
    with Running("run", str(study), here=here, env={"TMPDIR": str(temporary)}) as running:
        running.wait_until(lambda: len(running.processes("sweep-slot")) == 16 and len(records(folder)) > 100, seconds=120)
        runner = psutil.Process(running.process.pid)
        opened, children, kills = [], [], 0
        end = time.monotonic() + STRESS_S
        while time.monotonic() < end:
            time.sleep(generator.uniform(0.3, 1.5))
            opened.append(_lasting_descriptors(runner.pid))
            children.append(len(runner.children(recursive=True)))
            if workers_now := running.processes("sweep-slot"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    generator.choice(workers_now).kill()
                    kills += 1
        left = runner.children(recursive=True)
        running.send(signal.SIGINT)
        assert running.end() == 130, "".join(running.lines[-20:])
    assert kills > 30
    # A worker that died or is being started counts for a moment. One leaked by each kill would part the halves by dozens.
    half = len(opened) // 2
    assert statistics.median(opened[half:]) <= statistics.median(opened[:half]) + kills / 6, opened
    assert max(children) <= 16 + 5, children
    wait_until_gone(left)
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
