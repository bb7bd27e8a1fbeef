"""A trial as a value: what is sent to a worker and what comes back; the live handle is `sweep.worker.handle`.

Nothing here imports anything heavy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweep.study.timing import TimeBreakdown

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
        repeat: which of the trial's runs, which differ by their seeds.
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
    repeat: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """One `trial.report`.

    Attributes:
        metrics: the last value of each metric so far.
        total: how many steps are expected; None: not said.
        saved: a checkpoint holds this report.
        saves: the trial makes checkpoints, or asks when to, so that waiting for its next step saves work.
        time: what the attempt's time went to until then; it tells no two reports apart.
    """

    step: int
    metrics: dict[str, float]
    total: int | None = None
    saved: bool = False
    saves: bool = False
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a trial is, and what it has reported: what must survive beside the objective's own state.

    Attributes:
        step: the last reported step; None before the first report.
        total: how many steps are expected; None: not said.
        done: how many steps of `trial.steps` are behind it; reports may count otherwise.
        metrics: the last value of each metric.
        history: step and objective of each report; the objective is None before it is reported first.
        seconds: how long the trial has been trained until then.
    """

    step: int | None = None
    total: int | None = None
    done: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    history: tuple[tuple[int, float | None], ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: complete, pruned or failed; waiting if it was stopped on request and is to be run again.
        metrics: the last value of each metric.
        error: the traceback or the reason, when failed.
        cause: why it ended so, for programs: `exception`, `not-finite`, `metric-missing`, `died`, `timeout`,
            `out-of-memory`, or `write-failed` of a trial that waits because its files could not be written.
        spent: the process has done what cannot be undone (device memory ran out) and must be renewed.
        time: what the attempt's time went to; it tells no two results apart.
    """

    state: TrialState
    metrics: dict[str, float]
    error: str | None = None
    cause: str | None = None
    spent: bool = False
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)


class Decision(enum.StrEnum):
    """The runner's answer to a report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    STOP = "stop"
