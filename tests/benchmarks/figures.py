"""Compute the figures of one run of a side, and the medians of several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.terms import Terms
from tests.benchmarks.timer import Recorded, idle_share
from tests.benchmarks.watching import Watched


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run of a side, or the medians of several.

    Attributes:
        wall_s: seconds of the whole command.
        times: the duration, divided by that of the reference side in the same round.
        samples_s: training samples per second of it.
        cpu_s: CPU seconds of all processes.
        peak_mb: MB of all processes together, shared pages counted once; None where the system does not say.
        worker_mb: MB of the largest process that trained.
        root_mb: MB of the first process, which orchestrates.
        first_step_s: seconds from the command's start to the end of the first training step.
        idle: the share of the slots' time without a trial.
        accuracy: the mean over the trials of that of the last epoch's training samples.
        accuracies: that of each trial, by its setting.
        killed: the number of processes that it left behind.
        watching_cpu_s: CPU seconds of the measurement itself.
    """

    wall_s: float
    times: float | None = None
    samples_s: float
    cpu_s: float
    peak_mb: float | None
    worker_mb: float | None
    root_mb: float | None
    first_step_s: float
    idle: float
    accuracy: float
    accuracies: Mapping[str, float]
    killed: int
    watching_cpu_s: float


def figures(watched: Watched, recorded: Recorded, terms: Terms) -> Figures:
    """Return the figures of one run."""
    return Figures(
        wall_s=watched.seconds,
        samples_s=len(recorded.spans) * terms.samples * terms.epochs / watched.seconds,
        cpu_s=watched.cpu_s,
        peak_mb=watched.peak_mb,
        worker_mb=max((watched.peaks_mb[pid] for pid in recorded.pids if pid in watched.peaks_mb), default=None),
        root_mb=watched.peaks_mb.get(watched.root),
        first_step_s=recorded.first_step - watched.started,
        idle=idle_share(recorded.spans, terms.slots),
        accuracy=statistics.mean(recorded.accuracies.values()),
        accuracies=recorded.accuracies,
        killed=watched.left,
        watching_cpu_s=watched.watching_cpu_s,
    )


def medians(rounds: Sequence[Figures]) -> dict[str, float | None]:
    """Return the median of each figure over the rounds; None where no round has it."""
    names = [name for name, value in vars(rounds[0]).items() if not isinstance(value, Mapping)]
    known = {name: [value for one in rounds if (value := getattr(one, name)) is not None] for name in names}
    return {name: statistics.median(values) if values else None for name, values in known.items()}
