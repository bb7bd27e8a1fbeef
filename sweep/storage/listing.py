"""Find the studies below a folder, and read of each what `sweep list` shows: a thousand of them in about a second.

Of a study that this version has run, the database says what ranks its trials (`sweep.storage.outline`); the study file of an
older one is read instead. A study that cannot be read is listed with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TOO_MANY_FAILURES, SweepError
from sweep.storage.database import ENDED, OUTLINE, damage_reported, latest, note_in, reading, records_in
from sweep.storage.disk import spare_files, usage
from sweep.storage.folder import StudyFolder, recorded
from sweep.storage.integrity import check_whole, is_copy, original_of
from sweep.storage.lock import any_holder
from sweep.storage.outline import study_in
from sweep.storage.regular import identity, read_own
from sweep.storage.remarks import read_remarks
from sweep.study.progress import TrialCounts
from sweep.study.ranking import rank
from sweep.study.record import TrialRecord
from sweep.study.repeats import trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_DEEPEST = 5
_NO_STUDIES = frozenset(("node_modules", "site-packages", "__pycache__"))
_SIGNS = frozenset(path.name for path in StudyFolder(root=Path()).signs)


class StudyState(StrEnum):
    """The state of a study, as `sweep list` prints it."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # it can be resumed
    FAILED = "failed"  # the same; too many trials failed in a row
    MOVED_ASIDE = "moved aside"
    DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A study as `sweep list` shows it.

    Attributes:
        study: good for ranking and counting, not for running; None if the study is damaged, as all that depends on it.
        error: why it cannot be read; None if it can.
        counts: the number of trials in each state.
        dropped: the number of dropped trials, which `counts` has too.
        best: the best trial, if there is one; with several metrics the best of the Pareto front in the first one.
        front: the number of trials in the Pareto front.
        started: when its first trial was started for the first time, ISO 8601.
        changed: when something was last stored of a trial, or else of the study.
        doing: the verb that has its lock for a moment, such as `clean`; mostly empty.
        runner: the session that runs it now, with the number of its slots as `slots`; or None.
        ended: how the last session ended (`at`, `exit_code`, `by`); None if one runs, was killed, or was of an older version.
        note: what the user has said of it.
        size: bytes of all its files.
        spare: bytes of those that it does not need.
    """

    folder: StudyFolder
    state: StudyState
    study: StudySpec | None = None
    error: SweepError | None = None
    counts: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    best: TrialRecord | None = None
    front: int = 0
    started: str | None = None
    changed: str
    doing: str = ""
    runner: dict[str, Any] | None
    ended: dict[str, Any] | None = None
    note: str = ""
    size: int
    spare: int = 0


def studies_below(start: Path) -> Iterator[StudyFolder]:
    """Iterate over the folders of studies in a folder and those in it; hidden ones are passed over, and so are run folders."""
    folders = [(os.path.abspath(start), 0)]  # noqa: PTH100  # links stay as they are
    seen: set[tuple[int, int]] = set()
    while folders:
        path, depth = folders.pop()
        try:
            at = identity(os.stat(path))  # noqa: PTH116  # a Path takes longer
            if at in seen:  # a link has led back
                continue
            seen.add(at)
            with os.scandir(path) as found:
                entries = [*found]
        except OSError:
            continue
        if len(_SIGNS.intersection(entry.name for entry in entries)) > 1:
            if not is_copy(study := StudyFolder(root=Path(path))):
                yield study
        elif depth < _DEEPEST:
            visible = (one for one in entries if not one.name.startswith(".") and one.name not in _NO_STUDIES)
            folders += [(entry.path, depth + 1) for entry in visible if entry.is_dir()]


def listed(folder: StudyFolder) -> Listed:
    """Read a study's folder; damage is an attribute of the answer."""
    runner, used, aside = any_holder(folder), usage(folder.root), original_of(folder.root)
    doing = str((runner or {}).get("doing", ""))
    runner = None if doing else runner
    if runner is not None and isinstance(slots := recorded(folder).get("slots"), list):
        runner["slots"] = len(slots)
    try:
        with damage_reported(folder):
            found = stored(folder, running=runner is not None)
            study, trials = found.study, found.trials
            state = StudyState.RUNNING if runner is not None else _state(found)
            if runner is None and aside is not None and aside.is_dir():
                state = StudyState.MOVED_ASIDE
            spare = spare_files(study, folder, trials, used) if runner is None else []
            ranking = rank(trials, study)
            return Listed(
                folder=folder,
                state=state,
                study=study,
                counts=TrialCounts(trials).counts(study.total),
                dropped=sum(trial.dropped for trial in trials),
                best=ranking.best,
                front=len(ranking.front),
                started=min(filter(None, map(_started, trials)), default=None),
                changed=max(map(_changed, trials), default="") or _modified(folder),
                doing=doing,
                runner=runner,
                ended=found.ended,
                note=found.note,
                size=used.total,
                spare=used.total if state is StudyState.MOVED_ASIDE else sum(one.size for one in spare),
            )
    except SweepError as error:
        state, changed = StudyState.DAMAGED, _modified(folder)
        return Listed(folder=folder, state=state, error=error, changed=changed, runner=runner, size=used.total)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a study's folder stores, as far as it is needed to list, clean and await it; the attributes are those of `Listed`."""

    study: StudySpec
    trials: list[TrialRecord]
    ended: dict[str, Any] | None
    note: str


def stored(folder: StudyFolder, *, running: bool = False) -> Stored:
    """Read what a study's folder stores.

    Args:
        folder: the study's.
        running: a session runs it; else trials that have not ended wait.

    Raises:
        SweepError: the database, the study file or the remarks cannot be read.
    """
    records: list[TrialRecord] = []
    ended = outlined = None
    with damage_reported(folder):
        folder.check_files()
        with reading(folder) as database:
            if database is None:
                check_whole(folder)
            else:
                records = latest(records_in(database, folder))
                outlined, ended = note_in(database, OUTLINE), note_in(database, ENDED)
        remarks = read_remarks(folder)
        study = study_in(outlined, read_own(folder.study_file)) or _stored_study(folder)
        if not running:
            records = [one if one.state.finished else replace(one, state=TrialState.WAITING) for one in records]
        ended = {"at": str(ended["at"]), "exit_code": int(ended["exit_code"]), "by": str(ended["by"])} if ended else None
        return Stored(study=study, trials=trials_of(remarks.of(records), study), ended=ended, note=remarks.study)


def _stored_study(folder: StudyFolder) -> StudySpec:
    from sweep.storage.stored_study import stored_study  # takes as long as a hundred studies

    return stored_study(folder)


def _state(found: Stored) -> StudyState:
    """Return the state of a study that nothing runs."""
    ended = found.ended
    if ended is None:  # killed, or of an older version
        left = TrialCounts(found.trials).counts(found.study.total)["waiting"]
        return StudyState.FINISHED if found.trials and not left else StudyState.STOPPED
    if ended["exit_code"] == EXIT_TOO_MANY_FAILURES:
        return StudyState.FAILED
    return StudyState.FINISHED if ended["exit_code"] in (EXIT_OK, EXIT_SOME_FAILED) else StudyState.STOPPED


def _started(trial: TrialRecord) -> str | None:
    return trial.spans[0].started if trial.spans else trial.started


def _changed(trial: TrialRecord) -> str:
    """Return when something was last stored of a trial, whose last span ends a moment before it."""
    return max(trial.spans[-1].ended if trial.spans else "", trial.ended or "", trial.started or "")


def _modified(folder: StudyFolder) -> str:
    try:
        seconds = folder.root.stat().st_mtime
    except OSError:
        seconds = 0.0
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
