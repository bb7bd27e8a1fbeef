"""A trial as a value: what a worker receives and returns; the objective's handle is `sweep.worker.handle`.

This module imports nothing heavy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep.study.timing import TimeBreakdown

# A parameter's value. A list of the study file is a tuple, which has a hash and cannot be changed; JSON writes a list again.
Scalar = bool | int | float | str | None | tuple["Scalar", ...]
Params = Mapping[str, Scalar]
# Number, repeat and attempt: each event of a worker says whose it is.
AttemptKey = tuple[int, int, int]
# Causes of a failure that may be a GPU's and not the trial's.
DEVICE_ERROR, OUT_OF_MEMORY = "device-error", "out-of-memory"
GROUP_FAILED = "group-failed"  # of trials that were trained together: it may be any one's fault
NOT_FUSABLE = "not-fusable"  # the same, because their code cannot do it


def with_tuples(value: Any) -> Any:
    """Return a parameter's value, as JSON or YAML has it, with tuples in place of lists."""
    return tuple(with_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def with_lists(value: Any) -> Any:
    """Return a parameter's value, or a mapping of several, as JSON and YAML have it, with lists in place of tuples."""
    if isinstance(value, Mapping):
        return {key: with_lists(item) for key, item in value.items()}
    return [with_lists(item) for item in value] if isinstance(value, tuple) else value


class TrialState(enum.StrEnum):
    """The state of a trial, as `sweep trials` prints it."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Return whether the state is final."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything that a worker needs to run a trial once.

    Attributes:
        number: identifies the trial; it never changes.
        repeat: identifies one of the trial's runs, which differ by their seeds.
        params: every parameter, including constants, in the study file's order.
        seed: for all random numbers in the run.
        dir: absolute path of the run folder.
        attempt: 1 at first, one more each time the run is started again.
        columns: what its row in the HPARAMS tab shows beside the parameters, by the column's name.
        group: the trials with which it is trained together; None where it is trained alone.
    """

    number: int
    params: dict[str, Scalar]
    seed: int
    dir: str
    attempt: int = 1
    repeat: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    group: GroupSpec | None = field(default=None, compare=False)

    @property
    def key(self) -> AttemptKey:
        """Return what distinguishes this attempt from all others of the study."""
        return self.number, self.repeat, self.attempt


@dataclass(frozen=True, kw_only=True)
class GroupSpec:
    """Trials that one worker trains together.

    Attributes:
        members: in the order of their places; one that has ended in an earlier session keeps its place.
        wanted: the keys of those that are to be trained now.
    """

    members: tuple[TrialSpec, ...]
    wanted: frozenset[AttemptKey]

    @property
    def starting(self) -> list[TrialSpec]:
        """Return those that are to be trained now."""
        return [one for one in self.members if one.key in self.wanted]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One `trial.report`.

    Attributes:
        metrics: the last value of each metric so far.
        total: the expected number of steps; None if unknown.
        saved: a checkpoint contains this report.
        saves: the trial writes checkpoints, or asks when to, so that waiting for its next step saves work.
        user_attrs: what the objective has said of the trial, by its own names; plain data.
        time: the attempt's time per activity until then; ignored in comparisons, as `key` is.
        key: the attempt that it comes from.
    """

    step: int
    metrics: dict[str, float]
    total: int | None = None
    saved: bool = False
    saves: bool = False
    user_attrs: dict[str, Any] = field(default_factory=dict)
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)
    key: AttemptKey | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Position:
    """The progress and the reports of a trial, which a checkpoint stores beside the objective's own state.

    Attributes:
        step: the last reported step; None before the first report.
        total: the expected number of steps; None if unknown.
        done: the number of finished steps of `trial.steps`; reports may count differently.
        metrics: the last value of each metric.
        history: step and objective value of each report; the value is None before it is first reported.
        seconds: the duration of the training until then.
        user_attrs: as in a `Report`.
    """

    step: int | None = None
    total: int | None = None
    done: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    history: tuple[tuple[int, float | None], ...] = ()
    seconds: float = 0.0
    user_attrs: dict[str, Any] = field(default_factory=dict)  # checkpoints of earlier versions have none


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: complete, pruned or failed; waiting if it was stopped on request and will be resumed.
        metrics: the last value of each metric.
        error: the traceback or the reason, if failed.
        cause: the reason for programs: `exception`, `not-finite`, `metric-missing`, `died`, `timeout`, `out-of-memory` and
            `device-error` (of a GPU); of a trial that waits `write-failed`, because its files could not be written, or
            `group-failed` or `not-fusable`, because those that are trained together failed as a whole.
        spent: the process must be replaced, because of something that cannot be undone, or for an error on a GPU.
        user_attrs: as in a `Report`.
        saves: as in a `Report`; ignored in comparisons, as `time` and `key` are.
        time: the attempt's time per activity.
        key: the attempt that it comes from.
    """

    state: TrialState
    metrics: dict[str, float]
    error: str | None = None
    cause: str | None = None
    spent: bool = False
    user_attrs: dict[str, Any] = field(default_factory=dict)
    saves: bool = field(default=False, compare=False)
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)
    key: AttemptKey | None = field(default=None, compare=False)


class Decision(enum.StrEnum):
    """The runner's answer to a report."""

    CONTINUE = "continue"
    PRUNE = "prune"
    STOP = "stop"
    COMPLETE = "complete"  # as it is: its time is over


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """The runner's answer to an objective that asks for a parameter: its value, or in `refused` why there is none."""

    value: Scalar = None
    refused: str = ""
