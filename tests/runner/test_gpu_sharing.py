"""How many trials run on a GPU at a time. No GPU is needed: clocks and readings are made up, and in a session trials are real."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.runner import session
from sweep.runner.gpu_sharing import Change, GpuSharing, may_grow, mps_text, own_memory
from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.gpus import Gpu, GpuReading, read_gpu
from tests.support.gpu_sessions import gpu_slots, run_on

GIB = 2**30


class Machine:
    """A GPU on which `count` trials at a time make `speed[count]` steps a second each, and the slots that share it.

    A trial is a slot's; it reports each step, and ends after its last one.
    """

    def __init__(self, speed: Sequence[float], *, steps: int = 10**9, takes: float = 1.0, cores: int = 16, **more: Any) -> None:
        self.speed, self.steps, self.takes, self.time = speed, steps, takes, 0.0
        self.slots = gpu_slots(1, cores=cores)
        self.done: dict[int, float] = {}  # steps of the trial in each slot
        self.ended = 0
        self.sharing = GpuSharing(self.slots, cores, lambda: self.time, **({"read": self.read, "free": lambda: None} | more))
        self.changes: list[Change] = []

    def read(self, _gpu: Gpu) -> GpuReading:
        """Return what the driver would say."""
        return GpuReading(used_bytes=int((1 + self.takes * len(self.done)) * GIB), total_bytes=16 * GIB)

    def run(self, seconds: float, left: int | None = None) -> None:
        """Let the trials compute, those that are late reporting each step for a while."""
        end = self.time + seconds
        while self.time < end:
            for slot in self.slots:
                if slot.index not in self.done and self.sharing.may_start(slot):
                    self.done[slot.index] = -0.3 * slot.index  # they are not in step
                    self.sharing.began(slot)
            self.time += 0.1
            for slot in list(self.slots):
                if slot.index in self.done:
                    self._compute(slot)
            for change in self.sharing.look({0: 1}, left):
                self.changes.append(change)
                self.slots += change.opens
                closed = [slot for slot in self.slots if slot.index in change.closes]
                self.slots = [slot for slot in self.slots if slot not in closed]
                for slot in closed:
                    self.done.pop(slot.index, None)

    def _compute(self, slot: Slot) -> None:
        before = self.done[slot.index]
        now = before + 0.1 * self.speed[len(self.done)]
        self.done[slot.index] = now
        if int(now) > int(before) and now >= 1:
            self.sharing.reported(slot, int(now))
        if now >= self.steps:
            del self.done[slot.index]
            self.ended += 1
            self.sharing.ended(slot)

    @property
    def decisions(self) -> list[str]:
        """Return what was said about each decision."""
        return [change.text for change in self.changes if change.figures]


def speeds(*total: float) -> list[float]:
    """Return the speed of each of 0, 1, ... trials, from that of all together."""
    return [0.0, *(whole / count for count, whole in enumerate(total, 1)), *[total[-1] / 16] * 16]


def test_slots_are_doubled_while_all_together_gain() -> None:
    """Twice with two, a little with four: four were tried, and two stay."""
    machine = Machine(speeds(1, 2, 2.1, 2.2))
    machine.run(120)
    assert [len(change.opens) - len(change.closes) for change in machine.changes] == [1, 0, 2, -2]
    kept, closed = (change for change in machine.changes if change.figures)
    assert kept.figures["gain"] == pytest.approx(2.0, abs=0.11)
    assert closed.figures["gain"] == pytest.approx(1.1, abs=0.05)
    assert {**closed.figures, "gain": 0} == {"device": "gpu A", "before": 2, "after": 4, "gain": 0, "compared": 2, "slots": 2}
    more, times = "trials at a time make", "times the steps a second of"
    assert machine.decisions == [
        f"gpu A: 2 {more} {kept.figures['gain']:.2f} {times} 1 (1 trial compared): 2 run at a time",
        f"gpu A: 4 {more} {closed.figures['gain']:.2f} {times} 2 (2 trials compared): 2 run at a time",
    ]
    assert [slot.index for slot in machine.slots] == [0, 1]


def test_a_busy_gpu_keeps_one_slot() -> None:
    """Trials that take turns gain nothing, however idle the driver says that the device is."""
    machine = Machine(speeds(1, 1.02))
    machine.run(60)
    [change] = [change for change in machine.changes if change.figures]
    assert change.figures["gain"] == pytest.approx(1.0, abs=0.05)
    assert change.text.endswith("(1 trial compared): 1 runs at a time")
    assert len(machine.slots) == 1
    machine.run(60)
    assert len(machine.changes) == 2  # it is not tried again


def test_trials_of_different_speed_are_compared_with_themselves_alone() -> None:
    """The second trial makes a hundred times as many steps as the first one: the total would have looked like a gain."""
    machine = Machine(speeds(1, 1.0))
    plain = machine._compute

    def compute(slot: Slot) -> None:
        machine.speed = speeds(100, 100) if slot.index else speeds(1, 1)
        plain(slot)

    machine._compute = compute  # type: ignore[method-assign]  # of this machine only
    machine.run(60)
    assert machine.changes[-1].figures["gain"] == pytest.approx(1.0, abs=0.1)
    assert machine.changes[-1].closes == (1,)


def test_short_trials_are_compared_while_an_added_slot_waits() -> None:
    """None is long enough for both numbers while both slots are filled; so the added one waits for a comparison."""
    machine = Machine(speeds(2, 3.6), steps=7)
    machine.run(60)
    assert machine.changes[1].figures["gain"] == pytest.approx(1.8, abs=0.2)
    assert len(machine.slots) >= 2


def test_trials_that_report_too_seldom_are_not_compared() -> None:
    """Two reports are one interval: the added slot is closed again after some trials, and it is said why."""
    machine = Machine(speeds(2, 4), steps=2)
    machine.run(60)
    assert machine.decisions == [
        "gpu A: no trial reported often enough to compare its steps a second with 1 and with 2 at a time: 1 runs at a time"
    ]
    assert machine.ended > 8
    silent = Machine(speeds(2, 4), steps=1)
    silent.run(20)
    assert silent.changes == []
    assert list(silent.sharing.undecided()) == [
        "gpu A: no trial reported often enough to measure its steps a second; 1 runs at a time"
    ]


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"takes": 8.0}, "its memory leaves no room for more (each takes 8.0 GiB)"),
        ({"cores": 1}, "the number of cores leaves no room for more"),
        ({"free": lambda: GIB, "own": lambda _: 2 * GIB}, "the machine's memory leaves no room for more"),
    ],
)
def test_there_are_no_more_than_there_is_room_for(more: dict[str, Any], because: str) -> None:
    """The tightest of GPU, cores and memory decides, and it is said which."""
    machine = Machine(speeds(1, 2, 3, 4), **more)
    machine.run(20)
    assert len(machine.slots) == 1
    [text] = machine.decisions
    assert text.startswith("gpu A: 1 runs at a time; ")
    assert because in text


def test_memory_cuts_the_last_doubling_short() -> None:
    """15.2 GiB have room for three trials of 4.0 and what else is used: from two it goes to three, not to four."""
    machine = Machine(speeds(1, 2, 3, 4), takes=3.5)
    machine.run(120)
    assert len(machine.slots) == 3
    assert "gpu A: 3 trials at a time make 1." in machine.decisions[1]
    assert "its memory leaves no room for more (each takes 3.5 GiB)" in machine.decisions[2]


def test_nothing_is_opened_for_trials_that_there_are_not() -> None:
    """The last ones of a study run where they are."""
    machine = Machine(speeds(1, 2))
    machine.run(30, left=0)
    assert machine.changes == []
    machine.run(10, left=1)
    assert len(machine.slots) == 2


def test_a_slot_that_is_closed_for_another_reason_ends_the_measurement() -> None:
    """What ran out of memory is not doubled again, and nobody waits for a comparison any more."""
    machine = Machine(speeds(1, 2))
    machine.run(4)
    [_, added] = machine.slots
    assert added.index == 1
    machine.sharing.closed(added)
    assert all(map(machine.sharing.may_start, machine.slots))
    assert list(machine.sharing.look({}, None)) == []


def test_new_slots_have_a_share_of_the_cores_or_the_threads_of_the_study_file() -> None:
    """They are on the same GPU, and no index is used twice."""
    for threads, expected in ((None, 8), (3, 3)):
        machine = Machine(speeds(1, 2), cores=16, threads=threads)
        machine.run(4)
        [first, second] = machine.slots
        assert (second.index, second.gpus, second.threads) == (1, first.gpus, expected)
        assert second.env["OMP_NUM_THREADS"] == str(expected)


def test_only_a_gpu_that_may_be_shared_grows() -> None:
    """Not in the compute mode that lets one process in, with several GPUs a trial, a number in the file, or a silent driver."""
    auto, shared = WorkersSpec(), gpu_slots(1)
    assert may_grow(auto, shared)
    assert not may_grow(WorkersSpec(per_device=2), shared)
    assert not may_grow(auto, plan_slots("cpu", 1, 1))
    exclusive = [replace(shared[0], gpus=(replace(shared[0].gpus[0], exclusive=True),))]
    several = [replace(shared[0], gpus=(Gpu(uuid="A", index="0"), Gpu(uuid="B", index="1")))]
    for slots in (exclusive, several):
        assert not may_grow(auto, slots)
    assert read_gpu(shared[0].gpus[0]) is None
    machine = Machine(speeds(1, 2), read=read_gpu)
    machine.run(20)
    assert machine.changes == []


def test_mps_is_used_where_it_runs(tmp_path: Path) -> None:
    """It is named once; on a CPU it is of no use."""
    environ = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert mps_text(gpu_slots(1), environ) is None
    (tmp_path / "control").touch()
    assert mps_text(gpu_slots(1), environ) == (
        f"NVIDIA's MPS runs ({tmp_path}): trials that share a GPU compute at the same time"
    )
    assert mps_text(plan_slots("cpu", 1, 1), environ) is None


def test_a_processs_own_memory_is_what_it_does_not_share() -> None:
    """Some MB for this one; nothing is known of one that has gone."""
    own = own_memory(os.getpid())
    assert own is not None
    assert 1_000_000 < own < 10**10
    assert own_memory(2**22 + 1) is None


LEARNS = """
def train(trial):
    for step in trial.steps(trial.params["steps"]):
        time.sleep(0.25)
        trial.report(step, {"score": step})
"""


@pytest.mark.slow
def test_a_sweep_measures_while_it_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that only sleep take no more time beside each other: a second slot is opened in the first trial, and stays."""
    reading = GpuReading(used_bytes=GIB, total_bytes=16 * GIB)
    monkeypatch.setattr(session, "GpuSharing", lambda *args, **more: GpuSharing(*args, **more, read=lambda _: reading))
    monkeypatch.setattr(session, "cpu_cores", lambda: 2)
    outcome, observer = run_on(gpu_slots(1), LEARNS, {"x": [0, 1, 2], "steps": 40}, here, monkeypatch, workers={})
    assert outcome.exit_code == 0
    [kept, full] = outcome.notes
    assert kept.startswith("gpu A: 2 trials at a time make ")
    assert kept.endswith(": 2 run at a time")
    assert full.startswith("gpu A: 2 run at a time; the number of cores leaves no room for more")
    assert set(outcome.notes) <= set(observer.notices)
    first, second, third = outcome.records
    assert [trial.spans[0].slot for trial in (first, second, third)] == [0, 1, 0]
    assert first.spans[0].started < second.spans[0].started < first.spans[0].ended
    stored = json.loads((here / "runs" / "study" / "environment.json").read_text())["slot_notes"]
    assert [note["text"] for note in stored] == list(outcome.notes)
    assert stored[0]["gain"] > 1.5
