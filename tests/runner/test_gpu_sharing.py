"""How many trials run on a GPU at a time. No GPU is needed: the readings are made up, processes and trials are real."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from sweep.runner.gpu_sharing import GpuSharing
from sweep.runner.ledger import Ledger
from sweep.runner.runner import Runner
from sweep.runner.session import worker_maker
from sweep.runner.timers import SessionTimer
from sweep.storage.folder import StudyFolder
from sweep.storage.store import StudyStore
from sweep.study.file.reading import read_study
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.gpus import Gpu, GpuReading, read_gpu
from tests.support.observing import Silent
from tests.support.studies import write_objectives, write_study

GIB = 2**30
GPUS = [Gpu(uuid="4", index="4"), Gpu(uuid="5", index="5")]


def gpu_sharing(
    *,
    busy: float,
    takes: float,
    cores: int = 16,
    gpus: int = 1,
    before: float = 1.0,
    total: float = 16.0,
    threads: int | None = None,
) -> GpuSharing:
    """Return one whose first trial on each GPU keeps it busy for this share of the time and takes this many GiB."""
    slots = plan_slots("auto", None, None, gpus=GPUS[:gpus], cores=cores)
    first = {slot.gpus[0]: True for slot in slots}

    def read(gpu: Gpu) -> GpuReading:
        used = before if first.pop(gpu, False) else before + takes
        return GpuReading(busy=busy, used_bytes=int(used * GIB), total_bytes=int(total * GIB))

    return GpuSharing(slots, cores, read, threads=threads)


def looked(sharing: GpuSharing, training: Iterable[int]) -> tuple[list[Slot], list[str]]:
    slots, reasons = [], []
    for _ in range(50):
        added, why = sharing.look(set(training))
        slots += added
        reasons += [why] if why else []
    return slots, reasons


@pytest.mark.parametrize(
    ("what", "added", "because"),
    [
        ({"busy": 0.30, "takes": 1.0}, 2, "2 more run beside it"),
        ({"busy": 0.45, "takes": 1.0}, 1, "1 more runs beside it"),
        ({"busy": 0.60, "takes": 1.0}, 0, "its time leaves no room"),
        ({"busy": 0.05, "takes": 4.0}, 1, "1 more runs beside it"),
        ({"busy": 0.05, "takes": 12.0}, 0, "its memory leaves no room"),
        ({"busy": 0.0, "takes": 0.5, "cores": 4}, 3, "3 more run beside it"),
        ({"busy": 0.0, "takes": 0.5, "cores": 1}, 0, "the number of cores leaves no room"),
        ({"busy": 0.0, "takes": 0.1, "cores": 500}, 15, "15 more run beside it"),
    ],
)
def test_as_many_run_as_time_memory_and_cores_allow(what: dict[str, float], added: int, because: str) -> None:
    """The tightest of the three decides, and it is said why; it is decided once."""
    slots, reasons = looked(gpu_sharing(**what), [0])  # type: ignore[arg-type]  # `cores` is a whole number
    assert len(slots) == added
    assert len(reasons) == 1
    assert because in reasons[0]
    assert "gpu 4: a trial keeps it busy" in reasons[0]


def test_the_new_slots_are_on_the_same_gpu_and_share_its_cores() -> None:
    """Each GPU is looked at while its own trial trains, and indices are never used twice."""
    two = gpu_sharing(busy=0.3, takes=1.0, gpus=2, cores=12)
    assert looked(two, []) == ([], [])
    first, _ = looked(two, [1])
    second, _ = looked(two, [0, 1])
    assert [slot.index for slot in first + second] == [2, 3, 4, 5]
    assert {slot.env["CUDA_VISIBLE_DEVICES"] for slot in first} == {"5"}
    assert {slot.env["CUDA_VISIBLE_DEVICES"] for slot in second} == {"4"}
    assert {slot.threads for slot in first + second} == {2}


def test_the_new_slots_have_the_threads_that_the_study_file_says() -> None:
    """A number that somebody wrote down is not a share of the cores."""
    slots, _ = looked(gpu_sharing(busy=0.3, takes=1.0, cores=12, threads=3), [0])
    assert [slot.threads for slot in slots] == [3, 3]
    assert {slot.env["OMP_NUM_THREADS"] for slot in slots} == {"3"}


def test_a_device_that_does_not_tell_gets_no_more() -> None:
    """Parts of a GPU, and machines without NVIDIA's driver, such as this one may be."""
    slots = plan_slots("auto", None, None, gpus=[Gpu(uuid="MIG-1", index="0:0")], cores=4)
    assert read_gpu(slots[0].gpus[0]) is None
    assert looked(GpuSharing(slots, 4), [0]) == ([], [])


STUDY = """
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}
  steps: {value: 12}
  sleep: {value: 0.3}
workers: {devices: cpu, per_device: 1}
"""


def test_a_sweep_opens_slots_while_it_runs(here: Path) -> None:
    """One slot, then three, on which trials train at the same time; time is accounted for on all of them."""
    write_objectives(here)
    study = read_study(write_study(here, STUDY))
    folder = StudyFolder(root=here / "runs" / "study")
    folder.root.mkdir(parents=True)
    observer = Silent()
    slots = plan_slots("cpu", 1, 1)
    like_a_gpu = [dataclasses.replace(slot, gpus=(GPUS[0],)) for slot in slots]
    idle, training = (GpuReading(busy=busy, used_bytes=used, total_bytes=16 * GIB) for busy, used in ((0.0, 0), (0.3, GIB)))
    readings = itertools.chain([idle], itertools.repeat(training))
    timer = SessionTimer()
    store = StudyStore(folder, study)
    try:
        ledger = Ledger(study, folder, store, [], observer, 1)
        sharing = GpuSharing(like_a_gpu, 8, lambda _: next(readings))
        runner = Runner(study, folder, ledger, like_a_gpu, worker_maker(study, False), observer, timer, sharing)
        alarm = threading.Timer(90, runner.stop)
        alarm.start()
        outcome = runner.run()
        alarm.cancel()
    finally:
        store.close()
    assert outcome.exit_code == 0
    used = [record.spans[0].slot for record in outcome.records]
    assert used[0] == 0
    assert set(used) == {0, 1, 2}
    assert any("2 more run beside it" in notice for notice in observer.notices)
    third = next(record for record in outcome.records if record.spans[0].slot == 2)
    beside = [
        r for r in outcome.records if r.spans[0].started < third.spans[0].ended and third.spans[0].started < r.spans[0].ended
    ]
    assert len({record.spans[0].slot for record in beside}) == 3
