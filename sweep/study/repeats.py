"""Repeats: the record of a trial that is trained with several seeds.

Each run has its own record, run folder and seed. The trial's record is computed from them, only here. Its value is the mean of
its complete runs, with the standard error of the mean. A failed run fails the trial, unless the study allows it; a pruned run
prunes the trial. The remaining runs of such a trial never start.

With a pruner only the first run of a trial can be pruned; the others start when it is complete.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sweep.study.code.digest import joined
from sweep.study.record import TrialRecord, metric_names, planned_record
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar, TrialState


def trials_of(runs: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return the record of each trial, in order of their numbers, from the records of the runs."""
    found = sorted(runs, key=lambda run: run.key)
    if study.repeats == 1:
        return found
    return [trial_of(list(group), study) for _, group in itertools.groupby(found, key=lambda run: run.number)]


def trial_of(runs: Sequence[TrialRecord], study: StudySpec) -> TrialRecord:
    """Return the record of a trial from the records of its started runs, in order, at least one."""
    first = runs[0]
    if study.repeats == 1:
        return first
    state = _state(runs, study)
    # Until the trial ends, the mean of all its runs that did not fail; then only of the runs that ended in the same state.
    counted = [run for run in runs if (run.state is state if state.finished else run.state is not TrialState.FAILED)]
    values = [run.value for run in counted if run.value is not None]
    mean_of_several = state is TrialState.COMPLETE and len(values) > 1
    shared = [name for name in metric_names(counted) if all(name in run.metrics for run in counted)]
    failed = next((run for run in runs if run.state is state is TrialState.FAILED), None)
    ends = [run.ended for run in runs if run.ended]
    return replace(
        first,
        repeat=0,
        state=state,
        params={name: value for run in runs for name, value in run.params.items()},
        metrics={name: statistics.fmean(run.metrics[name] for run in counted) for name in shared},
        value=statistics.fmean(values) if values else None,
        standard_error=statistics.stdev(values) / math.sqrt(len(values)) if mean_of_several else None,
        attempts=max(run.attempts for run in runs),
        started=min((run.started for run in runs if run.started), default=None),
        ended=max(ends) if ends and state.finished else None,
        duration_s=round(sum(run.duration_s or 0.0 for run in runs), 3) if any(run.duration_s for run in runs) else None,
        error=f"repeat {failed.repeat}: {failed.error}" if failed is not None else None,
        cause=failed.cause if failed is not None else None,
        device=", ".join(dict.fromkeys(run.device for run in runs if run.device)) or None,
        step=sum(run.step or 0 for run in runs) if any(run.step is not None for run in runs) else None,
        total=first.total * study.repeats if first.total is not None else None,
        code=joined(*(run.code for run in runs)),
        spans=tuple(span for run in runs for span in run.spans),
        runs=tuple(runs),
    )


def run_of(trial: TrialRecord, repeat: int | None = None) -> TrialRecord | None:
    """Return a run of a trial: this repeat, None if it has not started; by default the first that is complete, or the first."""
    runs = runs_of([trial])
    if repeat is not None:
        return next((run for run in runs if run.repeat == repeat), None)
    return next((run for run in runs if run.state is TrialState.COMPLETE), runs[0])


def due(number: int, params: dict[str, Scalar], runs: Sequence[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return the runs of a trial that may start now, given its started runs."""
    if is_decided(runs, study):
        return []
    known = {run.repeat: run.state for run in runs}
    first_alone = study.prunes and known.get(0) is not TrialState.COMPLETE
    wanted = range(1 if first_alone else study.repeats)
    return [planned_record(study, number, params, repeat) for repeat in wanted if repeat not in known]


def is_decided(runs: Sequence[TrialRecord], study: StudySpec) -> bool:
    """Return whether a trial is failed or pruned regardless of its other runs."""
    states = [run.state for run in runs]
    return TrialState.PRUNED in states or states.count(TrialState.FAILED) > study.repeated.allow_failed


def runs_of(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the record of each run of the trials; a trial that is not repeated is its own run."""
    return [run for trial in trials for run in trial.runs or (trial,)]


def runs_in_total(study: StudySpec) -> int | None:
    """Return the number of runs of a study, None if it is not limited."""
    return None if study.total is None else study.total * study.repeats


def trainings(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return one record for each training, for statistics; a run of a repeated trial has the repeat as its parameter `seed`.

    Dropped trials are left out. The complete runs of a trial that failed or was pruned have its state: it has no result.
    """
    return [
        replace(run, params=trial.params | {SEED: run.repeat}, state=_counted_as(run, trial)) if trial.runs else run
        for trial in trials
        if not trial.dropped
        for run in trial.runs or (trial,)
    ]


def _counted_as(run: TrialRecord, trial: TrialRecord) -> TrialState:
    lost = trial.state in (TrialState.FAILED, TrialState.PRUNED) and run.state is TrialState.COMPLETE
    return trial.state if lost else run.state


def _state(runs: Sequence[TrialRecord], study: StudySpec) -> TrialState:
    states = {run.state for run in runs}
    if TrialState.RUNNING in states:
        return TrialState.RUNNING
    if TrialState.WAITING in states:
        return TrialState.WAITING
    if is_decided(runs, study):
        return TrialState.PRUNED if TrialState.PRUNED in states else TrialState.FAILED
    return TrialState.COMPLETE if len(runs) == study.repeats else TrialState.WAITING
