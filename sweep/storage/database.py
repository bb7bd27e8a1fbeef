"""A study's database, for everybody who only looks: opened read-only, every run's record and every trial's curve.

What the time went to is there as well. `sweep.storage.store` writes it, and says what stands where.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator

from sweep.errors import ANOTHER_STUDY, EXIT_LOCKED, SweepError
from sweep.storage.folder import StudyFolder
from sweep.study.record import TrialRecord
from sweep.study.timing import TimeBreakdown

RECORD = "sweep"
TIME = "sweep:time"
_SCHEMA_VERSION = 12


def has_trials(folder: StudyFolder) -> bool:
    """Tell whether any trial was ever started.

    Raises:
        SweepError: as `read_records`.
    """
    with _opened_to_look(folder) as database:
        try:
            query = "SELECT 1 FROM trial_user_attributes WHERE key = ?"
            return database is not None and database.execute(query, (RECORD,)).fetchone() is not None
        except sqlite3.Error as error:
            raise unreadable(folder, f"it is damaged: {error}") from None


def read_records(folder: StudyFolder) -> list[TrialRecord]:
    """Return every run that was ever started, by number and repeat, for somebody who only looks; nothing when none was.

    Raises:
        SweepError: the database cannot be opened, or is of another version.
    """
    with _opened_to_look(folder) as database:
        return [] if database is None else latest(records_in(database, folder))


def read_curves(folder: StudyFolder, numbers: Collection[int] | None = None) -> dict[int, list[tuple[int, float]]]:
    """Return step and objective of every report, by trial; nothing when none ran.

    Args:
        folder: the study's.
        numbers: of these trials only; default: of all.

    Raises:
        SweepError: as `read_records`.
    """
    with _opened_to_look(folder) as database:
        return {} if database is None else curves_in(database, folder, numbers)


def read_time(folder: StudyFolder) -> TimeBreakdown | None:
    """Return what the time of all runs went to until now; None of a study that nobody measured.

    Raises:
        SweepError: as `read_records`.
    """
    with _opened_to_look(folder) as database:
        return None if database is None else time_in(database, folder)


@contextlib.contextmanager
def _opened_to_look(folder: StudyFolder) -> Iterator[sqlite3.Connection | None]:
    """Give the database to a reader, None where no trial was ever started."""
    if not folder.database.exists():
        yield None
        return
    with contextlib.closing(connect(folder, read_only=True)) as database:
        yield database


def connect(folder: StudyFolder, *, read_only: bool) -> sqlite3.Connection:
    """Open a study's database.

    Raises:
        SweepError: it cannot be opened, or is of another version.
    """
    mode = "ro" if read_only else "rw"
    try:
        database = sqlite3.connect(f"{folder.database.as_uri()}?mode={mode}", uri=True, timeout=10)
        found = database.execute("SELECT schema_version FROM version_info").fetchone()
    except sqlite3.Error as error:
        raise unreadable(folder, str(error)) from None
    if found != (_SCHEMA_VERSION,):
        database.close()
        why = f"its tables have Optuna's form {found and found[0]}, this version knows form {_SCHEMA_VERSION}"
        raise unreadable(folder, why)
    return database


def unreadable(folder: StudyFolder, why: str) -> SweepError:
    """Return the error of a database that is damaged, or of another version."""
    return SweepError(
        "database-not-readable",
        f"{folder.database} cannot be used",
        why=why,
        do=ANOTHER_STUDY,
        exit_code=EXIT_LOCKED,
    )


def records_in(database: sqlite3.Connection, folder: StudyFolder) -> list[tuple[int, TrialRecord]]:
    """Return the records of every run in an open database, each with the entry that it stands in, the oldest entry first."""
    query = "SELECT trial_id, value_json FROM trial_user_attributes WHERE key = ? OR key LIKE ? ORDER BY trial_id"
    try:
        rows = database.execute(query, (RECORD, f"{RECORD}:%"))
        found = [(trial_id, TrialRecord.from_json(json.loads(text))) for trial_id, text in rows]
        for _, record in found:
            folder.check_run_folder(record.folder)
        return found
    except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise unreadable(folder, f"it is damaged: {error}") from None


def curves_in(
    database: sqlite3.Connection, folder: StudyFolder, numbers: Collection[int] | None
) -> dict[int, list[tuple[int, float]]]:
    """Return what `read_curves` does, of an open database."""
    query = (
        "SELECT json_extract(value_json, '$.number'), max(trial_id) FROM trial_user_attributes WHERE key = ?"
        " GROUP BY json_extract(value_json, '$.number')"
    )
    points = "SELECT step, intermediate_value FROM trial_intermediate_values WHERE trial_id = ? ORDER BY step"
    try:
        latest: dict[int, int] = dict(database.execute(query, (RECORD,)))
        curves: dict[int, list[tuple[int, float]]] = {}
        for number in sorted(latest if numbers is None else latest.keys() & set(numbers)):
            found = [(step, float(value)) for step, value in database.execute(points, (latest[number],)) if value is not None]
            if found:
                curves[number] = found
        return curves
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise unreadable(folder, f"it is damaged: {error}") from None


def time_in(database: sqlite3.Connection, folder: StudyFolder) -> TimeBreakdown | None:
    """Return what `read_time` does, of an open database."""
    try:
        found = database.execute("SELECT value_json FROM study_user_attributes WHERE key = ?", (TIME,)).fetchone()
        return TimeBreakdown.from_json(json.loads(found[0])) if found else None
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        raise unreadable(folder, f"it is damaged: {error}") from None


def latest(found: list[tuple[int, TrialRecord]]) -> list[TrialRecord]:
    """Return the last record of each run, by number and repeat: one that was reopened has several."""
    latest = {record.key: record for _, record in found}
    return [latest[key] for key in sorted(latest)]
