"""The handle that an objective gets for its trial, and what it may raise. Importing this module imports nothing heavy."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

from sweep.study.trial import Decision, Position, Report, TrialSpec

if TYPE_CHECKING:  # torch is imported in workers only, not in the runner
    from torch.utils.tensorboard import SummaryWriter

    from sweep.tensorboard.panels import Panels


class TrialPruned(BaseException):
    """Leave the objective: the trial is pruned. Not an `Exception`, so that user code does not catch it by accident."""


class TrialComplete(BaseException):
    """Leave the objective: the trial has reached its last step or its time, and counts as if the objective had returned."""


class TrialStopped(BaseException):
    """Leave the objective: the sweep is being stopped and will resume this trial later."""


class StateIgnored(BaseException):
    """Leave the objective: it resumes without reading the checkpoint's state, which would give wrong numbers."""


class MetricNotFinite(ValueError):
    """A metric became NaN or infinite: the training diverged."""


class TrialFailed(Exception):
    """Fail a trial with a message, which is shown instead of a traceback."""


class TrialHost(Protocol):
    """What a trial's handle needs of the attempt that runs it."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write metrics as scalars, and flush everything that the writer holds."""

    def save(self, position: Position, state: Mapping[str, Any]) -> None:
        """Make a checkpoint."""

    def exchange(self, report: Report) -> Decision:
        """Send a report and wait for the decision on it."""

    def stop_requested(self) -> bool:
        """Return whether the sweep is being stopped; this must be fast."""

    def restore_random_states(self) -> None:
        """Restore the random number generators from the checkpoint."""


class Trial:
    """The handle that the objective gets: `def train(trial): ...`.

    Attributes:
        number: the trial's number.
        repeat: which of the trial's trainings this is, 0 for the first; each has its own seed.
        attempt: 1 for the first, one more each time the trial is started again.
        params: every parameter of this trial; `trial.params["lr"]`.
        seed: an int. `random`, NumPy and torch are seeded with it before the objective is called; seed other generators yourself.
            It is the same for every trial of a study, and different in each repeat.
        dir: the run folder.
        device: the device to train on, for `torch.device`: `cuda` or `cpu`.
        writer: a `torch.utils.tensorboard.SummaryWriter` on the run folder.
        panels: takes the model, samples and predictions for TensorBoard's other tabs.
    """

    def __init__(
        self,
        spec: TrialSpec,
        *,
        metric: str,
        device: str,
        writer: SummaryWriter,
        panels: Panels,
        host: TrialHost,
        position: Position | None = None,
        state: dict[str, Any] | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.number, self.repeat, self.attempt = spec.number, spec.repeat, spec.attempt
        self.params: dict[str, Any] = dict(spec.params)
        self.seed = spec.seed
        self.dir = Path(spec.dir)
        self.device = device
        self.writer = writer
        self.panels = panels
        self._metric = metric
        self._host = host
        self._state = state
        self._begun = self._read = self._reported = False
        self._saves = state is not None
        position = position or Position()
        self.metrics: dict[str, float] = dict(position.metrics)
        self._step, self._total, self._max_steps = position.step, position.total or max_steps, max_steps
        self._over = False
        # Steps of `trial.steps`: the current one, how many are done, and the last one that gave `report` a state.
        self._current = self._done = self._stated = position.done
        self._history = list(position.history)
        self._started = time.monotonic() - position.seconds

    @property
    def state(self) -> dict[str, Any] | None:
        """Return the state to resume from, as it was given to `report` or `save`; None if the trial starts.

        Tensors are on the CPU. Reading this also restores the random number generators, so read it after the model is made and
        before the training continues. An objective that gives states but does not read this starts over.
        """
        self._read = True
        self._restore_random_states()
        return self._state

    @property
    def stop_requested(self) -> bool:
        """Return whether the sweep is being stopped: time for `trial.save(state)`. Fast enough for every batch."""
        self._saves = True  # the objective asks in order to save
        return self._host.stop_requested()

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over those steps from 1 to `total` that are not done yet; the live view shows the progress.

        No step is larger than the study's `max_steps`. An interrupted trial resumes after the last step in which it gave
        `report` a state; a step in which it called `save` is not done.

        Raises:
            TrialStopped: the sweep is being stopped. Do not catch it.
            ValueError: `total` is negative.
        """
        if total < 0:
            raise ValueError(f"trial.steps needs 0 or more steps, got {total}")
        total = self._total = min(total, self._max_steps or total)
        self._restore_random_states()
        self._begin()
        for step in range(self._current + 1, total + 1):
            if self._host.stop_requested():
                raise TrialStopped
            self._current, self._done = step, step - 1
            yield step

    def report(self, step: int, metrics: Mapping[str, SupportsFloat], state: Mapping[str, Any] | None = None) -> None:
        """Write the metrics as scalars, make a checkpoint, send the metrics to the runner and wait for its decision.

        This happens exactly once, even if the process is killed meanwhile: after the trial resumes, each scalar is in the event
        files once, and the runner has each report.

        Args:
            step: a whole number, larger than that of the report before.
            metrics: TensorBoard tag to number; 0-d tensors and NumPy scalars are accepted.
            state: what the objective needs to resume after this step: tensors, numbers, strings, and lists and dicts of
                them, such as `state_dict`s. Without it an interrupted trial resumes from an earlier state, or starts over.

        Raises:
            MetricNotFinite: a value is NaN or infinite; nothing of this report is stored.
            TrialPruned: the pruner ended the trial. Do not catch it.
            TrialComplete: the trial has reached its last step (`max_steps`) or its time. Do not catch it.
            TrialStopped: the sweep is being stopped. Do not catch it.
            TypeError: a value is no number, or the state holds something that a checkpoint cannot hold.
            ValueError: the step does not grow, or this is the second report with a state in one step of `trial.steps`.
        """
        try:
            number = operator.index(step)  # NumPy's ints too
        except TypeError:
            raise TypeError(f"trial.report needs a whole number as step, got {step!r}") from None
        self._begin()
        if self._step is not None and number <= self._step:
            on = f"; the trial resumes after step {self._step}: use trial.steps" if self._state and not self._reported else ""
            raise ValueError(f"trial.report needs steps that grow: step {number} came after step {self._step}{on}")
        if state is not None and self._current > 0 and self._stated == self._current:
            raise ValueError(
                f"a second report with a state in step {self._current} of trial.steps: a report with a state ends its step; "
                "make checkpoints inside a step with trial.save"
            )
        self._step, self._reported = number, True
        self._record(metrics, reported=True)
        self._history.append((number, self.metrics.get(self._metric)))
        if state is not None:
            self._stated = self._current
        # A report that counts batches, say, may come anywhere in a step.
        self._done = self._current if self._current in (number, self._stated) else self._current - 1
        if state is not None:
            self._save(state)
        decision = self._host.exchange(
            Report(step=number, metrics=dict(self.metrics), total=self._total, saved=state is not None, saves=self._saves)
        )
        if decision is Decision.PRUNE:
            raise TrialPruned
        # In its last step of `trial.steps` the objective leaves the loop itself, and may have more to do then.
        last = self._max_steps
        if decision is Decision.COMPLETE or (last is not None and number >= last and (number, self._current) != (last, last)):
            self._over = True
            raise TrialComplete
        if decision is Decision.STOP:
            raise TrialStopped

    def save(self, state: Mapping[str, Any]) -> None:
        """Make a checkpoint between two reports; stop here if the sweep is being stopped.

        Args:
            state: as for `report`; it must also say how far within the step the objective is.

        Raises:
            TrialStopped: the sweep is being stopped. Do not catch it.
            TypeError: the state holds something that a checkpoint cannot hold.
        """
        self._begin()
        self._save(state)
        if self._host.stop_requested():
            raise TrialStopped

    def finish(self, returned: object) -> None:
        """Record what the objective returned: nothing, the objective value, or a dict of last metrics.

        Raises:
            MetricNotFinite, TypeError: as `report` does.
        """
        self._begin()
        if returned is None:
            return
        self._record(returned if isinstance(returned, Mapping) else {self._metric: returned})  # type: ignore[dict-item]  # _number checks it

    def _begin(self) -> None:
        if self._over:
            raise TrialComplete
        if self._state is not None and not self._read:
            raise StateIgnored
        self._begun = True

    def _restore_random_states(self) -> None:
        # Only before the training continues: later this would repeat random numbers.
        if self._state is not None and not self._begun:
            self._host.restore_random_states()

    def _save(self, state: Mapping[str, Any]) -> None:
        position = Position(
            step=self._step,
            total=self._total,
            done=self._done,
            metrics=dict(self.metrics),
            history=tuple(self._history),
            seconds=time.monotonic() - self._started,
        )
        self._host.save(position, state)
        self._saves = True

    def _record(self, metrics: Mapping[str, SupportsFloat], *, reported: bool = False) -> None:
        step = self._step or 0
        values = {str(name): _number(name, value, step) for name, value in metrics.items()}
        if reported:
            self.panels.reported(step)
        self._host.record(step, values)
        self.metrics.update(values)


def _number(name: str, value: Any, step: int) -> float:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        raise TypeError(f"metric {name!r} must be a number, got {type(value).__name__}: {value!r}")
    if not math.isfinite(item):
        raise MetricNotFinite(f"{name} is {item} at step {step}: the training diverged (often a learning rate that is too high)")
    return item
