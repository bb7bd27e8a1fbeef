"""From what was watched and noted of one run to the figures of a row, and from several rounds to their medians."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.clock import Noted, idle_share
from tests.benchmarks.terms import Terms
from tests.benchmarks.watching import Watched


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run of a side, or the medians of several.

    Attributes:
        wall_s: of the whole command.
        times: how many times as long as the side that all are held against took in the same round.
        samples_s: training samples a second of that.
        cpu_s: of all processes.
        peak_mb: all processes together, shared pages counted once; None where the system does not tell.
        worker_mb: the largest process that trained.
        root_mb: the first process: the one that orchestrates.
        first_step_s: from the command's start to the end of the first training step.
        idle: the share of the slots' time without a trial.
        accuracy: of the last epoch's training samples, the mean over the trials.
        accuracies: of each trial, by its setting.
        killed: processes that it left behind.
        watching_cpu_s: what watching it took.
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


def figures(watched: Watched, noted: Noted, terms: Terms) -> Figures:
    """Return the figures of one run."""
    return Figures(
        wall_s=watched.seconds,
        samples_s=len(noted.spans) * terms.samples * terms.epochs / watched.seconds,
        cpu_s=watched.cpu_s,
        peak_mb=watched.peak_mb,
        worker_mb=max((watched.peaks_mb[pid] for pid in noted.pids if pid in watched.peaks_mb), default=None),
        root_mb=watched.peaks_mb.get(watched.root),
        first_step_s=noted.first_step - watched.started,
        idle=idle_share(noted.spans, terms.slots),
        accuracy=statistics.mean(noted.accuracies.values()),
        accuracies=noted.accuracies,
        killed=watched.left,
        watching_cpu_s=watched.watching_cpu_s,
    )


def medians(rounds: Sequence[Figures]) -> dict[str, float | None]:
    """Return the median of each figure over the rounds; None where no round has it."""
    names = [name for name, value in vars(rounds[0]).items() if not isinstance(value, Mapping)]
    known = {name: [value for one in rounds if (value := getattr(one, name)) is not None] for name in names}
    return {name: statistics.median(values) if values else None for name, values in known.items()}
