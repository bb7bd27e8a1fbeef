"""One attempt at a trial, inside a worker: from its checkpoint, or from the start, to its result.

    resume from a checkpoint (`starting_point`)     ─► report again ─► seeds ─► objective(trial) ─► TrialResult
                                                                                    │
       trial.report(step, metrics, state):  scalars written ─► checkpoint renamed ─► Report sent ─► Decision

A checkpoint says how many records each event file held. Wherever the process ends between two of these effects, the next
attempt cuts the files back to those numbers and sends the runner all reports of the checkpoint again. So each point is in the
files exactly once, each report reaches the runner, and no number depends on where the trial was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.study import plain
from sweep.study.space import Choice, Range
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch, counts_as
from sweep.study.trial import OUT_OF_MEMORY, Decision, Position, Report, Suggested, TrialResult, TrialSpec, TrialState
from sweep.tensorboard import event_files
from sweep.worker import cuda
from sweep.worker.devices import Slot
from sweep.worker.endings import StateIgnored, TrialComplete, TrialFailed, TrialPruned, TrialStopped
from sweep.worker.handle import MetricNotFinite, Trial
from sweep.worker.history import History
from sweep.worker.protocol import Channel, Resumed, Suggest
from sweep.worker.tracebacks import forget, user_traceback

Objective = Callable[[Trial], Any]

# The disk is full, or the user is over quota: every other trial would fail too.
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_ENDS = {Decision.PRUNE: TrialState.PRUNED, Decision.STOP: TrialState.WAITING}


class WriteFailed(BaseException):
    """A file of the trial could not be written. Not an `Exception`: user code must not swallow it."""


class Attempt:
    """The `TrialHost` of a trial: what `trial.report` and `trial.save` cause."""

    def __init__(
        self, channel: Channel, objective: Objective, spec: TrialSpec, study: StudySpec, slot: Slot, stopwatch: Stopwatch
    ) -> None:
        from sweep.tensorboard.trial_log import TrialLog
        from sweep.worker import checkpoint, determinism, randomness, state
        from sweep.worker.starting_point import starting_point

        self._channel, self._objective, self._study, self._key = channel, objective, study, spec.key
        self._checkpoint, self._states, self._stopwatch = checkpoint, state, stopwatch
        self._randomness, self._determinism = randomness, determinism
        self._folder, self._slot = Path(spec.dir), slot
        self._identity = checkpoint.identity(spec.number, spec.params, spec.seed)
        # Before the log, which makes an event file.
        self._from = starting_point(self._folder, self._identity, determinism.origin(slot), study.start)
        self._start = self._from.checkpoint
        reports = self._start.reports if self._start else {}
        self._history = History(self._folder, reports.get("earlier"), reports.get("history", ()), self._passed)
        self._saves = self._start is not None
        self._has_reported = self._has_returned = False  # metrics of its own: a checkpoint has those from before
        self._counter = event_files.RecordCounter(self._folder)
        self._log = TrialLog(spec, study, getattr(objective, "metrics", ()), stopwatch)
        self._trial = Trial(
            replace(spec, params=study.given(spec.params)),
            metric=study.metric.name,
            device=slot.torch_device,
            panels=self._log.panels,
            host=self,
            position=self._start.position if self._start else None,
            state=self._start.state if self._start else None,
            max_steps=study.max_steps,
        )

    @property
    def trial(self) -> Trial:
        """Return the objective's handle."""
        return self._trial

    @property
    def done(self) -> int:
        """Return how many steps of `trial.steps` its checkpoint has."""
        return self._start.position.done if self._start else 0

    def run(self) -> TrialResult | None:
        """Run the objective to its end; None if it continued without the checkpoint's state.

        Nothing refers to the trial afterwards: its model is freed before the next one is made, without the garbage collector.

        Raises:
            OSError: a file of the trial could not be written.
        """
        try:
            return self.end(self.begin() or self._call_objective())
        except StateIgnored as error:
            forget(error)
            return None
        except BaseException as error:
            forget(error)
            raise
        finally:
            self.close()

    def begin(self) -> TrialResult | None:
        """Begin to log, and report again what a checkpoint holds; return a result if the runner's decision ends the trial."""
        if self._start is not None:
            take_over = self._log.go_on if self._from.of_parent else self._log.load_state_dict
            take_over(self._start.writer, self._start.position)
        self._log.start()
        if self._from.trouble:
            return self.ended_by(TrialFailed(self._from.trouble))
        return self._report_again()

    def seed(self) -> None:
        """Seed all random number generators for the trial, and count the time as training from now on."""
        self._randomness.seed_all(self._trial.seed, self._trial.device)
        self._stopwatch.turn_to("training")

    def returned(self, value: object) -> TrialResult:
        """Return the result of a trial whose objective returned this."""
        total = self._trial.finish(value, {name: point[:2] for name, point in self._log.writer.logged.items()})
        return self._completed(total)

    def end(self, result: TrialResult) -> TrialResult:
        """Log how the trial ended; return the result with what is known of it here."""
        self._trial.end()
        self._stopwatch.turn_to("logging")
        self._log.writer.seal()
        finished = result.state.finished
        self._log.end(result.metrics, success=result.state is not TrialState.FAILED if finished else None)
        return replace(result, saves=self._saves, user_attrs=dict(self._trial.user_attrs))

    def close(self) -> None:
        """Close the trial's files, and refer to it no more."""
        self._trial.end()
        self._log.close()
        del self._trial, self._start, self._from

    def checked(self, state: Any) -> dict[str, Any]:
        """As in `TrialHost`."""
        found: dict[str, Any] = self._states.checked(state)
        return found

    @counts_as("logging")
    def record(self, step: int, metrics: Mapping[str, float], *, reported: bool) -> None:
        """As in `TrialHost`."""
        known = dict(self._trial.metrics)
        self._has_reported, self._has_returned = self._has_reported or reported, self._has_returned or not reported
        if reported:
            self._history.add(step, (known | dict(metrics)).get(self._study.metric.name))
        try:
            self._log.record(step, metrics, known)
        except OSError as error:
            raise WriteFailed(str(error)) from error
        self._checkpoint.passed("scalars written")

    @counts_as("checkpointing")
    def save(self, position: Position, state: dict[str, Any]) -> None:
        """As in `TrialHost`."""
        checkpoint = self._checkpoint
        self._log.panels.draw()
        self._log.appear()
        if position.metrics:
            self._log.describe(position.metrics)
        try:
            self._log.writer.written()
            events = self._counter.count(sync=True)
            checkpoint.passed("event files synced")
            found = checkpoint.Checkpoint(
                identity=self._identity,
                position=position,
                state=state,
                randomness=self._randomness.random_states(),
                origin=self._determinism.origin(self._slot),
                events=events,
                writer=self._log.state_dict(),
                reports=self._history.stored(),
            )
            checkpoint.save(self._folder, found, checked=True)
            self._saves = True
        except OSError as error:
            raise WriteFailed(str(error)) from error

    @counts_as("waiting")
    def exchange(self, report: Report) -> Decision:
        """As in `TrialHost`."""
        self._saves = report.saves
        self._log.describe(report.metrics)
        self._channel.send(replace(report, time=self._stopwatch.read(), key=self._key))
        self._checkpoint.passed("report sent")
        decision = self._decision()
        self._checkpoint.passed("decided")
        return decision

    @counts_as("waiting")
    def suggest(self, name: str, domain: Choice | Range) -> Suggested | Decision:
        """As in `TrialHost`."""
        self._channel.send(Suggest(name=name, domain=domain, time=self._stopwatch.read(), key=self._key))
        answer: Suggested | Decision = self._channel.recv() or Decision.STOP
        if isinstance(answer, Suggested) and not answer.refused:
            self._log.suggested(name, answer.value, domain)
        return answer

    def stop_requested(self) -> bool:
        """As in `TrialHost`."""
        return self._channel.stop_requested()

    def restore_random_states(self) -> None:
        """As in `TrialHost`."""
        assert self._start is not None
        self._randomness.restore_random_states(self._start.randomness)

    def _report_again(self) -> TrialResult | None:
        """Send the checkpoint's reports, which the runner may have missed; return a result if its decision ends the trial."""
        if self._start is None:
            return None
        at, point = self._start.position, self._from
        resumed = Resumed(position=at, moved=point.moved, of_parent=point.of_parent, time=self._stopwatch.read(), key=self._key)
        self._channel.send(resumed)
        decision, last = self._decision(), self._study.max_steps
        # One that uses `trial.steps` may have more to do after its last step.
        ended = last is not None and at.step is not None and at.step >= last != at.done
        if decision is Decision.COMPLETE or (ended and decision is not Decision.PRUNE):
            return self._completed(last)
        state = _ENDS.get(decision)
        return TrialResult(state=state, metrics=dict(self._trial.metrics)) if state else None

    def _passed(self, effect: str) -> None:
        self._checkpoint.passed(effect)  # looked up each time: tests replace it

    def _decision(self) -> Decision:
        return Decision(self._channel.recv() or Decision.STOP)  # None: the worker is being closed

    def _call_objective(self) -> TrialResult:
        try:
            self.seed()
            returned = None
            with contextlib.suppress(TrialComplete):
                returned = self._objective(self._trial)
            return self.returned(returned)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: only this trial ends
            result = self.ended_by(error)
            forget(error)
            return result

    def _completed(self, total: int | None = None) -> TrialResult:
        """Return the result of a trial that came to its end; one that goes on from a parent must have done something itself."""
        # What is returned after no step was left to train may be the parent's, too.
        own = self._has_reported or (self._has_returned and (total is None or total > self.done))
        if self._from.of_parent and not own:
            error = "it has reported nothing of its own: all its metrics are its parent's"
            if total is not None and total <= self.done:
                key = "max_steps" if total == self._study.max_steps else "epochs.value"
                error = f"its parent had done {self.done} steps, and it has {total} in all: "
                error += f"raise the total (such as {key}={2 * self.done})"
            return TrialResult(state=TrialState.FAILED, metrics={}, error=error, cause="exception")
        metrics = dict(self._trial.metrics)
        if missing := [repr(name) for name in self._study.needed if name not in metrics]:
            reported = ", ".join(sorted(metrics)) or "nothing"
            error = f"the objective never reported {' and '.join(missing)}; it reported: {reported}"
            return TrialResult(state=TrialState.FAILED, metrics=metrics, error=error, cause="metric-missing")
        return TrialResult(state=TrialState.COMPLETE, metrics=metrics)

    def ended_by(self, error: BaseException) -> TrialResult:
        """Return the result of a trial whose objective raised; what concerns the session is raised again."""
        metrics = dict(self._trial.metrics)
        failed = TrialResult(state=TrialState.FAILED, metrics=metrics, cause="exception")
        match error:
            case TrialPruned():
                return TrialResult(state=TrialState.PRUNED, metrics=metrics)
            case TrialStopped():
                return TrialResult(state=TrialState.WAITING, metrics=metrics)
            case MetricNotFinite():
                return replace(failed, error=plain.text(error), cause="not-finite")
            case TrialFailed():
                text = plain.text(error)
                # Of a script, whose errors are known by its last words; a function says itself why it gives up.
                cause = "exception" if self._study.command is None else cuda.cause_in(text.partition("\n")[0])
                return replace(failed, error=text, cause=cause)
            case StateIgnored() if self._study.start is not None:
                text = "the objective does not read trial.state, so it cannot go on from another trial"
                return replace(failed, error=text)
            case WriteFailed() | StateIgnored():
                raise error
            case OSError(errno=number) if number in NO_SPACE:
                print(user_traceback(error), file=sys.stderr)
                raise error
        cause, text = cuda.cause_of(error), user_traceback(error)
        if cause == OUT_OF_MEMORY:
            text = f"{cuda.memory_text()}\n{text}"
        # An error on a GPU may have ended the process's context: then every later trial of it would fail within milliseconds.
        return replace(failed, error=text, cause=cause, spent=bool(self._slot.gpus) or cause == OUT_OF_MEMORY)
