"""A worker: the loop that a slot's process runs, from the first import to the last trial.

    commands in ──► serve ──► Load      import the objective (torch, TensorBoard): once
                          ├─► Prepare   the objective's own prepare(params): once, in one worker
                          └─► TrialSpec writer ─► seeds ─► objective(trial) ─► TrialResult
                                                             └ trial.report ⇄ Report / Decision

The user's code runs in the process's main thread, so it may install signal handlers. `serve` itself knows nothing of
processes: an executor gives it a channel and, per trial, a place for what the objective prints.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sweep.devices import Slot
from sweep.errors import SweepError
from sweep.messages import Channel, Load, Loaded, LoadFailed, Prepare, Prepared, PrepareFailed, Progress
from sweep.objective import ObjectiveNotFound, load
from sweep.study import StudySpec
from sweep.trial import (
    Decision,
    MetricNotFinite,
    Report,
    Trial,
    TrialPruned,
    TrialResult,
    TrialSpec,
    TrialState,
    TrialStopped,
)

if TYPE_CHECKING:
    from sweep.tensorboard.writer import TrialWriter

LogTo = Callable[[Path], AbstractContextManager[None]]


def serve(study: StudySpec, channel: Channel, slot: Slot, log_to: LogTo) -> None:
    """Obey commands until the channel closes.

    Args:
        study: what is swept.
        channel: where commands come from and events go.
        slot: where this worker computes.
        log_to: makes what is printed inside it go to a file.
    """
    objective: Callable[[Trial], Any] | None = None
    while True:
        try:
            command = channel.recv()
        except EOFError:
            return
        if command is None:
            return
        if objective is None:
            try:
                objective = _load(study, slot)
            except BaseException as error:
                channel.send(LoadFailed(reason=_reason(error), traceback=_user_traceback(error)))
                continue
        if isinstance(command, Load):
            channel.send(Loaded(prepare=hasattr(objective, "prepare")))
        elif isinstance(command, Prepare):
            _prepare(channel, objective, command)
        elif isinstance(command, TrialSpec):
            channel.send(_run_trial(channel, objective, command, study, slot, log_to))


def _load(study: StudySpec, slot: Slot) -> Callable[[Trial], Any]:
    objective = load(study.objective, study.import_dir)
    import torch

    import sweep.tensorboard.writer  # noqa: F401  # heavy, and every trial needs it: import it while nobody waits

    # Also bounds a torch that was imported before the environment could tell it.
    torch.set_num_threads(slot.threads)
    return objective


def _prepare(channel: Channel, objective: Any, command: Prepare) -> None:
    try:
        steps = objective.prepare(dict(command.params))
        for progress in steps if isinstance(steps, Iterator) else ():
            channel.send(progress if isinstance(progress, Progress) else Progress(text=str(progress)))
            channel.recv()
        channel.send(Prepared())
    except SweepError as error:
        channel.send(PrepareFailed(id=error.id, what=error.what, where=error.where, why=error.why, do=error.do))
    except BaseException as error:  # sys.exit too: it must be told, whoever executes this
        what = "the objective's prepare(params) raised"
        channel.send(PrepareFailed(id="prepare-failed", what=what, why=_user_traceback(error)))


def _run_trial(
    channel: Channel, objective: Callable[[Trial], Any], spec: TrialSpec, study: StudySpec, slot: Slot, log_to: LogTo
) -> TrialResult:
    from sweep.tensorboard.writer import TrialWriter

    folder = Path(spec.dir)
    folder.mkdir(parents=True, exist_ok=True)
    with log_to(folder / "log.txt"):
        print(f"--- trial {spec.number}, attempt {spec.attempt}, {time.strftime('%Y-%m-%d %H:%M:%S')}, {slot.device}", flush=True)
        for stale in folder.rglob("events.out.tfevents*"):
            stale.unlink()  # an attempt that was cut short: the trial starts over, and no point may stand twice
        writer = TrialWriter(folder, keep_open=True)
        metrics = tuple(getattr(objective, "metrics", ()))
        if metrics:
            writer.describe(study.parameters, (study.metric.name, *metrics))
        writer.start_session(spec.params, study.parameters)
        writer.flush()

        def exchange(report: Report) -> Decision:
            if not metrics:
                writer.describe(study.parameters, (study.metric.name, *report.metrics))
                writer.flush()
            channel.send(report)
            return Decision(channel.recv() or Decision.STOP)

        trial = Trial(spec, device=slot.torch_device, writer=writer, exchange=exchange)
        result = _call(objective, trial, study)
        writer.describe(study.parameters, (study.metric.name, *trial.metrics))  # if nothing was reported on the way
        _close(writer, result)
        if result.error:
            print(result.error, file=sys.stderr, flush=True)
    return result


def _call(objective: Callable[[Trial], Any], trial: Trial, study: StudySpec) -> TrialResult:
    def failed(error: str, cause: str) -> TrialResult:
        return TrialResult(state=TrialState.FAILED, metrics=trial.metrics, error=error, cause=cause)

    try:
        _seed(trial.seed)
        trial.finish(objective(trial), study.metric.name)
    except TrialPruned:
        return TrialResult(state=TrialState.PRUNED, metrics=trial.metrics)
    except TrialStopped:
        return TrialResult(state=TrialState.WAITING, metrics=trial.metrics)
    except MetricNotFinite as error:
        return failed(str(error), "not-finite")
    except BaseException as error:  # sys.exit and KeyboardInterrupt too: only this trial ends
        return failed(_user_traceback(error), "exception")
    if study.metric.name not in trial.metrics:
        reported = ", ".join(sorted(trial.metrics)) or "nothing"
        return failed(f"the objective never reported {study.metric.name!r}; it reported: {reported}", "metric-missing")
    return TrialResult(state=TrialState.COMPLETE, metrics=trial.metrics)


def _close(writer: TrialWriter, result: TrialResult) -> None:
    if result.state.finished:
        writer.end_session(success=result.state is not TrialState.FAILED)
    writer.shut()


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy

        numpy.random.seed(seed)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)


def _reason(error: BaseException) -> str:
    if isinstance(error, ObjectiveNotFound):
        return str(error)
    return f"importing it raised {type(error).__name__}: {error}"


def _user_traceback(error: BaseException) -> str:
    """Return the traceback without this file's own frames, which tell the user nothing."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(error.with_traceback(trace))).rstrip()
