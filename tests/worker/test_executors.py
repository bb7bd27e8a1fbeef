"""The contract of a worker, for every executor: each command has one event as its answer."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from sweep.study.space import Range
from sweep.study.spec import StudySpec
from sweep.study.trial import Decision, Position, Report, Suggested, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.executors import local as local_executor
from sweep.worker.executors.inline import InlineWorker
from sweep.worker.executors.local import LocalWorker
from sweep.worker.gpus import Gpu
from sweep.worker.loop import TORCH_IMPORTS, serve
from sweep.worker.protocol import Command, Died, Event, Load, Loaded, LoadFailed, Resumed, Suggest, Worker
from tests.support.clusters import cluster
from tests.support.studies import study_spec, write_objectives
from tests.support.waiting import no_process_left, wait_for

KEEPS_WORKERS = True
# Together in one process of pytest-xdist: they share their workers.
pytestmark = pytest.mark.xdist_group("executors")
RAY = pytest.param("ray", marks=pytest.mark.slow)
Make = Callable[..., Worker]
# The last event of each worker: one that waits for a decision is stopped before the next test has it.
_last: dict[Worker, Event] = {}


@pytest.fixture(scope="module", autouse=True)
def _no_worker_outlives_its_tests() -> Iterator[None]:
    with no_process_left():
        yield


@pytest.fixture(autouse=True)
def _trials_are_over() -> Iterator[None]:
    yield
    for worker, event in list(_last.items()):
        if isinstance(event, Report):
            ask(worker, Decision.STOP)
    _last.clear()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudySpec:
    folder = tmp_path_factory.mktemp("objectives")
    write_objectives(folder, "mine_for_workers")
    return study_spec({"x": [1, 2], "steps": 3}, objective="mine_for_workers:train", import_dir=folder)


@pytest.fixture(scope="module")
def connected(study: StudySpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster of one node that this process is connected to, as the runner is."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from sweep.worker.executors.ray.cluster import RayCluster

    folder = tmp_path_factory.mktemp("runs") / "study"
    folder.mkdir()
    with cluster() as nodes:
        nodes.add(1)
        workers = dataclasses.replace(study.workers, engine="ray", address=nodes.address)
        with RayCluster(dataclasses.replace(study, workers=workers), folder, None).connected():
            yield


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """The executor of a test that makes workers itself; on a cluster, that there is one."""
    if request.param == "ray":
        request.getfixturevalue("connected")
    return str(request.param)


@pytest.fixture(scope="module", params=["inline", "local", pytest.param("from scratch", marks=pytest.mark.slow), RAY])
def make(request: pytest.FixtureRequest, study: StudySpec) -> Iterator[Make]:
    """Make one worker of each executor for each objective, and close them all in the end."""
    made: dict[str, Worker] = {}
    if request.param == "ray":
        request.getfixturevalue("connected")

    def build(objective: str = str(study.objective)) -> Worker:
        if objective not in made:
            made[objective] = new_worker(request.param, dataclasses.replace(study, objective=objective))
        return made[objective]

    yield build
    for worker in made.values():
        worker.close()


def new_worker(executor: str, study: StudySpec, slot: Slot | None = None) -> Worker:
    slot, loop = slot or plan_slots("cpu", 1, 1)[0], functools.partial(serve, study)
    if executor == "ray":  # a node that does not share the folder
        from sweep.worker.executors.ray.host import Order
        from sweep.worker.executors.ray.worker import RayWorker

        order = Order(study=study, get=None, imports=TORCH_IMPORTS, slot=slot, sign=("/nowhere", ""))
        return RayWorker(order, {"num_cpus": 0.01}, lambda _: None)
    return (
        InlineWorker(slot, loop) if executor == "inline" else LocalWorker(slot, loop, TORCH_IMPORTS, copied=executor == "local")
    )


def ask(worker: Worker, command: Command) -> Event:
    _last[worker] = worker.next_event(command).result(timeout=60)
    return _last[worker]


def spec(folder: Path, **params: object) -> TrialSpec:
    return TrialSpec(number=0, params={"x": 1, "steps": 3} | params, seed=7, dir=str(folder / "trial"))  # type: ignore[arg-type]  # tests know the types


def test_a_trial_sends_its_reports_one_by_one_and_then_its_result(make: Make, tmp_path: Path) -> None:
    """Each report waits for the decision on it, and the result holds the last value of each metric."""
    worker = make()
    assert ask(worker, Load()) == Loaded(prepare=False)
    events = [ask(worker, spec(tmp_path))]
    while isinstance(events[-1], Report):
        events.append(ask(worker, Decision.CONTINUE))
    assert [event.step for event in events[:-1] if isinstance(event, Report)] == [1, 2, 3]
    assert events[-1] == TrialResult(state=TrialState.COMPLETE, metrics={"score": 1 / 3, "loss": 1 / 3})


def test_a_decision_ends_the_trial(make: Make, tmp_path: Path) -> None:
    """Prune and stop leave the objective at its report; the worker takes the next trial."""
    worker = make()
    for decision, state in ((Decision.PRUNE, TrialState.PRUNED), (Decision.STOP, TrialState.WAITING)):
        assert isinstance(ask(worker, spec(tmp_path)), Report)
        assert ask(worker, decision) == TrialResult(state=state, metrics={"score": 1, "loss": 1})


@pytest.mark.parametrize(("how", "error"), [("raise", "RuntimeError: boom"), ("exit", "SystemExit: 3")])
def test_an_objective_that_raises_fails_its_trial_alone(make: Make, tmp_path: Path, how: str, error: str) -> None:
    """The result carries the traceback, which names the user's line first, and the worker lives on."""
    worker = make()
    assert isinstance(ask(worker, spec(tmp_path, how=how)), Report)
    result = ask(worker, Decision.CONTINUE)
    assert isinstance(result, TrialResult)
    assert (result.state, result.cause) == (TrialState.FAILED, "exception")
    assert result.error is not None
    assert result.error.splitlines()[-1] == error
    assert "mine_for_workers.py" in result.error.splitlines()[1]
    assert isinstance(ask(worker, spec(tmp_path)), Report)


def test_a_metric_that_is_nan_fails_the_trial_with_that_reason(make: Make, tmp_path: Path) -> None:
    """The reason names metric, value and step; the metrics of the step before stay."""
    worker = make()
    ask(worker, spec(tmp_path, how="nan"))
    result = ask(worker, Decision.CONTINUE)
    assert isinstance(result, TrialResult)
    assert (result.state, result.cause) == (TrialState.FAILED, "not-finite")
    assert result.error is not None
    assert result.error.startswith("score is nan at step 2: the training diverged")
    assert result.metrics == {"score": 1, "loss": 1}


@pytest.mark.parametrize(
    ("what", "metrics"), [("float", {"score": 0.5}), ("dict", {"score": 0.25, "other": 3}), ("nothing", None)]
)
def test_what_an_objective_returns_counts_as_its_last_metrics(
    make: Make, tmp_path: Path, what: str, metrics: dict[str, float] | None
) -> None:
    """A number is the objective's value, a dict adds metrics; nothing at all means that the metric is missing."""
    result = ask(make("mine_for_workers:returns"), spec(tmp_path, what=what))
    assert isinstance(result, TrialResult)
    if metrics is None:
        assert result.cause == "metric-missing"
        assert result.error == "the objective never reported 'score'; it reported: nothing"
    else:
        assert result == TrialResult(state=TrialState.COMPLETE, metrics=metrics)


@pytest.mark.parametrize(
    ("objective", "reason"),
    [("mine_for_workers:trian", "did you mean 'train'?"), ("no_such_module_at_all:train", "ModuleNotFoundError")],
)
def test_an_objective_that_cannot_be_imported_is_an_event(make: Make, objective: str, reason: str) -> None:
    """Loading fails with a reason for the user; the worker does not die of it."""
    event = ask(make(objective), Load())
    assert isinstance(event, LoadFailed)
    assert reason in event.reason


def test_the_seed_makes_everything_random_the_same(make: Make, tmp_path: Path) -> None:
    """Two trials with one seed draw the same numbers, one after the other."""
    values, worker = [], make("mine_for_workers:environment")
    for _ in range(2):
        report = ask(worker, spec(tmp_path))
        assert isinstance(report, Report)
        values.append(report.metrics["score"])
        ask(worker, Decision.CONTINUE)
    assert values[0] == values[1]


def test_a_trial_resumes_from_its_checkpoint_and_reports_again(make: Make, tmp_path: Path) -> None:
    """Stopped while it computes, it saves at its next step; the next attempt begins with all that it had reported."""
    worker = make("mine_for_workers:learn")
    first, steps = ask(worker, spec(tmp_path, steps=4)), []
    assert isinstance(first, Report)
    assert first.saves
    stopped = ask(worker, Decision.STOP)
    assert isinstance(stopped, TrialResult)
    assert (stopped.state, stopped.metrics) == (TrialState.WAITING, first.metrics)

    again = ask(worker, spec(tmp_path, steps=4))
    assert isinstance(again, Resumed)
    expected = Position(step=1, total=4, done=1, metrics=first.metrics, history=((1, first.metrics["score"]),))
    assert dataclasses.replace(again.position, seconds=0.0) == expected
    assert again.position.seconds > 0
    event = ask(worker, Decision.CONTINUE)
    while isinstance(event, Report):
        steps.append(event.step)
        event = ask(worker, Decision.CONTINUE)
    assert steps == [2, 3, 4]
    assert isinstance(event, TrialResult)
    assert event.state is TrialState.COMPLETE

    # The decision on the last report may have been lost: it is asked for again, and obeyed.
    assert isinstance(ask(worker, spec(tmp_path, steps=4)), Resumed)
    pruned = ask(worker, Decision.PRUNE)
    assert isinstance(pruned, TrialResult)
    assert pruned.state is TrialState.PRUNED


def test_a_step_has_one_report_with_a_state(make: Make, tmp_path: Path) -> None:
    """After another one it would be unclear where to resume: the trial fails at once, with what to use instead."""
    worker = make("mine_for_workers:twice")
    assert isinstance(ask(worker, spec(tmp_path)), Report)
    result = ask(worker, Decision.CONTINUE)
    assert isinstance(result, TrialResult)
    assert result.state is TrialState.FAILED
    assert "make checkpoints inside a step with trial.save" in (result.error or "")


@pytest.mark.parametrize("place", ["inline", "local", RAY], indirect=True)
def test_a_stop_reaches_a_trial_that_computes(place: str, study: StudySpec, tmp_path: Path) -> None:
    """It ends with a checkpoint, without waiting for its next report."""
    worker = new_worker(place, dataclasses.replace(study, objective="mine_for_workers:endless"))
    running = worker.next_event(spec(tmp_path))
    folder = tmp_path / "trial"
    # From a node the log alone comes before the next event; inline the objective prints to the terminal.
    wait_for(
        lambda: (folder / "begun").exists() or ((folder / "log.txt").exists() and "begun" in (folder / "log.txt").read_text())
    )
    worker.stop()
    result = running.result(timeout=10)
    worker.close()
    assert result == TrialResult(state=TrialState.WAITING, metrics={})
    assert (tmp_path / "trial" / "checkpoint.pt").exists()


@pytest.mark.parametrize("place", ["inline", "local", RAY], indirect=True)
def test_a_function_that_suggests_its_own_parameters_waits_for_each(place: str, study: StudySpec, tmp_path: Path) -> None:
    """For its value, for why there is none, or for the decision that ends the trial."""
    own = dataclasses.replace(study, objective="mine_for_workers:asks", parameters={}, suggests=True)
    worker, started = new_worker(place, own), TrialSpec(number=0, params={}, seed=7, dir=str(tmp_path / "trial"))
    try:
        asked = Suggest(name="x", domain=Range(low=1, high=9))
        assert ask(worker, started) == asked
        assert ask(worker, Suggested(value=4)) == TrialResult(state=TrialState.COMPLETE, metrics={"score": 4})
        assert ask(worker, started) == asked
        refused = ask(worker, Suggested(refused="it is odd"))
        assert isinstance(refused, TrialResult)
        assert (refused.error or "").endswith("ValueError: it is odd")
        assert ask(worker, started) == asked
        assert ask(worker, Decision.STOP) == TrialResult(state=TrialState.WAITING, metrics={})
    finally:
        worker.close()
        _last.clear()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", RAY], indirect=True)
def test_a_killed_worker_is_started_anew(place: str, study: StudySpec, tmp_path: Path) -> None:
    """The event that is awaited is `Died`; the next call has a new process."""
    worker = new_worker(place, study)
    assert isinstance(ask(worker, spec(tmp_path, sleep=0.2, steps=1000)), Report)
    waiting = worker.next_event(Decision.CONTINUE)
    worker.kill()
    died = waiting.result(timeout=10)
    assert isinstance(died, Died)
    assert (died.exit_code, died.lost) == (-9, False)
    assert ask(worker, Load()) == Loaded(prepare=False)
    worker.close()
    _last.clear()


@pytest.mark.parametrize("place", ["inline", "local", RAY], indirect=True)
def test_closing_a_worker_that_computes_ends_it_at_once(place: str, study: StudySpec, tmp_path: Path) -> None:
    """The event that is awaited is `Died`."""
    worker = new_worker(place, study)
    assert isinstance(ask(worker, spec(tmp_path, sleep=0.5, steps=1000)), Report)
    waiting: Future[Event] = worker.next_event(Decision.CONTINUE)
    worker.close()
    _last[worker] = waiting.result(timeout=10)
    assert isinstance(_last[worker], Died)


@pytest.fixture(scope="module", params=["local", pytest.param("from scratch", marks=pytest.mark.slow), RAY])
def process(request: pytest.FixtureRequest, study: StudySpec) -> Iterator[Worker]:
    """A worker that is a process."""
    if request.param == "ray":
        request.getfixturevalue("connected")
    worker = new_worker(request.param, study)
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("how", "words"),
    [("kill", "killed by SIGKILL: usually the system was out of memory"), ("leave", "exited with code 7")],
)
def test_a_process_that_dies_is_an_event_and_the_next_call_has_a_new_one(
    process: Worker, tmp_path: Path, how: str, words: str
) -> None:
    """The event says how the process ended; the next trial runs as usual."""
    ask(process, spec(tmp_path, how=how))
    first = getattr(process, "pid", None)
    died = ask(process, Decision.CONTINUE)
    assert isinstance(died, Died)
    assert not died.lost
    assert words in died.describe()
    assert isinstance(ask(process, spec(tmp_path)), Report)
    assert first is None or getattr(process, "pid", None) != first


@pytest.mark.slow
def test_a_death_is_seen_though_a_forked_child_lives_on(study: StudySpec, tmp_path: Path) -> None:
    """The child holds a copy of the pipe; it ends with the worker."""
    worker = new_worker("local", study)
    ask(worker, spec(tmp_path, how="fork and die"))
    died = worker.next_event(Decision.CONTINUE).result(timeout=10)
    assert isinstance(died, Died)
    assert "SIGKILL" in died.describe()
    worker.close()
    _last.clear()


def test_a_death_is_seen_where_the_system_cannot_announce_it(
    study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old kernel or a strict container: the process is polled twice a second."""

    def forbidden(_pid: int) -> int:
        raise PermissionError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    worker = new_worker("from scratch", study)
    assert isinstance(ask(worker, spec(tmp_path, how="fork and die")), Report)
    assert isinstance(worker.next_event(Decision.CONTINUE).result(timeout=10), Died)
    worker.close()
    _last.clear()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EMFILE, "raise this limit:  ulimit -n"), (errno.EAGAIN, "`ulimit -u`"), (errno.ENOMEM, "fewer workers")],
)
def test_a_process_that_cannot_be_started_says_why(
    study: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    """Too few files, processes or memory: with what to do about it."""

    def no_process(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local_executor, "FromScratch", no_process)
    worker = new_worker("from scratch", study)
    died = worker.next_event(spec(tmp_path)).result(timeout=10)
    worker.close()
    assert isinstance(died, Died)
    assert os.strerror(number) in died.describe()
    assert words in died.describe()


@pytest.mark.parametrize("place", ["local", RAY], indirect=True)
def test_a_workers_children_end_with_it(place: str, study: StudySpec, tmp_path: Path) -> None:
    """What an objective started ends with its worker."""
    worker = new_worker(place, study)
    ask(worker, spec(tmp_path, how="children", steps=2))
    assert isinstance(ask(worker, Decision.CONTINUE), Report)
    child = int((tmp_path / "trial" / "child").read_text())
    assert psutil.pid_exists(child)
    worker.close()
    del _last[worker]
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, seconds=5)


def test_prints_go_to_the_trials_log(process: Worker, tmp_path: Path) -> None:
    """What the objective prints and the traceback of its failure are in log.txt."""
    ask(process, spec(tmp_path, how="raise"))
    ask(process, Decision.CONTINUE)
    log = (tmp_path / "trial" / "log.txt").read_text()
    assert "hello from trial 0" in log
    assert "RuntimeError: boom" in log


@pytest.mark.parametrize("copied", [True, False])
def test_a_slots_environment_is_set_before_torch_is_imported(study: StudySpec, tmp_path: Path, copied: bool) -> None:
    """With CUDA_VISIBLE_DEVICES=4,5 the first slot's process sees GPU 4 alone, and computes with its share of the cores."""
    gpus = [Gpu(uuid="4", index="4"), Gpu(uuid="5", index="5")]
    slot = plan_slots("auto", None, None, gpus=gpus, cores=6)[0]
    loop = functools.partial(serve, dataclasses.replace(study, objective="mine_for_workers:environment"))
    worker = LocalWorker(slot, loop, TORCH_IMPORTS, copied=copied)
    try:
        assert isinstance(ask(worker, spec(tmp_path)), Report)
        visible, omp, threads, pid = (tmp_path / "trial" / "environment").read_text().split()
        assert (visible, omp, threads) == ("4", "3", "3")
        assert int(pid) == worker.pid != os.getpid()
        parent = psutil.Process(worker.pid).parent()
        assert parent is not None
        assert (parent.name() == "sweep-template") is copied
    finally:
        worker.close()
        _last.clear()
