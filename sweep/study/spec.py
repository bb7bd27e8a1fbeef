"""A study as a value: the content of the study file, checked and with defaults filled in."""

from __future__ import annotations

import functools
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep.study.grid import Grid
from sweep.study.keys import definition, key
from sweep.study.metric import ConstraintSpec, MetricSpec
from sweep.study.space import PARENT, Domain, axis_size, united
from sweep.study.trial import Params, Scalar

# The name of a parameter that is reserved: it selects the random seed and is not searched.
SEED = "seed"
_NEXT_REPORT_S = 10.0
_PLAIN_WORD = re.compile(r"[\w@%+=:,./${}-]+", re.ASCII)  # a word of a command, placeholders included, that needs no quotes


@dataclass(frozen=True, kw_only=True)
class RepeatsSpec:
    """How often each assignment is trained."""

    count: int = key(1, "the number of trainings, each with its own seed", "Repeats", shorthand=True)
    allow_failed: int = key(0, "the number of runs that may fail without failing the trial", "WholeNumber")


@dataclass(frozen=True, kw_only=True)
class FromSpec:
    """From which trials' checkpoints a study goes on."""

    study: str = field(metadata=definition("the folder of a study that has run, relative to the working directory", "Text"))
    top: int = key(1, "the number of its best trials", "Count")
    parents: tuple[int, ...] = key((), "written by sweep into a study's folder: the trials, the best one first", "Numbers")


@dataclass(frozen=True, kw_only=True)
class BudgetSpec:
    """When the sweep ends."""

    trials: int | None = key(None, "the number of trials in total, not of further trials", "Count")
    time_s: float | None = key(None, "no trial of this session starts after it", "Duration", name="time")
    patience: int | None = key(None, "the sweep ends after this many finished trials in a row without a new best", "Count")
    epochs: int | None = key(None, "the sweep plans no further trial once all trials together have this many steps", "Count")
    unlimited: bool = key(False, "the sweep may go on until it is stopped", "Switch")


@dataclass(frozen=True, kw_only=True)
class TimeoutSpec:
    """How long a trial may take."""

    after_s: float | None = key(None, "the time that its training may take", "Duration", name="after", shorthand=True)
    then: str = key("fail", "whether it is then failed, or complete with what it has reported", "TimeoutEnd")

    @property
    def forced_s(self) -> float:
        """Return when a trial is ended by force: one that will be complete is given time for its next report."""
        return math.inf if self.after_s is None else self.after_s + (_NEXT_REPORT_S if self.then == "complete" else 0.0)


@dataclass(frozen=True, kw_only=True)
class WorkersSpec:
    """Where trials run."""

    devices: str | tuple[int, ...] = key("auto", "`auto`, `cpu`, or indices of GPUs such as `[0, 1]`", "Devices")
    per_device: int | None = key(
        None, "processes on each device; auto: one per core of a CPU, 1 or more on a GPU", "PerDevice", none="auto"
    )
    threads: int | None = key(None, "compute threads of each process", "Threads")
    devices_per_trial: int = key(1, "GPUs of each trial, or cores on a CPU", "Threads")
    fuse: int | None = key(1, "trials that a worker trains together, if `train.fused` is there", "PerDevice", none="auto")
    engine: str = key("local", "`local`: processes of this machine; `ray`: of a Ray cluster's nodes", "Engine")
    address: str | None = key(None, "of the cluster: `auto`, or HOST:PORT; default: a Ray of this machine alone", "Address")
    resources: Mapping[str, float] = key({}, "what each trial needs of a Ray cluster besides, by name", "Resources")


@dataclass(frozen=True, kw_only=True)
class LogSpec:
    """What is logged for TensorBoard's other tabs (`sweep.tensorboard.panels`)."""

    images: bool = key(True, "samples of the training data with their classes (IMAGES)", "Switch")
    graph: bool = key(True, "the model (GRAPHS)", "Switch")
    charts: bool = key(True, "training against validation in one chart (CUSTOM SCALARS)", "Switch")
    batches: int = key(100, "the number of batches between points of the loss (SCALARS); 0 for no points", "WholeNumber")
    histograms: bool = key(True, "weights and gradients at each report (HISTOGRAMS, DISTRIBUTIONS)", "Switch")
    pr_curves: bool = key(True, "precision against recall of each class (PR CURVES)", "Switch")
    figures: bool = key(True, "the confusion matrix and the worst mistakes (IMAGES)", "Switch")
    projector: bool = key(False, "raw inputs, and the best trial's last hidden layer (PROJECTOR)", "Switch")


@dataclass(frozen=True, kw_only=True)
class CheckpointsSpec:
    """Which checkpoints are kept."""

    keep_best: int = key(3, "the number of best trials whose last checkpoint is kept", "WholeNumber")


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """The whole study file, checked: defaults filled in, overrides applied. The fields are in the order of the documentation.

    Attributes:
        command: the words of a program with placeholders (`sweep.study.command`).
        metrics: if a trial is represented by one value, it is the first metric's.
        method: `grid`, or a key of `sweep.study.methods.SAMPLERS`.
        pruner: `{type: ..., options}` of Optuna's pruner (`sweep.study.methods.PRUNERS`); empty for none.
        earlier: the oldest first.
        import_dir: the study file's folder; the objective can be imported from it, and a command runs in it.
    """

    name: str = field(metadata=definition("the output folder's name; default: the file's stem", "StudyName", optional=True))
    objective: str | None = key(None, "`module:function`; the study file's own folder is importable too", "Reference")
    command: tuple[str, ...] | None = key(
        None, "in place of `objective`: a script, such as `python train.py ${args}`, or a list of its words", "Command"
    )
    cwd: str | None = key(
        None, "of a `command`: where it runs; default: the study file's folder; `${dir}/work` is one of each trial's own", "Text"
    )
    env: Mapping[str, str] = key({}, "of a `command`: variables of its environment, such as `{WANDB_MODE: offline}`", "Variables")
    nested: tuple[str, ...] = key((), "of a `command`: `[optimizer]` gives it `optimizer.lr` and such as one mapping", "Names")
    metrics: tuple[MetricSpec, ...] = field(
        metadata=definition(
            "`{name, goal: maximize or minimize}`, optionally `target:`, which ends the sweep when reached",
            "Metric",
            name="metric",
            optional=True,
        )
        | definition(
            "in place of `metric`: a list of several; the best trials are then their Pareto front, and the sweep ends when one"
            " trial reaches every `target:`",
            "Metrics",
            optional=True,
        )
    )
    constraints: tuple[ConstraintSpec, ...] = key(
        (),
        "`{model/parameters: {max: 50000}}`: bounds (`min`, `max`) of metrics; a trial that breaks one is never among the best",
        "Constraints",
    )
    method: str = field(metadata=definition("`grid`, or Optuna's `random`, `tpe`, `gp`, `cmaes`, `qmc` or `nsgaii`", "Method"))
    sampler: Mapping[str, Any] = key(
        {}, "options of Optuna's sampler by its own names, such as `{multivariate: true}`", "Options"
    )
    parameters: dict[str, Domain] = field(
        metadata=definition("name: domain, in order; an Optuna objective may define its own", "Parameters", optional=True)
    )
    enqueue: tuple[Mapping[str, Scalar], ...] = key(
        (),
        "points to try first, such as `[{lr: 0.01}]`; what a point leaves out is drawn; in a grid it has the first value",
        "Points",
    )
    start: FromSpec | None = key(
        None,
        "`{study: runs/first, top: 3}`: each trial goes on from the last checkpoint of one of that study's best trials, its"
        " `parent`, and has the parameters of it that this file does not name",
        "From",
        name="from",
    )
    seed: int = key(0, "everything random derives from it", "WholeNumber")
    determinism: str = key(
        "default",
        "`default`: on a GPU only kernels of cuDNN and cuBLAS that repeat their digits; `strict`: besides,"
        " `torch.use_deterministic_algorithms(True)`, also on a CPU; `off`: torch's own defaults",
        "Determinism",
    )
    repeated: RepeatsSpec = key(
        RepeatsSpec(),
        "trainings of each assignment, each with a seed of its own; the trial's value is their mean;"
        " `{count: 3, allow_failed: 1}` lets one of them fail",
        name="repeats",
    )
    budget: BudgetSpec = key(
        BudgetSpec(),
        "`trials` (in total), `time` (no trial starts after it), `patience` (finished trials without a new best), `epochs`"
        " (steps of all trials together), or `unlimited: true`; optional for a grid",
    )
    pruner: Mapping[str, Any] = key(
        {},
        "`{type: median}` with Optuna's options ends trials early: `median`, `percentile`, `asha`, `hyperband`, `patient`,"
        " `wilcoxon`, `threshold`, and `brackets`",
        "Pruner",
    )
    workers: WorkersSpec = key(
        WorkersSpec(),
        "`devices` (`auto`, `cpu`, `[0, 1]`), `per_device` (processes on each; auto: on a CPU one per core, as far as the"
        " memory goes; on a GPU 1, and more as long as that is measured to gain), `threads` of each,"
        " `devices_per_trial` (GPUs of each trial, or cores on a CPU), `fuse` (trials that a worker trains together; auto: on a"
        " GPU measured, on a CPU 1); on a Ray cluster `engine: ray`, `address` and `resources`",
    )
    log: LogSpec = key(LogSpec(), "what TensorBoard shows beside the scalars, panel by panel: see `sweep docs tensorboard`")
    retries: int = key(
        1, "how often a trial whose process died is resumed from its checkpoint; an exception is not retried", "WholeNumber"
    )
    max_steps: int | None = key(None, "the last step of a trial: it is complete once it has reported this step", "Count")
    timed: TimeoutSpec = key(
        TimeoutSpec(),
        "of one trial, such as `30m`; a trial that takes longer is failed, or with `{after: 30m, then: complete}` complete with"
        " what it has reported",
        name="timeout",
    )
    checkpoints: CheckpointsSpec = key(
        CheckpointsSpec(), "`{keep_best: 3}`: the number of best trials whose last checkpoint is kept"
    )
    stop_after_failures: int = key(5, "the sweep ends after this many failed trials in a row", "Count")
    output: str = key("runs", "folder of the studies' folders, relative to the working directory", "Text")
    earlier: tuple[dict[str, Domain], ...] = key(
        (),
        "written by sweep into a study's folder: the parameters before they were extended; trials keep their numbers",
        "Spaces",
    )
    import_dir: str
    notes: tuple[str, ...] = field(default=(), compare=False)  # what is to be told of another tool's file; not stored
    suggests: bool = False  # the file has no parameters: a function written for Optuna suggests its own

    @property
    def repeats(self) -> int:
        """Return the number of trainings of each assignment."""
        return self.repeated.count

    @property
    def timeout_s(self) -> float | None:
        """Return how long a trial may take."""
        return self.timed.after_s

    @property
    def metric(self) -> MetricSpec:
        """Return the only metric, or the first of several."""
        return self.metrics[0]

    @property
    def multi_objective(self) -> bool:
        """Return whether there are several metrics, so that the best trials are a Pareto front."""
        return len(self.metrics) > 1

    @property
    def needed(self) -> tuple[str, ...]:
        """Return the tags that every complete trial has reported: the metrics, then those of the constraints."""
        return tuple(dict.fromkeys([metric.name for metric in self.metrics] + [one.metric for one in self.constraints]))

    @property
    def trained(self) -> str:
        """Return the objective or the command as in the study file."""
        if self.command is None:
            return str(self.objective)
        return " ".join(word if _PLAIN_WORD.fullmatch(word) else shlex.quote(word) for word in self.command)

    def given(self, params: Params) -> dict[str, Scalar]:
        """Return those of a trial's parameters that its objective gets: not the number of its parent."""
        return {name: value for name, value in params.items() if self.start is None or name != PARENT}

    @property
    def prunes(self) -> bool:
        """Return whether a pruner may prune trials."""
        return bool(self.pruner)

    @property
    def in_any_order(self) -> bool:
        """Return whether the order of the trials cannot change the result: the study is a grid that nothing ends early."""
        early = self.prunes or not (self.budget.time_s is self.budget.patience is self.budget.epochs is None)
        return self.method == "grid" and not early and all(metric.target is None for metric in self.metrics)

    @functools.cached_property
    def grid(self) -> Grid:
        """Return the numbered points of a grid."""
        return Grid(spaces=[*self.earlier, self.parameters])

    @functools.cached_property
    def shown(self) -> dict[str, Domain]:
        """Return the space with all current and earlier values, for the HPARAMS tab."""
        return united([*self.earlier, self.parameters])

    @functools.cached_property
    def points(self) -> int | None:
        """Return the number of different assignments, None for infinitely many."""
        return None if self.suggests or any(axis_size(one) is None for one in self.parameters.values()) else self.grid.size

    @property
    def total(self) -> int | None:
        """Return the number of trials, None if only time, a target, patience or epochs end the study."""
        return min((limit for limit in (self.points, self.budget.trials) if limit is not None), default=None)
