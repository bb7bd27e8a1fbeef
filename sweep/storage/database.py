"""Read a study's database: the record of every run, the curve of every trial, and the time breakdown.

`sweep.storage.store` writes it, and describes what is stored where.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweep.errors import one_line
from sweep.storage.checked import record_in
from sweep.storage.folder import StudyFolder
from sweep.storage.messages import explained, unreadable
from sweep.storage.optuna_terms import SuggestedParam
from sweep.storage.regular import check_regular, keep_one_name
from sweep.storage.remarks import read_remarks
from sweep.study.record import TrialRecord
from sweep.study.timing import TimeBreakdown

RECORD = "sweep"
TIME = "sweep:time"
CODES = "sweep:code"
OUTLINE = "sweep:study"  # `sweep.storage.outline`
ENDED = "sweep:ended"  # how the last session ended; None while one runs, and after one that was killed
_SCHEMA_VERSION = 12

Curves = dict[int, list[tuple[int, float]]]


def has_trials(folder: StudyFolder) -> bool:
    """Return whether any trial was ever started.

    Raises:
        SweepError: as `read_records`.
    """
    query = "SELECT 1 FROM trial_user_attributes WHERE key = ?"
    with reading(folder) as database, damage_reported(folder):
        return database is not None and database.execute(query, (RECORD,)).fetchone() is not None


def read_records(folder: StudyFolder, numbers: Collection[int] | None = None) -> list[TrialRecord]:
    """Return the record of every run that was ever started, by number and repeat, with what the user has said of its trial.

    Args:
        folder: the study's.
        numbers: of these trials only; default: of all.

    Raises:
        SweepError: the database or the remarks cannot be opened, are damaged, or of another version.
    """
    with reading(folder) as database:
        found = [] if database is None else latest(records_in(database, folder, numbers))
    return read_remarks(folder).of(found)


def read_running(folder: StudyFolder) -> list[TrialRecord]:
    """Return the records of those runs that a session runs now, or did when it was killed; fast among many.

    Raises:
        SweepError: as `read_records`.
    """
    with reading(folder) as database:
        return [] if database is None else latest(records_in(database, folder, running=True))


def read_states(folder: StudyFolder) -> dict[int, str]:
    """Return the state of each trial that was ever started, by number; of one with several runs, that of the first.

    Raises:
        SweepError: as `read_records`.
    """
    fields = "json_extract(value_json, '$.number'), json_extract(value_json, '$.state')"
    query = f"SELECT {fields} FROM trial_user_attributes WHERE key = ? ORDER BY trial_id"  # noqa: S608  # texts from here
    with reading(folder) as database, damage_reported(folder):
        rows = database.execute(query, (RECORD,)) if database is not None else ()
        return dict(sorted((int(number), str(state)) for number, state in rows))


def read_curves(folder: StudyFolder, numbers: Collection[int] | None = None) -> Curves:
    """Return step and objective value of every report, by trial; trials without a report are left out.

    Args:
        folder: the study's.
        numbers: of these trials only; default: of all.

    Raises:
        SweepError: as `read_records`.
    """
    query = (
        "SELECT json_extract(value_json, '$.number'), max(trial_id) FROM trial_user_attributes WHERE key = ?"
        " GROUP BY json_extract(value_json, '$.number')"
    )
    points = "SELECT step, intermediate_value FROM trial_intermediate_values WHERE trial_id = ? ORDER BY step"
    curves: Curves = {}
    with reading(folder) as database, damage_reported(folder):
        trial_ids: dict[int, int] = dict(database.execute(query, (RECORD,))) if database is not None else {}
        for number in sorted(trial_ids if numbers is None else trial_ids.keys() & set(numbers)):
            assert database is not None
            rows = database.execute(points, (trial_ids[number],))
            if found := [(step, float(value)) for step, value in rows if value is not None]:
                curves[number] = found
    return curves


def read_time(folder: StudyFolder) -> TimeBreakdown | None:
    """Return the time breakdown of all sessions until now; None if none was measured.

    Raises:
        SweepError: as `read_records`.
    """
    query = "SELECT value_json FROM study_user_attributes WHERE key = ?"
    with reading(folder) as database, damage_reported(folder):
        found = database.execute(query, (TIME,)).fetchone() if database is not None else None
        return TimeBreakdown.from_json(json.loads(found[0])) if found else None


def read_codes(folder: StudyFolder) -> dict[str, Any]:
    """Return what is stored of each code that has trained trials, by its digest.

    Raises:
        SweepError: as `read_records`.
    """
    with reading(folder) as database, damage_reported(folder):
        return dict(note_in(database, CODES) or {}) if database is not None else {}


def read_distributions(folder: StudyFolder) -> list[tuple[str, str]]:
    """Return name and distribution, as Optuna's JSON, of every parameter that trials have had, in the order of their first use.

    Raises:
        SweepError: as `read_records`.
    """
    query = "SELECT param_name, distribution_json FROM trial_params GROUP BY 1, 2 ORDER BY min(param_id)"
    with reading(folder) as database, damage_reported(folder):
        return [] if database is None else database.execute(query).fetchall()


def note_in(database: sqlite3.Connection, key: str) -> Any:
    """Return what an open database has of the study as a whole under a key, None if nothing."""
    found = database.execute("SELECT value_json FROM study_system_attributes WHERE key = ?", (key,)).fetchone()
    return json.loads(found[0]) if found else None


@contextlib.contextmanager
def reading(folder: StudyFolder) -> Iterator[sqlite3.Connection | None]:
    """Open the database read-only; give None if no trial was ever started."""
    if not os.path.lexists(folder.database):
        yield None
        return
    try:
        found = opened(folder, read_only=True)
    except (sqlite3.Error, OSError) as error:
        raise explained(error, folder) from None
    with contextlib.closing(found) as database:
        yield database


def opened(folder: StudyFolder, *, read_only: bool, timeout_s: float = 10.0) -> sqlite3.Connection:
    """Open a study's database; the errors of SQLite and of the system come as they are.

    Args:
        folder: the study's.
        read_only: whether nothing will be written.
        timeout_s: how long to wait for another process that has locked it.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        path = f"{folder.database}{suffix}"
        found = check_regular(path)
        if found is not None and found.st_nlink > 1 and not (read_only and suffix != "-shm"):  # SQLite writes it in place
            keep_one_name(Path(path))
    mode = "ro" if read_only else "rw"
    database = sqlite3.connect(f"{folder.database.as_uri()}?mode={mode}", uri=True, timeout=timeout_s)
    try:
        found_version = database.execute("SELECT schema_version FROM version_info").fetchone()
        if found_version != (_SCHEMA_VERSION,):
            version = one_line(str(found_version and found_version[0]))[:100]
            why = f"its tables have Optuna's schema version {version}, this version knows {_SCHEMA_VERSION}"
            raise unreadable(folder, why)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def damage_reported(folder: StudyFolder) -> Iterator[None]:
    """Turn whatever damaged tables or values raise into a SweepError."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise explained(error, folder) from None
    except (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise unreadable(folder, f"it is damaged: {one_line(str(error))[:300]}") from None


def records_in(
    database: sqlite3.Connection, folder: StudyFolder, numbers: Collection[int] | None = None, *, running: bool = False
) -> list[tuple[int, TrialRecord]]:
    """Return the record of every run in an open database, each with the id of its Optuna trial, the oldest first.

    Args:
        database: it is open.
        folder: the study's.
        numbers: of these trials only; default: of all.
        running: only of those that run.
    """
    query = "SELECT trial_id, value_json FROM trial_user_attributes WHERE (key = ? OR key LIKE ?)"
    if numbers is not None:
        query += f" AND json_extract(value_json, '$.number') IN ({','.join(map(str, map(int, numbers)))})"
    if running:
        query += " AND trial_id IN (SELECT trial_id FROM trials WHERE state = 'RUNNING')"
        query += " AND json_extract(value_json, '$.state') = 'running'"
    with damage_reported(folder):
        rows = database.execute(f"{query} ORDER BY trial_id", (RECORD, f"{RECORD}:%"))
        found = [(trial_id, record_in(text)) for trial_id, text in rows]
        for _, record in found:
            folder.check_run_folder(record.folder)
        return found


def suggested_in(database: sqlite3.Connection, numbers: Mapping[int, int]) -> dict[int, list[SuggestedParam]]:
    """Return the parameters of each trial by its number, in the order in which they were drawn.

    Args:
        database: it is open.
        numbers: the trials' numbers, by the ids of Optuna's trials.
    """
    found: dict[int, list[SuggestedParam]] = {}
    rows = database.execute("SELECT trial_id, param_name, param_value, distribution_json FROM trial_params ORDER BY param_id")
    for trial_id, *row in rows:
        if trial_id in numbers:
            param = SuggestedParam(name=row[0], internal=row[1], distribution=row[2])
            found.setdefault(numbers[trial_id], []).append(param)
    return found


def latest(found: list[tuple[int, TrialRecord]]) -> list[TrialRecord]:
    """Return the last record of each run, by number and repeat: a run that was reopened has several."""
    last = {record.key: record for _, record in found}
    return [last[key] for key in sorted(last)]
