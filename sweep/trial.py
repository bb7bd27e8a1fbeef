"""A trial: what is sent to a worker, what comes back, and the live handle that an objective holds.

Nothing here imports anything of this package or anything heavy, so user code may import it freely.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

if TYPE_CHECKING:  # torch is imported in workers only; the annotation must not bring it into the runner
    from torch.utils.tensorboard import SummaryWriter

Scalar = bool | int | float | str | None
Params = Mapping[str, Scalar]


class TrialState(enum.StrEnum):
    """Where a trial is in its life, in the words of `sweep trials`."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Tell whether nothing more will happen to the trial."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """All that a worker needs to run one trial.

    Attributes:
        number: the trial's number, its own for ever.
        params: every parameter, constants too, in the study file's order.
        seed: of everything random inside the trial.
        dir: absolute path of the run folder.
        attempt: 1 for the first, one more each time the trial is started again.
    """

    number: int
    params: dict[str, Scalar]
    seed: int
    dir: str
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """One `trial.report`: the metrics at a step, and how many steps are expected (None: not said)."""

    step: int
    metrics: dict[str, float]
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: complete, pruned or failed; waiting if it was stopped on request and is to be run again.
        metrics: the last value of each metric.
        error: the traceback or the reason, when failed.
        cause: why it failed, for programs: `exception`, `not-finite`, `metric-missing` or `died`.
    """

    state: TrialState
    metrics: dict[str, float]
    error: str | None = None
    cause: str | None = None


class Decision(enum.StrEnum):
    """The runner's answer to a report."""

    GO_ON = "go_on"
    PRUNE = "prune"
    STOP = "stop"


class TrialPruned(BaseException):
    """Leave the objective: the trial is not worth finishing. Not an `Exception`: user code must not swallow it."""


class TrialStopped(BaseException):
    """Leave the objective: the sweep is being stopped and will resume this trial later."""


class MetricNotFinite(ValueError):
    """A metric became NaN or infinite: the training diverged."""


class Trial:
    """The live handle given to the objective: `def train(trial): ...`.

    Attributes:
        number: the trial's number.
        params: every parameter of this trial; `trial.params["lr"]`.
        seed: an int that everything random in the trial should derive from. `random`, NumPy and torch are seeded
            with it before the objective is called; it is the same for every assignment of a study.
        dir: the run folder.
        device: what to train on, a name that `torch.device` takes: `cuda` or `cpu`.
        writer: a `torch.utils.tensorboard.SummaryWriter` on the run folder.
    """

    def __init__(self, spec: TrialSpec, *, device: str, writer: SummaryWriter, exchange: Callable[[Report], Decision]) -> None:
        self.number = spec.number
        self.params: dict[str, Any] = dict(spec.params)
        self.seed = spec.seed
        self.dir = Path(spec.dir)
        self.device = device
        self.writer = writer
        self.metrics: dict[str, float] = {}
        self._exchange = exchange
        self._step: int | None = None
        self._total: int | None = None

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over the steps 1 to `total`; the live view shows how far the trial is.

        Raises:
            ValueError: `total` is negative.
        """
        if total < 0:
            raise ValueError(f"trial.steps needs 0 or more steps, got {total}")
        self._total = total
        yield from range(1, total + 1)

    def report(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Write the metrics as scalars, send them to the runner and wait for its decision.

        Args:
            step: a whole number, larger than that of the report before.
            metrics: TensorBoard tag to number; 0-d tensors and NumPy scalars are accepted.

        Raises:
            MetricNotFinite: a value is NaN or infinite; nothing of this report is stored.
            TrialPruned: the pruner ended the trial. Let it pass.
            TrialStopped: the sweep is being stopped. Let it pass.
            TypeError: a value is no number.
            ValueError: the step does not grow.
        """
        try:
            number = operator.index(step)  # NumPy's ints too
        except TypeError:
            raise TypeError(f"trial.report needs a whole number as step, got {step!r}") from None
        if self._step is not None and number <= self._step:
            raise ValueError(f"trial.report needs steps that grow: step {number} came after step {self._step}")
        self._step = number
        self._record(metrics)
        decision = self._exchange(Report(step=self._step, metrics=dict(self.metrics), total=self._total))
        if decision is Decision.PRUNE:
            raise TrialPruned
        if decision is Decision.STOP:
            raise TrialStopped

    def finish(self, returned: object, metric: str) -> None:
        """Record what the objective returned: nothing, the objective's value, or a dict of last metrics.

        Raises:
            MetricNotFinite, TypeError: as `report` does.
        """
        if returned is None:
            return
        self._record(returned if isinstance(returned, Mapping) else {metric: returned})  # type: ignore[dict-item]  # _number says what is no number

    def _record(self, metrics: Mapping[str, SupportsFloat]) -> None:
        step = self._step or 0
        values = {str(name): _number(name, value, step) for name, value in metrics.items()}
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.metrics.update(values)


def _number(name: str, value: Any, step: int) -> float:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        raise TypeError(f"metric {name!r} must be a number, got {type(value).__name__}: {value!r}")
    if not math.isfinite(item):
        raise MetricNotFinite(f"{name} is {item} at step {step}: the training diverged (often a learning rate that is too high)")
    return item
