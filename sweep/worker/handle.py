"""The handle that an objective gets for its trial. Importing this module imports nothing heavy."""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

from sweep.study import plain
from sweep.study.space import Choice, Range
from sweep.study.trial import Decision, Position, Report, Scalar, TrialSpec, with_lists
from sweep.worker import metrics as reported
from sweep.worker.endings import ENDINGS, StateIgnored, TrialComplete, TrialStopped
from sweep.worker.host import TrialHost
from sweep.worker.metrics import MetricNotFinite as MetricNotFinite  # noqa: PLC0414  # one of what the handle raises
from sweep.worker.turns import Turns

if TYPE_CHECKING:  # torch is imported in workers only, not in the runner
    from torch.utils.tensorboard import SummaryWriter

    from sweep.tensorboard.panels import Panels


class Trial:
    """The handle that the objective gets: `def train(trial): ...`.

    It may be used in the objective's process until the objective returns, from any thread: calls wait for each other. A decision
    that ends the trial is raised by the call that gets it and by each later one, so it ends the objective's own thread too.

    Attributes:
        number: the trial's number.
        repeat: which of the trial's trainings this is, 0 for the first; each has its own seed.
        attempt: 1 for the first, one more each time the trial is started again.
        params: every parameter of this trial; `trial.params["lr"]`.
        seed: an int. `random`, NumPy and torch are seeded with it before the objective is called; seed other generators yourself.
            It is the same for every trial of a study, and different in each repeat.
        dir: the run folder.
        device: the device to train on, for `torch.device`: `cuda` or `cpu`; inline, where every GPU is visible, also `cuda:1`.
        panels: takes the model, samples and predictions for TensorBoard's other tabs.
        user_attrs: what `set_user_attr` has recorded, as plain data.
    """

    def __init__(
        self,
        spec: TrialSpec,
        *,
        metric: str,
        device: str,
        panels: Panels,
        host: TrialHost,
        position: Position | None = None,
        state: dict[str, Any] | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.number, self.repeat, self.attempt = spec.number, spec.repeat, spec.attempt
        self.params: dict[str, Any] = {name: with_lists(value) for name, value in spec.params.items()}
        self.seed = spec.seed
        self.dir, self.device, self.panels = Path(spec.dir), device, panels
        self._metric = metric
        self._host: TrialHost | None = host
        self._state = state
        self._begun = self._read = self._reported = False
        self._saves = state is not None
        position = position or Position()
        self._metrics: dict[str, float] = dict(position.metrics)
        self._user_attrs: dict[str, Any] = dict(position.user_attrs)
        self.user_attrs = types.MappingProxyType(self._user_attrs)  # what is set here without being checked could not be stored
        self._step, self._total, self._max_steps = position.step, position.total or max_steps, max_steps
        # Steps of `trial.steps`: the current one, how many are done, and the last one that gave `report` a state.
        self._current = self._done = self._stated = position.done
        self._started = time.monotonic() - position.seconds
        self._turns = Turns(spec.number)
        self._ending: type[BaseException] | None = None  # what the runner's decision raises

    @property
    def writer(self) -> SummaryWriter:
        """Return a `torch.utils.tensorboard.SummaryWriter` on the run folder; its first use imports torch."""
        return self.panels.writer

    @property
    def metrics(self) -> Mapping[str, float]:
        """Return the last value of each metric, read-only; it follows the reports."""
        return types.MappingProxyType(self._metrics)

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
        return self._usable("trial.stop_requested", writes=False).stop_requested()

    def graphed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, on a GPU by replaying a CUDA graph: see `sweep.worker.graphed.Graphed`."""
        from sweep.worker import graphed

        return graphed.Graphed(function, self.device) if graphed.usable(self.device) else function

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over those steps from 1 to `total` that are not done yet; the live view shows the progress.

        No step is larger than the study's `max_steps`. An interrupted trial resumes after the last step in which it gave
        `report` a state; a step in which it called `save` is not done.

        Raises:
            TrialStopped: the sweep is being stopped. Do not catch it.
            TypeError: `total` is no whole number.
            ValueError: `total` is negative, or has more than 64 bits.
        """
        self._usable("trial.steps")
        if (number := plain.whole_number(total, "the total of trial.steps")) < 0:
            raise ValueError(f"trial.steps needs 0 or more steps, got {number}")
        return self._iterate(min(number, self._max_steps or number))

    def _iterate(self, total: int) -> Iterator[int]:
        self._total = total
        self._restore_random_states()
        self._begin()
        for step in range(self._current + 1, total + 1):
            host = self._usable("trial.steps")
            self._end_if_decided()
            if host.stop_requested():
                raise TrialStopped
            self._current, self._done = step, step - 1
            yield step

    def report(self, step: int, metrics: Mapping[str, SupportsFloat], state: Mapping[str, Any] | None = None) -> None:
        """Write the metrics as scalars, make a checkpoint, send the metrics to the runner and wait for its decision.

        This happens exactly once, even if the process is killed meanwhile: after the trial resumes, each scalar is in the event
        files once, and the runner has each report. If it raises TypeError or ValueError, nothing has happened.

        Args:
            step: a whole number of at most 64 bits, larger than that of the report before.
            metrics: TensorBoard tag to number; 0-d tensors and NumPy scalars are accepted.
            state: what the objective needs to resume after this step: tensors, numbers, strings, and lists and dicts of
                them, such as `state_dict`s. Without it an interrupted trial resumes from an earlier state, or starts over.

        Raises:
            MetricNotFinite: a value is NaN or infinite; nothing of this report is stored.
            TrialPruned: the pruner ended the trial. Do not catch it.
            TrialComplete: the trial has reached its last step (`max_steps`) or its time. Do not catch it.
            TrialStopped: the sweep is being stopped. Do not catch it.
            TrialEnded: the trial has ended, or this is another process.
            TypeError: a value is no number, or the state holds something that a checkpoint cannot hold.
            ValueError: the step does not grow, or this is the second report with a state in one step of `trial.steps`.
        """
        with self._turns.taken("trial.report"):
            host = self._usable("trial.report")
            self._end_if_decided()
            number = plain.whole_number(step, "the step of trial.report")
            self._begin()
            self._check_place(number, stated=state is not None)
            values = reported.checked(metrics, number)
            given = None if state is None else host.checked(state)
            # From here on only what cannot be helped raises: a full disk, the end of the trial.
            self._step, self._reported = number, True
            self.panels.reported(number)
            self._record(host, number, values, reported=True)
            self._stated = self._stated if given is None else self._current
            # A report that counts batches, say, may come anywhere in a step.
            self._done = self._current if self._current in (number, self._stated) else self._current - 1
            if given is not None:
                self._save(host, given)
            decision = host.exchange(Report(step=number, saved=given is not None, saves=self._saves, **self._known()))
            # In its last step of `trial.steps` the objective leaves the loop itself, and may have more to do then.
            reached = (last := self._max_steps) is not None and number >= last and (number, self._current) != (last, last)
            self._ending = TrialComplete if reached and decision is not Decision.PRUNE else ENDINGS.get(decision)
            self._end_if_decided()

    def save(self, state: Mapping[str, Any]) -> None:
        """Make a checkpoint between two reports; stop here if the sweep is being stopped.

        Args:
            state: as for `report`; it must also say how far within the step the objective is.

        Raises:
            TrialStopped: the sweep is being stopped. Do not catch it.
            TrialEnded: as `report` does.
            TypeError: the state holds something that a checkpoint cannot hold.
        """
        with self._turns.taken("trial.save"):
            host = self._usable("trial.save")
            self._begin()
            self._save(host, host.checked(state))
            self._end_if_decided()
            if host.stop_requested():
                raise TrialStopped

    def set_user_attr(self, key: str, value: Any) -> None:
        """Record something about the trial; `sweep trials --format json` shows it, from the next report or the trial's end on.

        Raises:
            TypeError: JSON cannot hold the value; arrays and tensors become lists.
        """
        self._user_attrs[plain.name(key, "the key of a user attribute")] = plain.jsonable(value)

    def suggest(self, name: str, domain: Choice | Range) -> Scalar:
        """Return the value that the runner chooses for a parameter; `sweep.worker.optuna_trial` is written with this.

        Raises:
            TrialStopped: the sweep is being stopped. Do not catch it.
            TrialEnded: as `report` does.
            ValueError: Optuna refuses the domain.
        """
        with self._turns.taken("trial.suggest"):
            host = self._usable("trial.suggest")
            self._end_if_decided()
            answer = host.suggest(name, domain)
            if isinstance(answer, Decision):
                self._ending = ENDINGS.get(answer, TrialStopped)
                raise self._ending
            if answer.refused:
                raise ValueError(answer.refused)
            self.params[name] = answer.value
            return answer.value

    def go_on(self) -> None:
        """Go on after `TrialPruned`: an objective for Optuna asks for the decision, and obeys it or not."""
        self._ending = None

    def finish(self, returned: object, logged: Mapping[str, tuple[int, float]] | None = None) -> int | None:
        """Record what the objective returned: nothing, the objective value, or a dict of last metrics; return the total of steps.

        Args:
            returned: by the objective.
            logged: step and value of metrics that were written to `trial.writer`; they count where nothing else reported them.

        Raises:
            MetricNotFinite, TypeError: as `report` does.
            TrialPruned, TrialStopped: a decision that another thread got, or that was caught.
        """
        with self._turns.taken(what := "the end of the objective"):
            host = self._usable(what)
            self._begin()
            if not (complete := self._ending is TrialComplete):  # raised before, whether or not the objective caught it
                self._end_if_decided()
            if returned is not None and not complete:
                values = returned if isinstance(returned, Mapping) else {self._metric: returned}
                self._record(host, self._step or 0, reported.checked(values, self._step or 0))
            for name, (step, value) in (logged or {}).items():
                if name not in self._metrics:
                    self._record(host, step, reported.checked({name: value}, step))
            return self._total

    def end(self) -> None:
        """End the use of the handle, once a call that another thread makes is over."""
        self._turns.end()
        self._host = self._state = None

    def _usable(self, what: str, *, writes: bool = True) -> TrialHost:
        host = self._host
        if writes or host is None:
            self._turns.check(what)
        assert host is not None
        return host

    def _end_if_decided(self) -> None:
        if self._ending is not None:
            raise self._ending

    def _begin(self) -> None:
        if self._state is not None and not self._read:
            raise StateIgnored
        self._begun = True

    def _restore_random_states(self) -> None:
        # Only before the training continues: later this would repeat random numbers.
        if self._state is not None and not self._begun and self._host is not None:
            self._host.restore_random_states()

    def _check_place(self, number: int, *, stated: bool) -> None:
        if self._step is not None and number <= self._step:
            on = f"; the trial resumes after step {self._step}: use trial.steps" if self._state and not self._reported else ""
            raise ValueError(f"trial.report needs steps that grow: step {number} came after step {self._step}{on}")
        if stated and self._current > 0 and self._stated == self._current:
            why = "a report with a state ends its step; make checkpoints inside a step with trial.save"
            raise ValueError(f"a second report with a state in step {self._current} of trial.steps: {why}")

    def _save(self, host: TrialHost, state: dict[str, Any]) -> None:
        host.save(Position(step=self._step, done=self._done, seconds=time.monotonic() - self._started, **self._known()), state)
        self._saves = True

    def _known(self) -> dict[str, Any]:
        return {"metrics": dict(self._metrics), "user_attrs": dict(self.user_attrs), "total": self._total}

    def _record(self, host: TrialHost, step: int, values: dict[str, float], *, reported: bool = False) -> None:
        host.record(step, values, reported=reported)
        self._metrics.update(values)
