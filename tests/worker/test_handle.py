"""The handle of a trial: who may use it, when, from where; what a call that is refused leaves behind, which is nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.storage.folder import CHECKPOINT
from sweep.study.lifetime import TrialEnded
from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker import checkpoint
from sweep.worker.devices import plan_slots
from sweep.worker.endings import TrialFailed, TrialPruned
from sweep.worker.handle import Trial
from sweep.worker.protocol import Channel
from sweep.worker.single import run_trial
from tests.support.reading import scalars
from tests.support.studies import study_spec


class Attempts:
    """Run attempts at a trial in this process; `decide` answers each report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trial"
        self.sent: list[Any] = []
        self.decide: Callable[[Report], Decision] = lambda _report: Decision.CONTINUE
        self._number = 0

    def run(self, objective: Callable[[Trial], Any], folder: Path | None = None) -> TrialResult:
        """Run the objective as the next attempt, in the run folder or in another one."""
        self._number += 1
        study = study_spec({"x": 1}, import_dir=self.folder)
        spec = TrialSpec(number=0, params={"x": 1}, seed=1, dir=str(folder or self.folder), attempt=self._number)

        def decided() -> Decision:
            event = self.sent[-1]
            return self.decide(event) if isinstance(event, Report) else Decision.CONTINUE

        channel = Channel(send=self.sent.append, recv=decided, stop_requested=lambda: False)
        return run_trial(channel, objective, spec, study, plan_slots("cpu", 1, 1)[0], _unchanged)

    @property
    def reports(self) -> list[int]:
        """Return the steps of the reports that were sent."""
        return [event.step for event in self.sent if isinstance(event, Report)]


@contextlib.contextmanager
def _unchanged(_log: Path) -> Iterator[None]:
    yield


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


def in_thread(call: Callable[[], Any]) -> BaseException | None:
    """Call something in a thread and return what it raised."""
    raised: list[BaseException] = []

    def caught() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return raised[0] if raised else None


IMAGE, BATCH = torch.zeros(1, 4, 4), torch.zeros(3, 4)
USES: dict[str, Callable[[Trial], Any]] = {
    "report": lambda trial: trial.report(9, {"score": 1}),
    "report with a state": lambda trial: trial.report(9, {"score": 1}, {"a": 1}),
    "save": lambda trial: trial.save({"a": 1}),
    "steps": lambda trial: trial.steps(3),
    "stop_requested": lambda trial: trial.stop_requested,
    "add_scalar": lambda trial: trial.writer.add_scalar("score", 1, 9),
    "add_scalars": lambda trial: trial.writer.add_scalars("pair", {"one": 1}, 9),
    "add_text": lambda trial: trial.writer.add_text("text", "x", 9),
    "add_image": lambda trial: trial.writer.add_image("image", IMAGE, 9),
    "add_histogram": lambda trial: trial.writer.add_histogram("histogram", BATCH, 9),
    "add_hparams": lambda trial: trial.writer.add_hparams({"x": 1}, {"score": 1}),
    "add_custom_scalars": lambda trial: trial.writer.add_custom_scalars({"a": {"b": ["Multiline", ["score"]]}}),
    "watch": lambda trial: trial.panels.watch(torch.nn.Linear(1, 1)),
    "samples": lambda trial: trial.panels.samples(IMAGE),
    "batch": lambda trial: trial.panels.batch(1, {"loss": 1}),
    "predictions": lambda trial: trial.panels.predictions(None, torch.zeros(3, dtype=torch.int64), BATCH),
    "embedding": lambda trial: trial.panels.embedding("points", BATCH),
}


@pytest.mark.parametrize("use", USES)
def test_nothing_of_a_trial_that_has_ended_can_be_used(attempts: Attempts, tmp_path: Path, use: str) -> None:
    """By the next trial or by a thread: an error where it is called, and no file changes."""
    kept: list[Trial] = []

    def train(trial: Trial) -> None:
        kept.append(trial)
        trial.report(1, {"score": 0.5}, {"a": 1})

    assert attempts.run(train).state is TrialState.COMPLETE
    before = {path: path.read_bytes() for path in attempts.folder.rglob("*") if path.is_file()}

    def misuses(trial: Trial) -> None:
        with pytest.raises(TrialEnded, match="after trial 0 had ended"):
            USES[use](kept[0])
        assert isinstance(in_thread(lambda: USES[use](kept[0])), TrialEnded)
        trial.report(1, {"score": 2})

    assert attempts.run(misuses, tmp_path / "other").metrics == {"score": 2}
    assert {path: path.read_bytes() for path in attempts.folder.rglob("*") if path.is_file()} == before
    assert attempts.reports == [1, 1]
    assert scalars(tmp_path / "other")["score"] == [(1, 2)]
    kept[0].writer.flush()  # what tutorials end with does no harm
    kept[0].writer.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("use", [name for name in USES if name != "stop_requested"])
def test_a_process_that_is_forked_cannot_report(attempts: Attempts, use: str) -> None:
    """It would write what the objective's own process writes too: an error there."""

    def train(trial: Trial) -> None:
        child = os.fork()
        if child == 0:
            try:
                USES[use](trial)
            except TrialEnded as error:
                os._exit(17 if "in another process" in str(error) else 1)
            except BaseException:
                os._exit(2)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
        trial.report(1, {"score": 1})

    assert attempts.run(train).metrics == {"score": 1}
    assert scalars(attempts.folder)["score"] == [(1, 1)]


def test_threads_report_one_after_the_other(attempts: Attempts) -> None:
    """Each report is there once, whichever thread makes it."""
    lock = threading.Lock()

    def train(trial: Trial) -> None:
        taken = iter(range(1, 101))

        def reports() -> None:
            for _ in range(25):
                with lock:
                    step = next(taken)
                    trial.report(step, {"score": step}, {"step": step} if step % 10 == 0 else None)

        def logs() -> None:
            for step in range(25):
                trial.writer.add_scalar("other", step, step)

        threads = [threading.Thread(target=work) for work in (reports, reports, reports, reports, logs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert attempts.run(train).metrics == {"score": 100}
    assert attempts.reports == list(range(1, 101))
    assert [step for step, _ in scalars(attempts.folder)["score"]] == list(range(1, 101))
    assert sorted(step for step, _ in scalars(attempts.folder)["other"]) == list(range(25))


def test_two_threads_that_report_at_once_do_not_hang(attempts: Attempts) -> None:
    """The step of one is too late and refused there; the other's is reported."""
    barrier = threading.Barrier(2)
    errors: list[BaseException | None] = []

    def train(trial: Trial) -> None:
        def reports() -> None:
            barrier.wait(10)
            trial.report(1, {"score": 1})

        threads = [threading.Thread(target=lambda: errors.append(in_thread(reports))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert attempts.run(train).state is TrialState.COMPLETE
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "ValueError"]
    assert attempts.reports == [1]


@pytest.mark.parametrize("then", ["report", "steps", "save", "return"])
@pytest.mark.parametrize(
    ("decision", "state"), [(Decision.PRUNE, TrialState.PRUNED), (Decision.STOP, TrialState.WAITING)], ids=["prune", "stop"]
)
def test_a_decision_that_a_thread_gets_ends_the_objective(
    attempts: Attempts, decision: Decision, state: TrialState, then: str
) -> None:
    """In its own thread, at whatever it does next; nothing more is reported."""
    attempts.decide = lambda _report: decision

    def train(trial: Trial) -> dict[str, int]:
        steps = trial.steps(5)
        next(steps)
        assert in_thread(lambda: trial.report(1, {"score": 1})) is not None
        if then == "report":
            trial.report(2, {"score": 2})
        elif then == "steps":
            next(steps)
        elif then == "save":
            trial.save({"a": 1})
        return {"score": 3}

    result = attempts.run(train)
    assert (result.state, result.metrics) == (state, {"score": 1})
    assert attempts.reports == [1]
    assert scalars(attempts.folder)["score"] == [(1, 1)]
    assert (attempts.folder / CHECKPOINT).exists() == (then == "save")


def test_a_decision_that_is_caught_counts_all_the_same(attempts: Attempts) -> None:
    """The trial must not count as complete with a result that it did not come to."""
    attempts.decide = lambda _report: Decision.PRUNE

    def train(trial: Trial) -> float:
        with contextlib.suppress(TrialPruned):
            trial.report(1, {"score": 1})
        return 7.0

    assert attempts.run(train).state is TrialState.PRUNED


def test_the_end_waits_for_a_report_of_another_thread(attempts: Attempts) -> None:
    """Its answer is on the way: the result is sent after it."""
    begun, go_on = threading.Event(), threading.Event()

    def decide(_report: Report) -> Decision:
        begun.set()
        assert go_on.wait(10)
        return Decision.CONTINUE

    attempts.decide = decide
    threads: list[threading.Thread] = []

    def train(trial: Trial) -> None:
        threads.append(threading.Thread(target=trial.report, args=(1, {"score": 1})))
        threads[0].start()
        assert begun.wait(10)
        threading.Timer(0.2, go_on.set).start()

    result = attempts.run(train)
    assert (result.state, result.metrics) == (TrialState.COMPLETE, {"score": 1})
    threads[0].join()


def test_a_call_inside_a_call_is_refused(attempts: Attempts) -> None:
    """As by a signal handler: it would wait for itself."""

    def train(trial: Trial) -> None:
        class Metrics(dict[str, float]):
            def items(self) -> Any:
                trial.report(5, {"score": 5})

        with pytest.raises(RuntimeError, match="inside another call"):
            trial.report(1, Metrics())
        trial.report(1, {"score": 1})

    assert attempts.run(train).metrics == {"score": 1}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda trial: trial.report(2.5, {"score": 1}), TypeError),
        (lambda trial: trial.report(2**63, {"score": 1}), ValueError),
        (lambda trial: trial.report(1, {"score": 1}), ValueError),
        (lambda trial: trial.report(2, 0.5), TypeError),
        (lambda trial: trial.report(2, {"score": "1"}), TypeError),
        (lambda trial: trial.report(2, {"score": 1, "": 2}), ValueError),
        (lambda trial: trial.report(2, {"score": 1, 3: 2}), TypeError),
        (lambda trial: trial.report(2, {"score": 1}, {"f": print}), TypeError),
        (lambda trial: trial.report(2, {"score": 1}, [1, 2]), TypeError),
        (lambda trial: trial.report(2, {"other": 1, "score": float("nan")}), ValueError),
        (lambda trial: trial.save({"f": print}), TypeError),
    ],
)
def test_a_call_that_is_refused_has_done_nothing(
    attempts: Attempts, wrong: Callable[[Trial], None], error: type[Exception]
) -> None:
    """No scalar, no checkpoint, no report; the next call is as if there had been none."""

    def train(trial: Trial) -> None:
        trial.report(1, {"score": 0.5}, {"a": 1})
        before = {path: path.read_bytes() for path in attempts.folder.rglob("*") if path.is_file()}
        with pytest.raises(error):
            wrong(trial)
        trial.writer.flush()
        assert {path: path.read_bytes() for path in attempts.folder.rglob("*") if path.is_file()} == before
        trial.report(2, {"score": 2}, {"a": 2})

    result = attempts.run(train)
    assert result.error is None
    assert attempts.reports == [1, 2]
    assert checkpoint.read(attempts.folder / CHECKPOINT).state == {"a": 2}
    assert scalars(attempts.folder)["score"] == [(1, 0.5), (2, 2)]


# ---------------------------------------------------------------- metrics that are written to the writer


def test_a_metric_that_is_written_to_the_writer_is_reported(attempts: Attempts) -> None:
    """Its last value counts, and the best one; no point is written twice, and no decision is asked for."""

    def train(trial: Trial) -> None:
        for step, value in ((1, 3.0), (2, 5.0), (3, torch.tensor(4.0))):
            trial.writer.add_scalar("score", value, step)
            trial.writer.add_scalar("loss", value, step)

    result = attempts.run(train)
    assert (result.state, result.metrics) == (TrialState.COMPLETE, {"score": 4})
    assert attempts.reports == []
    found = scalars(attempts.folder)
    assert found["score"] == [(1, 3), (2, 5), (3, 4)]
    assert found["best/score"] == [(3, 5)]


def test_what_is_reported_or_returned_counts_before_what_is_written(attempts: Attempts, tmp_path: Path) -> None:
    """The writer's points stay points."""

    def reports(trial: Trial) -> None:
        trial.report(1, {"score": 1})
        trial.writer.add_scalar("score", 9, 2)

    def returns(trial: Trial) -> float:
        trial.writer.add_scalar("score", 9, 2)
        return 1

    assert attempts.run(reports).metrics == {"score": 1}
    assert attempts.run(returns, tmp_path / "other").metrics == {"score": 1}


def test_a_metric_that_was_written_before_an_interruption_counts(attempts: Attempts) -> None:
    """It is in the checkpoint."""

    def train(trial: Trial) -> None:
        if trial.state is None:
            trial.writer.add_scalar("score", 9, 1)
            trial.writer.add_scalar("score", 8, 2)
            trial.save({"a": 1})
            raise TrialFailed("interrupted")

    attempts.run(train)
    assert attempts.run(train).metrics == {"score": 8}
    assert scalars(attempts.folder)["best/score"] == [(2, 9)]


def test_a_metric_that_is_written_as_nan_fails_the_trial(attempts: Attempts) -> None:
    """As a reported one does."""
    result = attempts.run(lambda trial: trial.writer.add_scalar("score", float("nan"), 1))
    assert (result.state, result.cause) == (TrialState.FAILED, "not-finite")


# ---------------------------------------------------------------- what is left of a trial


def _raises(trial: Trial, model: torch.nn.Module) -> None:
    raise RuntimeError("boom")


def _raises_from(trial: Trial, model: torch.nn.Module) -> None:
    try:
        _raises(trial, model)
    except RuntimeError as error:
        kept = error
        raise ValueError("another") from kept


def _raises_group(trial: Trial, model: torch.nn.Module) -> None:
    try:
        _raises(trial, model)
    except RuntimeError as error:
        raise BaseExceptionGroup("several", [error, KeyboardInterrupt()]) from None


def _reports(trial: Trial, model: torch.nn.Module) -> None:
    for step in trial.steps(2):
        trial.report(step, {"score": 1}, {"model": model.state_dict()})


def _watches(trial: Trial, model: torch.nn.Module) -> None:
    trial.panels.watch(model, torch.ones(2, 3))
    trial.report(1, {"score": 1})


def _keeps(trial: Trial, model: torch.nn.Module) -> None:
    trial.panels.watch(model)
    KEPT.append(trial)
    trial.report(1, {"score": 1})


def _diverges(trial: Trial, model: torch.nn.Module) -> None:
    trial.report(1, {"score": float("nan")})


def _holds(trial: Trial, model: torch.nn.Module) -> None:
    trial.model = model  # type: ignore[attr-defined]  # what a user may do
    trial.report(1, {"score": 1})


KEPT: list[Trial] = []
ENDS = [(end, Decision.CONTINUE) for end in (_watches, _keeps, _raises, _raises_from, _raises_group, _diverges, _holds)]
ENDS += [(_reports, decision) for decision in Decision]


@pytest.mark.parametrize(("end", "decision"), ENDS, ids=lambda part: getattr(part, "__name__", part).strip("_"))
def test_the_model_is_gone_when_the_objective_has_ended(
    attempts: Attempts, end: Callable[[Trial, torch.nn.Module], None], decision: Decision
) -> None:
    """However it ended, without the garbage collector: on a GPU the next trial needs the memory."""
    attempts.decide = lambda _report: decision
    models: list[weakref.ref[torch.nn.Module]] = []

    def train(trial: Trial) -> None:
        model = torch.nn.Linear(3, 2)
        models.append(weakref.ref(model))
        model(torch.ones(1, 3)).sum().backward()
        end(trial, model)

    gc.disable()
    try:
        attempts.run(train)
        assert models[0]() is None
    finally:
        gc.enable()
        KEPT.clear()


def test_a_state_that_was_resumed_is_gone_too(attempts: Attempts) -> None:
    """The handle had it until the end."""
    states: list[weakref.ref[torch.Tensor]] = []

    def train(trial: Trial) -> None:
        if trial.state is None:
            trial.save({"weights": torch.ones(3)})
            raise TrialFailed("interrupted")
        states.append(weakref.ref(trial.state["weights"]))
        raise RuntimeError("boom")

    attempts.run(train)
    gc.disable()
    try:
        attempts.run(train)
        assert states[0]() is None
    finally:
        gc.enable()
