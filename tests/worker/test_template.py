"""Workers as copies of one process: what they share, what they do not, and what happens if it cannot be copied."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sweep.study.spec import StudySpec
from sweep.study.trial import Decision, Report, TrialSpec
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.executors.local import LocalWorker
from sweep.worker.gpus import Gpu
from sweep.worker.loop import TORCH_IMPORTS, serve
from sweep.worker.protocol import Died, Event, Load, Loaded
from tests.support.studies import study_spec, write_objectives
from tests.support.waiting import no_process_left, wait_for

# A thread that lives on holds nothing here; one that held a lock would hold it for ever in a copy.
THREADED = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with no_process_left():
        yield


@pytest.fixture
def study(tmp_path: Path) -> StudySpec:
    write_objectives(tmp_path, "mine_to_copy")
    return study_spec({"x": 1, "steps": 3}, objective="mine_to_copy:train", import_dir=tmp_path)


@pytest.fixture
def workers(study: StudySpec, request: pytest.FixtureRequest) -> Iterator[list[LocalWorker]]:
    """Two loaded workers."""
    imports = getattr(request, "param", TORCH_IMPORTS)
    made = [LocalWorker(slot, functools.partial(serve, study), imports) for slot in plan_slots("cpu", 2, 1)]
    for future in [worker.next_event(Load()) for worker in made]:
        assert future.result(timeout=60) == Loaded(prepare=False)
    yield made
    with ThreadPoolExecutor() as threads:
        list(threads.map(LocalWorker.close, made))


def parent(worker: LocalWorker) -> psutil.Process:
    found = psutil.Process(worker.pid).parent()
    assert found is not None
    return found


def ask(worker: LocalWorker, folder: Path, **params: str) -> Event:
    spec = TrialSpec(number=0, params={"x": 1, "steps": 3, **params}, seed=7, dir=str(folder / "trial"))
    return worker.next_event(spec).result(timeout=60)


def test_workers_are_copies_of_one_process_and_share_its_memory(workers: list[LocalWorker]) -> None:
    """What torch fills is there once; each worker has names and a session of its own."""
    template = parent(workers[0])
    assert template == parent(workers[1])
    assert (template.name(), template.ppid()) == ("sweep-template", os.getpid())
    for number, worker in enumerate(workers):
        process = psutil.Process(worker.pid)
        assert process.name() == f"sweep-slot-{number}"
        assert os.getsid(process.pid) == process.pid
        assert process.memory_full_info().uss < template.memory_info().rss / 4


THREADS = """
import ctypes, os, numpy, torch
def threads(library, *names):
    files = {line.split()[-1] for line in open("/proc/self/maps") if library in line}
    return max([getattr(ctypes.CDLL(file), n)() for file in files for n in names if hasattr(ctypes.CDLL(file), n)], default=-1)
def train(trial):
    numpy.ones((300, 300)) @ numpy.ones((300, 300))
    (torch.ones(300, 300, requires_grad=True) @ torch.ones(300, 300)).sum().backward()
    blas = threads("openblas", *(f"{a}openblas_get_num_threads{b}" for a in ("scipy_", "") for b in ("64_", "")))
    trial.report(1, {
        "score": torch.get_num_threads(),
        "blas": blas,
        "openmp": threads("libgomp", "omp_get_max_threads"),
        "variable": int(os.environ["OMP_NUM_THREADS"]),
        "gpus": len(os.environ["CUDA_VISIBLE_DEVICES"].split(",")) * bool(os.environ["CUDA_VISIBLE_DEVICES"]),
        "cuda": int(torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork()),
    })
"""


def slot_of(index: int, threads: int, gpus: int) -> Slot:
    """Return a slot; one of GPUs computes on the CPU here."""
    [found, *_] = plan_slots("cpu", 1, threads)
    if gpus:
        gpu = Gpu(uuid="0,1"[: 2 * gpus - 1], index="0", name="NVIDIA H200")
        [found, *_] = plan_slots("auto", 1, threads, gpus=[gpu])
    return replace(found, index=index)


def test_slots_with_any_number_of_threads_and_gpus_share_a_template(tmp_path: Path) -> None:
    """It has one thread, which NumPy's library must not add to, and no GPU; each copy has its own number and its own GPUs."""
    (tmp_path / "mine_of_threads.py").write_text(THREADS)
    study = study_spec({"x": 1}, objective="mine_of_threads:train", import_dir=tmp_path)
    kinds = [(1, 0), (2, 0), (3, 1), (2, 2)]
    slots = [slot_of(index, *kind) for index, kind in enumerate(kinds)]
    made = [LocalWorker(slot, functools.partial(serve, study), TORCH_IMPORTS) for slot in slots]
    try:
        for worker, (threads, gpus) in zip(made, kinds, strict=True):
            report = ask(worker, tmp_path)
            assert isinstance(report, Report)
            found = dict(report.metrics)
            assert found.pop("blas") in (threads, -1)  # -1: another library than OpenBLAS
            assert found.pop("openmp") in (threads, -1)
            assert found == {"score": threads, "variable": threads, "gpus": gpus, "cuda": 0}
            assert parent(worker).name() == "sweep-template"
            assert psutil.Process(worker.pid).memory_full_info().uss < parent(worker).memory_info().rss / 4
        assert len({parent(worker).pid for worker in made}) == 1
    finally:
        with ThreadPoolExecutor() as threads_:
            list(threads_.map(LocalWorker.close, made))


def test_the_template_ends_with_the_last_of_them(workers: list[LocalWorker]) -> None:
    """Not before: a worker may die and be needed again."""
    template = parent(workers[0])
    workers[0].close()
    assert template.is_running()
    workers[1].close()
    wait_for(lambda: not template.is_running(), seconds=5)


def test_a_template_that_dies_ends_its_copies_and_is_replaced(workers: list[LocalWorker], tmp_path: Path) -> None:
    """The trials in flight end as if their workers had died; the next call has a new template and a new worker."""
    assert isinstance(ask(workers[0], tmp_path, how="kill"), Report)
    template = parent(workers[0])
    template.kill()
    assert isinstance(workers[0].next_event(Decision.CONTINUE).result(timeout=60), Died)
    assert isinstance(ask(workers[0], tmp_path), Report)
    assert parent(workers[0]) != template
    assert parent(workers[0]).name() == "sweep-template"


def test_a_start_that_waits_for_the_imports_can_be_cancelled(study: StudySpec) -> None:
    """Ctrl-C right after the start does not wait for the slow imports."""
    imports = ("takes_a_minute",)
    made = [LocalWorker(slot, functools.partial(serve, study), imports) for slot in plan_slots("cpu", 2, 1)]
    events = [worker.next_event(Load()) for worker in made]
    wait_for(lambda: any(child.name() == "sweep-template" for child in psutil.Process().children()), seconds=20)
    for worker in made:
        worker.kill()
    for worker in made:
        worker.close()
    assert [type(event.result(timeout=10)) for event in events] == [Died, Died]


@pytest.mark.parametrize("workers", [("starts_a_thread",)], indirect=True)
def test_what_cannot_be_copied_is_started_from_scratch(workers: list[LocalWorker], tmp_path: Path) -> None:
    """A module that starts a thread when it is imported makes copies unsafe."""
    assert [parent(worker).pid for worker in workers] == [os.getpid()] * 2
    assert isinstance(ask(workers[0], tmp_path), Report)


@pytest.fixture(autouse=True)
def _a_module_with_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starts_a_thread.py").write_text(THREADED)
    (tmp_path / "takes_a_minute.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
