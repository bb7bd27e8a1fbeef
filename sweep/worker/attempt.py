"""One attempt at a trial, inside a worker: from its checkpoint, or from the start, to its result.

    resume from a checkpoint (event files cut back) ─► report again ─► seeds ─► objective(trial) ─► TrialResult
                                                                                    │
       trial.report(step, metrics, state):  scalars written ─► checkpoint renamed ─► Report sent ─► Decision

A checkpoint says how many records each event file held. Wherever the process ends between two of these effects, the next
attempt cuts the files back to those numbers and sends the runner all reports of the checkpoint again. So each point is in the
files exactly once, each report reaches the runner, and no number depends on where the trial was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sweep.errors import one_line
from sweep.storage.folder import CHECKPOINT, PREVIOUS_CHECKPOINT
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch, counts_as
from sweep.study.trial import Decision, Position, Report, TrialResult, TrialSpec, TrialState
from sweep.tensorboard import event_files
from sweep.worker.devices import Slot
from sweep.worker.handle import MetricNotFinite, StateIgnored, Trial, TrialComplete, TrialFailed, TrialPruned, TrialStopped
from sweep.worker.protocol import Channel, Resumed

if TYPE_CHECKING:  # torch is imported in workers only
    from sweep.worker.checkpoint import Checkpoint

Objective = Callable[[Trial], Any]
LogTo = Callable[[Path], AbstractContextManager[None]]

# The disk is full, or the user is over quota: every other trial would fail too.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_PACKAGE = Path(__file__).parents[1]
_ENDS = {Decision.PRUNE: TrialState.PRUNED, Decision.STOP: TrialState.WAITING}


class _WriteFailed(BaseException):
    """A file of the trial could not be written. Not an `Exception`: user code must not swallow it."""


def run_trial(
    channel: Channel, objective: Objective, spec: TrialSpec, study: StudySpec, slot: Slot, log_to: LogTo
) -> TrialResult:
    """Run a trial of a study to its end, from its checkpoint if there is one; `log_to` redirects what is printed to a file."""
    folder, stopwatch = Path(spec.dir), Stopwatch()
    try:
        folder.mkdir(exist_ok=True)
        with log_to(folder / "log.txt"):
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            repeat = f", repeat {spec.repeat}" if study.repeats > 1 else ""
            print(f"--- trial {spec.number}{repeat}, attempt {spec.attempt}, {now}, {slot.device}", flush=True)
            try:
                result = _Attempt(channel, objective, spec, study, slot, stopwatch).run()
            except StateIgnored:
                print("sweep: the objective does not read trial.state, so the trial starts over", file=sys.stderr, flush=True)
                for path in (folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT):
                    path.unlink(missing_ok=True)
                stopwatch.turn_to("starting")
                result = _Attempt(channel, objective, spec, study, slot, stopwatch).run()
            if result.error:
                with contextlib.suppress(OSError):
                    print(result.error, file=sys.stderr, flush=True)
    except (OSError, _WriteFailed) as error:
        result = TrialResult(state=TrialState.WAITING, metrics={}, error=str(error), cause="write-failed")
    return replace(result, time=stopwatch.read())


class _Attempt:
    """The `TrialHost` of a trial: what `trial.report` and `trial.save` cause."""

    def __init__(
        self, channel: Channel, objective: Objective, spec: TrialSpec, study: StudySpec, slot: Slot, stopwatch: Stopwatch
    ) -> None:
        from sweep.tensorboard.trial_log import TrialLog
        from sweep.worker import checkpoint

        self._channel, self._objective, self._study = channel, objective, study
        self._checkpoint, self._stopwatch = checkpoint, stopwatch
        self._folder = Path(spec.dir)
        self._identity = checkpoint.identity(spec.number, spec.params, spec.seed)
        self._start = self._resume_point()  # before the log, which makes an event file
        self._counter = event_files.RecordCounter(self._folder)
        self._log = TrialLog(spec, study, getattr(objective, "metrics", ()), stopwatch)
        self._trial = Trial(
            spec,
            metric=study.metric.name,
            device=slot.torch_device,
            writer=self._log.writer,
            panels=self._log.panels,
            host=self,
            position=self._start.position if self._start else None,
            state=self._start.state if self._start else None,
            max_steps=study.max_steps,
        )

    def run(self) -> TrialResult:
        """Run the objective to its end.

        Raises:
            OSError: a file of the trial could not be written.
            StateIgnored: the objective continued without the checkpoint's state.
        """
        if self._start is not None:
            self._log.load_state_dict(self._start.writer, self._start.position)
        self._log.start()
        result = self._report_again() or self._call_objective()
        self._stopwatch.turn_to("logging")
        self._log.end(result.metrics, success=result.state is not TrialState.FAILED if result.state.finished else None)
        return result

    @counts_as("logging")
    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        try:
            self._log.record(step, metrics, self._trial.metrics)
        except OSError as error:
            raise _WriteFailed(str(error)) from error
        self._checkpoint.passed("scalars written")

    @counts_as("checkpointing")
    def save(self, position: Position, state: Mapping[str, Any]) -> None:
        checkpoint = self._checkpoint
        if position.metrics:
            self._log.describe(position.metrics)
        try:
            self._log.writer.written()
            events = self._counter.count(sync=True)
            checkpoint.passed("event files synced")
            checkpoint.save(
                self._folder,
                checkpoint.Checkpoint(
                    identity=self._identity,
                    position=position,
                    state=dict(state),
                    randomness=checkpoint.random_states(),
                    events=events,
                    writer=self._log.state_dict(),
                ),
            )
        except OSError as error:
            raise _WriteFailed(str(error)) from error

    @counts_as("waiting")
    def exchange(self, report: Report) -> Decision:
        self._log.describe(report.metrics)
        self._channel.send(replace(report, time=self._stopwatch.read()))
        self._checkpoint.passed("report sent")
        decision = self._decision()
        self._checkpoint.passed("decided")
        return decision

    def stop_requested(self) -> bool:
        return self._channel.stop_requested()

    def restore_random_states(self) -> None:
        assert self._start is not None
        self._checkpoint.restore_random_states(self._start.randomness)

    def _resume_point(self) -> Checkpoint | None:
        """Return the checkpoint to resume from, with the event files cut back to it; None if the trial starts."""

        def warn(text: str) -> None:
            print(f"sweep: {one_line(text)}; trying an earlier checkpoint", file=sys.stderr, flush=True)

        for candidate in self._checkpoint.candidates(self._folder, self._identity, warn):
            try:
                event_files.cut_back(self._folder, candidate.events)
                print(f"resumes after step {candidate.position.step or 0}", flush=True)
                return candidate
            except event_files.NotEnoughRecords as error:
                warn(str(error))
        event_files.cut_back(self._folder, {})
        return None

    def _report_again(self) -> TrialResult | None:
        """Send the checkpoint's reports, which the runner may have missed; return a result if its decision ends the trial."""
        if self._start is None:
            return None
        self._channel.send(Resumed(position=self._start.position, time=self._stopwatch.read()))
        decision, last, at = self._decision(), self._study.max_steps, self._start.position
        # One that uses `trial.steps` may have more to do after its last step.
        ended = last is not None and at.step is not None and at.step >= last != at.done
        if decision is Decision.COMPLETE or (ended and decision is not Decision.PRUNE):
            return self._completed()
        state = _ENDS.get(decision)
        return TrialResult(state=state, metrics=self._trial.metrics) if state else None

    def _decision(self) -> Decision:
        return Decision(self._channel.recv() or Decision.STOP)  # None: the worker is being closed

    def _call_objective(self) -> TrialResult:
        trial = self._trial
        import torch

        def failed(error: str, cause: str, *, spent: bool = False) -> TrialResult:
            return TrialResult(state=TrialState.FAILED, metrics=trial.metrics, error=error, cause=cause, spent=spent)

        try:
            _seed(trial.seed)
            self._stopwatch.turn_to("training")
            trial.finish(self._objective(trial))
        except TrialComplete:
            pass
        except TrialPruned:
            return TrialResult(state=TrialState.PRUNED, metrics=trial.metrics)
        except TrialStopped:
            return TrialResult(state=TrialState.WAITING, metrics=trial.metrics)
        except MetricNotFinite as error:
            return failed(str(error), "not-finite")
        except TrialFailed as error:
            return failed(str(error), "exception")
        except (_WriteFailed, StateIgnored):
            self._log.close()
            raise
        except torch.OutOfMemoryError as error:
            return failed(f"{_memory_text()}\n{user_traceback(error)}", "out-of-memory", spent=True)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: only this trial ends
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                print(user_traceback(error), file=sys.stderr)
                raise
            return failed(user_traceback(error), "exception")
        return self._completed()

    def _completed(self) -> TrialResult:
        metrics = self._trial.metrics
        if missing := [repr(name) for name in self._study.needed if name not in metrics]:
            reported = ", ".join(sorted(metrics)) or "nothing"
            error = f"the objective never reported {' and '.join(missing)}; it reported: {reported}"
            return TrialResult(state=TrialState.FAILED, metrics=metrics, error=error, cause="metric-missing")
        return TrialResult(state=TrialState.COMPLETE, metrics=metrics)


def user_traceback(error: BaseException) -> str:
    """Return the traceback from the first frame of the user's code on; the built-in objectives count as such code."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_own(Path(trace.tb_frame.f_code.co_filename)):
        trace = trace.tb_next
    return "".join(traceback.format_exception(error.with_traceback(trace))).rstrip()


def _is_own(file: Path) -> bool:
    return file.is_relative_to(_PACKAGE) and not file.is_relative_to(_PACKAGE / "objectives")


def _memory_text() -> str:
    import torch

    if not torch.cuda.is_available():
        return "the device's memory ran out"
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
    return f"the GPU's memory ran out: at most {peak / 2**30:.2f} GiB were in use by this trial, the GPU has {total / 2**30:.2f}"


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy

        numpy.random.seed(seed)
    import torch

    torch.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.cuda.reset_peak_memory_stats()
