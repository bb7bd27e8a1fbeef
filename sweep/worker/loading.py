"""A trial that has ended, for whoever uses what it has learned: `sweep.load`.

It is read from the study's folder, or from one that `sweep best --copy` has made, which needs the study's no more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.storage.checked import record_in
from sweep.storage.existing import existing_study
from sweep.storage.folder import CHECKPOINT, TRIAL, StudyFolder, near
from sweep.storage.regular import read_own
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.record import TrialRecord
from sweep.study.repeats import run_of
from sweep.study.spec import StudySpec
from sweep.study.trial import with_lists
from sweep.worker import checkpoint

_OWN = "files"


@dataclass(frozen=True, kw_only=True)
class LoadedTrial:
    """A trial with its parameters, metrics and last state.

    Attributes:
        number: the trial's.
        params: every parameter that its objective got, constants too.
        metrics: the last value of each metric; with repeats, their means.
        value: the objective value; None if it has none.
        state: what its objective gave `trial.report` or `trial.save` last, with tensors on the CPU; None if it gave nothing.
        step: the last reported step; None without a report or a state.
        dir: the run folder, with what the objective wrote itself; of a copy the folder `files` in it.
    """

    number: int
    params: dict[str, Any]
    metrics: dict[str, float]
    value: float | None
    state: dict[str, Any] | None = field(repr=False)
    step: int | None
    dir: Path


def load(study: str | os.PathLike[str], trial: int | None = None, *, repeat: int | None = None) -> LoadedTrial:
    """Return a study's best trial with its last state.

    Args:
        study: its folder, or one that `sweep best --copy` has made.
        trial: another trial's number; with several metrics the default is the best trial in the first one.
        repeat: of which of its trainings the state is; default: the first that is complete.

    Raises:
        SweepError: there is no such study or trial, no trial is complete, or its checkpoint is damaged or was not kept.
    """
    root = Path(study).expanduser().absolute()
    if (root / TRIAL).is_file():
        return _of_copy(root, trial, repeat)
    snapshot = existing_study(root)
    record = chosen(snapshot, trial)
    run = run_of(record, repeat)
    if run is None:
        repeats = ", ".join(str(one.repeat) for one in record.runs) or "0"
        what = f"trial {record.number} of {near(root)} has no repeat {repeat}"
        raise SweepError("no-such-repeat", what, do=f"repeat=...   one of {repeats}")
    if not has_its_state(snapshot, record, run):
        raise SweepError(
            "checkpoint-not-kept",
            f"trial {record.number} of {near(root)} has no checkpoint any more",
            why=f"the study keeps those of its {snapshot.study.checkpoints.keep_best} best trials, until they are removed",
            do=f"the best one:  sweep.load({near(root)!r})\nmore of them, before the study runs:  checkpoints: {{keep_best: N}}",
        )
    place = snapshot.folder.trial_dir(run.folder)
    return _loaded(record, place, snapshot.study, place)


def has_its_state(snapshot: Snapshot, record: TrialRecord, run: TrialRecord) -> bool:
    """Return whether a run of a trial has its checkpoint, or is of a study whose trials give no state."""
    if (snapshot.folder.trial_dir(run.folder) / CHECKPOINT).exists():
        return True
    spent, kept = snapshot.time_spent, snapshot.ranking.order[: snapshot.study.checkpoints.keep_best]
    return record in kept and not (spent and spent.checkpointing)


def chosen(snapshot: Snapshot, trial: int | None = None) -> TrialRecord:
    """Return the record of a trial; by default of the best one.

    Raises:
        SweepError: there is none.
    """
    place, records = near(snapshot.folder.root), {record.number: record for record in snapshot.records}
    best = snapshot.ranking.best if trial is None else records.get(trial)
    if best is not None:
        return best
    if trial is not None:
        numbers = f"0 to {max(records)}" if records else "none yet"
        raise SweepError("no-such-trial", f"{place} has no trial {trial}", do=f"sweep trials {place}   lists them: {numbers}")
    complete = len(snapshot.ranking.order)
    what = f"none of the {complete} complete trials of {place} satisfies the constraints"
    what = what if complete else f"no trial of {place} is complete"
    raise SweepError("no-best", what, do=f"sweep status {place}")


def _of_copy(root: Path, trial: int | None, repeat: int | None) -> LoadedTrial:
    try:
        record = record_in(read_own(root / TRIAL).decode("utf-8"))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        what = f"{near(root / TRIAL)} is damaged: {error}"
        raise SweepError("copy-damaged", what, do="make it again:  sweep best STUDY --copy DIR") from None
    if trial not in (None, record.number):
        what = f"{near(root)} is a copy of trial {record.number} alone, not of trial {trial}"
        raise SweepError("no-such-trial", what, do="name the study's folder")
    if repeat not in (None, record.repeat):
        what = f"{near(root)} is a copy of repeat {record.repeat} of trial {record.number} alone, not of repeat {repeat}"
        raise SweepError("no-such-repeat", what, do="name the study's folder")
    return _loaded(record, root, stored_study(StudyFolder(root=root)), root / _OWN)


def _loaded(record: TrialRecord, place: Path, study: StudySpec, own: Path) -> LoadedTrial:
    params = with_lists(study.given(record.params))
    found = LoadedTrial(
        number=record.number, params=params, metrics=record.metrics, value=record.value, state=None, step=record.step, dir=own
    )
    if not (place / CHECKPOINT).exists():
        return found
    try:
        kept = checkpoint.read(place / CHECKPOINT)
    except (checkpoint.CheckpointDamaged, OSError) as error:
        what = f"the checkpoint of trial {record.number}, {near(place / CHECKPOINT)}, cannot be used: {error}"
        raise SweepError("checkpoint-damaged", what, do="another trial:  sweep.load(..., trial=N)") from None
    state: dict[str, Any] | None = kept.state
    if study.command is not None:  # with what the program itself needs
        state = (kept.state.get("script") or {}).get("state")
    return replace(found, state=state, step=kept.position.step)
