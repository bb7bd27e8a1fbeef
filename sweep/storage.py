"""What lasts of a study: Optuna's SQLite database, the readable files beside it, and the lock of the one runner.

Only the runner writes, so nothing is ever locked, doubled or left over by a dead worker. Every trial is in the database
from its start (state RUNNING, so that it is found when resuming) with its whole record as a user attribute; Optuna's own
fields (parameters, intermediate values, value, state) are filled too, so the file opens in Optuna's tools as it is.

Measured (tests/benchmarks/orchestration.py): with write-ahead logging and synchronous=NORMAL one trial with five
reports costs about half of SQLite's defaults. After a power cut SQLite may lose the last moments' commits, never the
file; the trials concerned are run again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.layout import StudyFolder
from sweep.records import TrialRecord
from sweep.space import distributions
from sweep.study import StudySpec
from sweep.trial import TrialState

if TYPE_CHECKING:
    from optuna.study import StudyDirection

_RECORD = "sweep"


class StudyStore:
    """The database of one study.

    Args:
        folder: where it lives.
        study: its name and its metric's goal are the database's.
        create: make the database if there is none.

    Raises:
        SweepError: the database cannot be opened.
    """

    def __init__(self, folder: StudyFolder, study: StudySpec, *, create: bool) -> None:
        import optuna
        from sqlalchemy import event
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder
        self._distributions = distributions(study.parameters)
        if not create and not folder.database.exists():
            raise SweepError("no-study", f"there is no study in {folder.root}", do=f"sweep run {study.name}.yaml starts one")
        try:
            self._storage = optuna.storages.RDBStorage(f"sqlite:///{folder.database}")
            event.listen(self._storage.engine, "connect", _tune)
            self._storage.engine.dispose()  # the connection that made the tables was not tuned
            if create:
                optuna.create_study(
                    storage=self._storage, study_name=study.name, direction=_direction(study), load_if_exists=True
                )
            self._study_id = self._storage.get_study_id_from_name(study.name)
        except (SQLAlchemyError, RuntimeError, KeyError) as error:
            raise SweepError(
                "database-not-readable",
                f"{folder.database} cannot be opened: {type(error).__name__}",
                why=str(error).splitlines()[0],
                do="another disk or folder:  sweep run STUDY output=/path/with/space",
                exit_code=EXIT_LOCKED,
            ) from None
        self._trial_ids: dict[int, int] = {}

    def records(self) -> list[TrialRecord]:
        """Return every trial that was ever started, by number; the last entry counts where one was reopened."""
        found: dict[int, TrialRecord] = {}
        for frozen in self._storage.get_all_trials(self._study_id, deepcopy=False):
            if _RECORD in frozen.user_attrs:
                record = TrialRecord.from_json(frozen.user_attrs[_RECORD])
                self._trial_ids[record.number] = frozen._trial_id
                found[record.number] = record
        return [found[number] for number in sorted(found)]

    def start(self, record: TrialRecord) -> None:
        """Note a trial that is about to run, the first time or again."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        if record.number in self._trial_ids:
            self._note(record)
        else:
            frozen = create_trial(
                state=OptunaState.RUNNING,
                params={name: record.params[name] for name in self._distributions},
                distributions=self._distributions,
                user_attrs={_RECORD: record.to_json()},
            )
            self._trial_ids[record.number] = self._storage.create_new_trial(self._study_id, frozen)
        write_json(self._folder.trial_file(record.folder), record.to_json())

    def reopen(self, record: TrialRecord) -> TrialRecord:
        """Return a finished trial as one that waits. Optuna changes no finished trial: starting it makes a second entry."""
        del self._trial_ids[record.number]
        return replace(record, state=TrialState.WAITING, error=None)

    def report(self, record: TrialRecord) -> None:
        """Note a trial's report."""
        if record.step is not None and record.value is not None:
            self._storage.set_trial_intermediate_value(self._trial_ids[record.number], record.step, record.value)
        write_json(self._folder.trial_file(record.folder), record.to_json())

    def finish(self, record: TrialRecord) -> None:
        """Note how a trial ended; the state comes last, so that a trial with a finished state is whole."""
        from optuna.trial import TrialState as OptunaState

        state = {
            TrialState.COMPLETE: OptunaState.COMPLETE,
            TrialState.PRUNED: OptunaState.PRUNED,
            TrialState.FAILED: OptunaState.FAIL,
        }[record.state]
        self._note(record)
        values = [record.value] if record.value is not None and state is not OptunaState.FAIL else None
        self._storage.set_trial_state_values(self._trial_ids[record.number], state, values)
        write_json(self._folder.trial_file(record.folder), record.to_json())

    def close(self) -> None:
        """Close the database; its write-ahead log is merged into it."""
        self._storage.engine.dispose()

    def _note(self, record: TrialRecord) -> None:
        self._storage.set_trial_user_attr(self._trial_ids[record.number], _RECORD, record.to_json())


def read_live(folder: StudyFolder, record: TrialRecord) -> TrialRecord:
    """Return a running trial's record as of its last report, which `trial.json` holds."""
    try:
        data = json.loads(folder.trial_file(record.folder).read_text(encoding="utf-8"))
        return TrialRecord.from_json(data)
    except (OSError, ValueError, KeyError, TypeError):
        return record  # not written yet, or by another version: the database has all but the progress


def write_json(path: Path, data: Any) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


@contextlib.contextmanager
def locked(folder: StudyFolder) -> Iterator[None]:
    """Hold the study's lock; the kernel lets it go when this process ends, however it ends.

    Raises:
        SweepError: another runner holds it, or the folder cannot be written.
    """
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        file = folder.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise SweepError(
            "output-not-writable",
            f"cannot write to {folder.root}: {error.strerror}",
            do="choose another folder:  sweep run STUDY output=/path",
        ) from None
    with file:
        if not _take(file.fileno()):
            holder = lock_holder(folder) or {}
            raise SweepError(
                "study-locked",
                f"{folder.root} is being run by another process",
                where=f"host {holder.get('host', '?')}, process {holder.get('pid', '?')}, since {holder.get('since', '?')}",
                do=f"sweep status {folder.root}   shows how far it is",
                exit_code=EXIT_LOCKED,
            ) from None
        file.truncate(0)
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        file.write(json.dumps(holder) + "\n")
        file.flush()
        yield


def _take(descriptor: int) -> bool:
    # A few tries: somebody who only looks whether the lock is held (`lock_holder`) holds it for a moment.
    for attempt in range(4):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            time.sleep(0.02 * attempt)
    return False


def lock_holder(folder: StudyFolder) -> dict[str, Any] | None:
    """Return who runs the study now (`host`, `pid`, `since`), or None."""
    try:
        with folder.lock.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except OSError:
                text = file.read()
    except OSError:
        return None
    try:
        holder: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return holder


def set_aside(folder: StudyFolder) -> Path | None:
    """Move a study's folder out of the way under a name with the time; nothing is deleted. None when there is none."""
    if not folder.root.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = folder.root.with_name(f"{folder.root.name}.{stamp}")
    count = 1
    while aside.exists():
        count += 1
        aside = folder.root.with_name(f"{folder.root.name}.{stamp}-{count}")
    folder.root.rename(aside)
    return aside


def now() -> str:
    """Return the time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _direction(study: StudySpec) -> StudyDirection:
    from optuna.study import StudyDirection

    return StudyDirection[study.metric.goal.upper()]


def _tune(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
