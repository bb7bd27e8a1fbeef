"""Results and errors of trials, workers and sessions that failed from the outside: killed, too slow, not importable."""

from __future__ import annotations

from typing import Literal

from sweep.errors import SweepError
from sweep.storage.files import tail
from sweep.storage.folder import LOG, StudyFolder
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialResult, TrialState
from sweep.worker.protocol import Died, LoadFailed

# By whether the objective is a command.
_WAYS = {
    False: 'trial.report(step, {{"{tag}": value}}); or return a number or a dict; or'
    ' trial.writer.add_scalar("{tag}", value, step)',
    True: 'from sweep import trial; trial.report(step, {{"{tag}": value}}); or print a line {{"step": 1, "{tag}": 0.1}}; or'
    " SummaryWriter(log_dir=...) in ${{logdir}}, with the tag {tag}; or wandb.log, with env: {{WANDB_MODE: offline}}",
}


def death_text(record: TrialRecord, death: Died, folder: StudyFolder) -> str:
    """Return how a trial's worker died, with the end of the trial's log."""
    return f"{death.describe()}\n{_log_end(record, folder)}".rstrip()


def failed(record: TrialRecord, error: str, cause: Literal["died", "timeout"], folder: StudyFolder) -> TrialResult:
    """Log to TensorBoard that a trial failed; return its result."""
    from sweep.tensorboard.hparams import append_end

    append_end(folder.trial_dir(record.folder), record.params, success=False)
    return TrialResult(state=TrialState.FAILED, metrics=record.metrics, error=error, cause=cause)


def ended_by_timeout(record: TrialRecord, study: StudySpec, folder: StudyFolder) -> TrialResult:
    """Log to TensorBoard how a trial ended that took too long; return its result.

    It is failed; if the study wants what such a trial has reported, and that is enough, it is complete.
    """
    if study.timed.then == "complete" and all(name in record.metrics for name in study.needed):
        from sweep.tensorboard.hparams import append_end

        append_end(folder.trial_dir(record.folder), record.params, success=True)
        return TrialResult(state=TrialState.COMPLETE, metrics=record.metrics)
    last = f"its last report was step {record.step}" if record.step is not None else "it never reported"
    error = f"it took longer than {study.timeout_s:g} s (timeout); {last}\n{_log_end(record, folder)}".rstrip()
    return failed(record, error, "timeout", folder)


def not_importable(study: StudySpec, event: LoadFailed) -> SweepError:
    """Return the error of an objective that no worker can import."""
    return SweepError(
        "objective-not-importable",
        f"the objective {study.trained} cannot be imported: {event.reason}",
        why=event.traceback or None,
        do="sweep check STUDY   tries again without starting a trial",
    )


def metric_never_reported(record: TrialRecord, study: StudySpec, folder: StudyFolder, result: TrialResult) -> SweepError:
    """Return the error of an objective that does not report every metric that the study needs."""
    missing = [name for name in study.needed if name not in result.metrics]
    several = len(study.needed) > 1
    if not result.metrics:
        do = f"report it in one of these ways: {_WAYS[study.command is not None].format(tag=missing[0])}"
    else:
        do = f"{'name some' if several else 'set metric.name to one'} of those{' in metrics and constraints' if several else ''}"
    return SweepError(
        "metric-never-reported",
        f"trial {record.number} ended without the metric{'s' * (len(missing) > 1)} {' and '.join(map(repr, missing))}",
        where=str(folder.trial_dir(record.folder)),
        why=result.error,
        do=f"{do}, then:  sweep run STUDY --fresh",
    )


def died_at_start(death: Died) -> SweepError:
    """Return the error of workers that die before their first trial."""
    return SweepError(
        "worker-died-at-start",
        f"a worker died before its first trial: {death.describe()}",
        why=death.log or None,
        do="sweep doctor   checks torch, torchvision and the devices",
    )


def _log_end(record: TrialRecord, folder: StudyFolder) -> str:
    log = folder.trial_dir(record.folder) / LOG
    return f"last lines of {log}:\n{tail(log)}"
