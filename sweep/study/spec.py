"""The study as a value: what the study file says, checked and resolved."""

from __future__ import annotations

import functools
import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep.study.grid import Grid
from sweep.study.space import Domain, axis_size, united
from sweep.study.trial import Scalar

# A parameter of this name is no hyperparameter: it says which of several trainings of one setting a trial is.
SEED = "seed"
_PLAIN_WORD = re.compile(r"[\w@%+=:,./${}-]+", re.ASCII)  # of a command: needs no quotes, placeholders included


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What is optimised.

    Attributes:
        name: the TensorBoard tag that the objective reports.
        goal: `maximize` or `minimize`.
        target: the sweep ends once the metric is at least (or at most) this; None for never. Of several metrics one trial
            must reach every target that is given.
    """

    name: str
    goal: str
    target: float | None = None

    @property
    def sign(self) -> int:
        """Return 1 when larger is better, else -1."""
        return 1 if self.goal == "maximize" else -1

    def better(self, one: float, other: float) -> float:
        """Return the better of two values."""
        return max(one, other, key=lambda value: self.sign * value)


@dataclass(frozen=True, kw_only=True)
class ConstraintSpec:
    """What a trial must keep to be feasible.

    Attributes:
        metric: the TensorBoard tag that the objective reports.
        low, high: the last value must be at least, at most this; None for no bound.
    """

    metric: str
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """Return the constraint for people: `model/parameters at most 50000`."""
        bounds = [f"{word} {bound}" for word, bound in (("at least", self.low), ("at most", self.high)) if bound is not None]
        return f"{self.metric} {' and '.join(bounds)}"

    def excesses(self, value: float) -> dict[str, float]:
        """Return by how much a value is beyond each bound; 0 and less is within it, which is Optuna's convention too."""
        beyond = {"min": None if self.low is None else self.low - value, "max": None if self.high is None else value - self.high}
        return {f"{self.metric} {bound}": excess for bound, excess in beyond.items() if excess is not None}


@dataclass(frozen=True, kw_only=True)
class BudgetSpec:
    """When the sweep ends.

    Attributes:
        trials: how many trials in total, not how many more; None for no limit.
        time_s: seconds of this run after which no further trial is started.
        patience: number of finished trials in a row without a new best; of several metrics, without a new one on the front.
        epochs: steps (the last one that each trial reported) of all trials together after which no further one is planned.
    """

    trials: int | None = None
    time_s: float | None = None
    patience: int | None = None
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkersSpec:
    """Where trials run.

    Attributes:
        devices: `auto`, `cpu`, or indices into the visible GPUs.
        per_device: processes on each; None for auto: 1 on a GPU, one per core on a CPU.
        threads: compute threads of each process; None for 1 on a CPU, cores / slots beside a GPU.
    """

    devices: str | tuple[int, ...] = "auto"
    per_device: int | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class LogSpec:
    """What is logged for TensorBoard's other tabs, of what the objective hands over (`sweep.tensorboard.panels`).

    Attributes:
        images: samples of the training data with their classes (IMAGES); first trial only.
        graph: the model (GRAPHS); first trial only.
        charts: training against validation in one chart (CUSTOM SCALARS); first trial only.
        batches: a point of the loss every so many batches (SCALARS); 0 for none.
        histograms: of weights and gradients at each report (HISTOGRAMS, DISTRIBUTIONS).
        pr_curves: precision against recall of each class (PR CURVES).
        figures: the confusion matrix and the worst mistakes (IMAGES).
        projector: raw inputs of the first trial, the last hidden layer of the best one (PROJECTOR).
    """

    images: bool = True
    graph: bool = True
    charts: bool = True
    batches: int = 100
    histograms: bool = True
    pr_curves: bool = True
    figures: bool = True
    projector: bool = False


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A whole study file, resolved: defaults filled in, overrides applied, everything checked.

    Attributes:
        objective: `module:function`; None where a command is run.
        command: the words of a program with placeholders (`sweep.study.command`); None where there is an objective.
        import_dir: the study file's own folder, importable for the objective, and where the command runs.
        metrics: what is optimised; where one value stands for a trial, it is the first one's.
        method: `grid`, or a key of `sweep.study.methods.SAMPLERS`.
        sampler: options of Optuna's sampler, by its own names.
        enqueue: points to try first, which need not name every parameter.
        constraints: what a trial must keep to be among the best.
        pruner: `{type: ..., options}` of Optuna's pruner (`sweep.study.methods.PRUNERS`); empty for none.
        repeats: with how many seeds each assignment is trained.
        allow_failed: how many of those runs may fail without failing the trial.
        retries: how often a trial whose process died is started again.
        timeout_s: seconds after which a trial is ended as failed; None for never.
        keep_best: of how many of the best trials the last checkpoint is kept.
        stop_after_failures: so many failed trials in a row end the sweep.
        output: folder of the studies' folders, as written.
        earlier: the parameters as they were before the study was extended, the oldest first.
    """

    name: str
    objective: str | None = None
    command: tuple[str, ...] | None = None
    import_dir: str
    metrics: tuple[MetricSpec, ...]
    method: str
    parameters: dict[str, Domain]
    sampler: Mapping[str, Any] = field(default_factory=dict)
    enqueue: tuple[Mapping[str, Scalar], ...] = ()
    constraints: tuple[ConstraintSpec, ...] = ()
    pruner: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    repeats: int = 1
    allow_failed: int = 0
    budget: BudgetSpec = BudgetSpec()
    workers: WorkersSpec = WorkersSpec()
    log: LogSpec = LogSpec()
    retries: int = 1
    timeout_s: float | None = None
    keep_best: int = 3
    stop_after_failures: int = 5
    output: str = "runs"
    earlier: tuple[dict[str, Domain], ...] = ()

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
        tags = (*(metric.name for metric in self.metrics), *(constraint.metric for constraint in self.constraints))
        return tuple(dict.fromkeys(tags))

    @property
    def trained(self) -> str:
        """Return the objective or the command, as the study file has it."""
        if self.command is None:
            return str(self.objective)
        return " ".join(word if _PLAIN_WORD.fullmatch(word) else shlex.quote(word) for word in self.command)

    @property
    def prunes(self) -> bool:
        """Tell whether a pruner may end trials."""
        return str(self.pruner.get("type", "none")) != "none"

    @property
    def in_any_order(self) -> bool:
        """Tell whether the study comes to the same in whatever order its trials are run: a grid that nothing ends early."""
        budget = self.budget
        early = self.prunes or budget.time_s is not None or budget.patience is not None or budget.epochs is not None
        return self.method == "grid" and not early and all(metric.target is None for metric in self.metrics)

    @functools.cached_property
    def grid(self) -> Grid:
        """Return the study's numbered grid points, if it is a grid."""
        return Grid(spaces=[*self.earlier, self.parameters])

    @functools.cached_property
    def shown(self) -> dict[str, Domain]:
        """Return every value that a hyperparameter of this study has or had, for the HPARAMS tab."""
        return united([*self.earlier, self.parameters])

    @functools.cached_property
    def points(self) -> int | None:
        """Return how many different assignments there are, None for infinitely many."""
        return None if any(axis_size(domain) is None for domain in self.parameters.values()) else self.grid.size

    @property
    def total(self) -> int | None:
        """Return the number of trials that the study comes to; None when only time, target or patience end it."""
        limits = [limit for limit in (self.points, self.budget.trials) if limit is not None]
        return min(limits, default=None)


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed (31 bits: NumPy, torch and Optuna all take it) for one purpose out of the study's seed.

    SHA-256 instead of `hash`: the same on every machine and Python.
    """
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
