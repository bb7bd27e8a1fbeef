"""A study's database, open for the one session that writes to it: Optuna's SQLite tables, with this program's records.

Every trial is in the database from its start (state RUNNING, so that a resumed study finds it). The record of its first run
is the user attribute `sweep`, the records of its further repeats are `sweep:1` and so on. Optuna's own fields (parameters,
value, state, the first run's intermediate values) are filled too, so Optuna's tools can open the file as it is. The study's
user attribute `sweep:time` is the time breakdown of all sessions, its system attributes are the sampler's state
(`sweep:sampler`) and what `note` stores.

Optuna creates the tables; rows are written and read here in SQL, one transaction for each event. A trial with five reports
takes about 1 ms, through Optuna's storage object 18 ms (`tests/benchmarks/orchestration.py`). The tables have had the same
form (schema version 12) since Optuna 3.2; another version is refused before anything is written, and a test reads everything
back through Optuna. With write-ahead logging and synchronous=NORMAL, SQLite can lose the last commits in a power cut, never
the file; the trials concerned run again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from sweep.storage.database import (
    RECORD,
    TIME,
    damage_reported,
    has_trials,
    latest,
    read_curves,
    read_time,
    records_in,
    suggested_in,
)
from sweep.storage.files import write_json
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_database import create_database
from sweep.storage.optuna_terms import OPTUNA_STATES, RUNG, Attributes, Drawn, StoredSearch, category, distributions, result_told
from sweep.storage.remarks import read_remarks
from sweep.storage.transactions import Transactions
from sweep.study.record import TrialRecord
from sweep.study.space import assignment
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import TrialState

_SAMPLER = "sweep:sampler"
_INTERMEDIATE = (
    "INSERT OR REPLACE INTO trial_intermediate_values"
    " (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?)"
)
_PARAM = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)"


class StudyStore:
    """The database of one study, open for writing.

    Args:
        folder: the study's; the database is created if there is none.
        study: its name, the goals of its metrics, and its parameters.
        check: raises if the folder is no longer this session's; called now and then, and before the last write.
        notice: called with a line of text when there is something to wait for.

    All methods that write can be repeated: after a second call, or in a database that another session has written to, nothing is
    doubled. They raise SweepError if the folder or the database is no longer this session's, or is locked for too long.

    Raises:
        SweepError: the database cannot be opened, or is of another version.
    """

    def __init__(
        self,
        folder: StudyFolder,
        study: StudySpec,
        check: Callable[[], None] = lambda: None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        from optuna.distributions import distribution_to_json

        self._folder, self._study = folder, study
        self._distributions = {name: (d, distribution_to_json(d)) for name, d in distributions(study.parameters).items()}
        if not folder.database.exists():
            create_database(folder, study)
        self._transactions = Transactions(folder, check, notice)
        self._db = self._transactions.db
        with damage_reported(folder):
            self._study_id = int(self._db.execute("SELECT study_id FROM studies ORDER BY study_id").fetchone()[0])
        self._rows = self._count_rows()
        self._trial_ids: dict[int, int] = {}  # Optuna's id of a trial; the last one if the trial was reopened
        self._numbers: dict[int, int] = {}
        self._reopened: dict[int, int | None] = {}  # their ids before
        self._time_before = read_time(folder) or TimeBreakdown()
        self._has_rungs = study.pruner.get("type") in ("asha", "hyperband", "patient")

    def records(self) -> list[TrialRecord]:
        """Return the record of every run that was ever started, by number and repeat; the last one of a reopened run."""
        found = records_in(self._db, self._folder)
        self._trial_ids = {record.number: trial_id for trial_id, record in found}
        self._numbers = {trial_id: record.number for trial_id, record in found}
        return read_remarks(self._folder).of(latest(found))

    def search(self) -> StoredSearch:
        """Return what sampler and pruner need to continue; `records` is called first."""
        query = "SELECT value_json FROM study_system_attributes WHERE study_id = ? AND key = ?"
        # In the order in which they were written: in another one the last digits of a sampler's sums differ.
        rows = "SELECT trial_id, key, value_json FROM trial_system_attributes ORDER BY trial_system_attribute_id"
        attributes: dict[int, Attributes] = {}
        with damage_reported(self._folder):
            found = self._db.execute(query, (self._study_id, _SAMPLER)).fetchone()
            for trial_id, key, value in self._db.execute(rows):
                if trial_id in self._numbers:
                    attributes.setdefault(self._numbers[trial_id], {})[key] = json.loads(value)
            state = json.loads(found[0]) if found else None
            params = suggested_in(self._db, self._numbers) if self._study.suggests else {}
        return StoredSearch(state=state, attributes=attributes, curves=read_curves(self._folder), params=params)

    def start(self, record: TrialRecord, drawn: Drawn | None = None) -> None:
        """Store a run that is about to start, for the first time or again.

        Args:
            record: the run's.
            drawn: of a new trial, what was drawn for it.
        """
        with self._transactions.begun():
            if self._transactions.changed_elsewhere():
                self._rows = self._count_rows()
            trial_id = self._trial_ids.get(record.number)
            if trial_id is None:
                trial_id = self._trial_ids[record.number] = self._insert(record)
                if drawn is not None:
                    self._set_drawn(trial_id, drawn)
            self._set_record(trial_id, record)
            self._db.execute("UPDATE trials SET state = 'RUNNING' WHERE trial_id = ?", (trial_id,))
            self._set_curve(trial_id, record, ())
            self._db.execute("DELETE FROM trial_values WHERE trial_id = ?", (trial_id,))
        self._write_trial_file(record)

    def suggest(self, record: TrialRecord, drawn: Drawn) -> None:
        """Store a parameter that the function of a run has asked for, with what the sampler needs to go on."""
        trial_id, param = self._trial_ids[record.number], drawn.param
        assert param is not None
        with self._transactions.begun():
            self._set_record(trial_id, record)
            self._set_drawn(trial_id, drawn)
            query = f"{_PARAM} ON CONFLICT (trial_id, param_name) DO NOTHING"
            self._db.execute(query, (trial_id, param.name, param.internal, param.distribution))

    def interrupt(self, records: Iterable[TrialRecord]) -> None:
        """Store that runs were interrupted; their records have the state WAITING."""
        for record in records:
            trial_id = self._trial_ids[record.number]
            with self._transactions.begun():
                self._set_record(trial_id, record)
                self._db.execute("UPDATE trials SET state = 'WAITING' WHERE trial_id = ?", (trial_id,))
            self._write_trial_file(record)

    def reopen(self, record: TrialRecord) -> TrialRecord:
        """Return a finished run as one that waits, with the constants that the study has now.

        Optuna's trial stays finished: `start` inserts a second one.
        """
        self._reopened[record.number] = self._trial_ids.pop(record.number, None)
        params = assignment(self._study.parameters, lambda name, _: record.params[name])
        params = dict(record.params) if self._study.suggests else params
        return replace(record, state=TrialState.WAITING, error=None, params=params)

    def resume(self, record: TrialRecord, history: Iterable[tuple[int, float | None]]) -> None:
        """Store that a run continues from a checkpoint; step and objective value of its reports replace the stored ones."""
        trial_id = self._trial_ids[record.number]
        with self._transactions.begun():
            self._set_record(trial_id, record)
            self._set_curve(trial_id, record, history)

    def report(self, record: TrialRecord, rungs: Attributes | None = None) -> None:
        """Store a run's report, and the rungs that the pruner recorded for the trial."""
        trial_id = self._trial_ids[record.number]
        with self._transactions.begun():
            self._set_record(trial_id, record)
            self._set_rungs(trial_id, rungs)
            if record.step is not None and record.value is not None and record.repeat == 0:
                self._db.execute(_INTERMEDIATE, (trial_id, record.step, *_stored(record.value)))

    def finish(
        self, record: TrialRecord, trial: TrialRecord | None = None, rungs: Attributes | None = None, *, sync: bool = False
    ) -> None:
        """Store how a run ended, and how its trial ended if that was its last run, in one transaction.

        Args:
            record: the run's last record.
            trial: the trial's record; default: the run is the whole trial.
            rungs: what the pruner recorded for the trial.
            sync: return only when it is on the disk.
        """
        trial_id, trial = self._trial_ids[record.number], trial or record
        values, constraints = result_told(self._study, trial.state, trial.value, trial.metrics)
        self._db.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
        with self._transactions.begun():
            self._set_record(trial_id, record)
            self._set_rungs(trial_id, rungs)
            self._db.executemany(
                "INSERT OR REPLACE INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)",
                [(trial_id, objective, *_stored(value)) for objective, value in enumerate(values or ())],
            )
            self._set("trial_system_attributes", trial_id, constraints)
            if trial.state.finished:
                self._db.execute(
                    "UPDATE trials SET state = ?, datetime_complete = ? WHERE trial_id = ?",
                    (OPTUNA_STATES[trial.state], _now(), trial_id),
                )
        self._write_trial_file(record)

    def note_time(self, session: TimeBreakdown) -> None:
        """Store the time breakdown of this session until now, added to that of all earlier ones."""
        with self._transactions.begun(last=True):
            self._set("study_user_attributes", self._study_id, {TIME: (self._time_before + session).to_json()})

    def note(self, notes: Attributes) -> None:
        """Store what there is to know of the study as a whole, by the keys of `note_in`."""
        with self._transactions.begun():
            self._set("study_system_attributes", self._study_id, notes)

    def close(self) -> None:
        """Close the database and leave one plain file, unless another process is reading it at this moment."""
        self._transactions.close()

    def _count_rows(self) -> int:
        """Count Optuna's trials: once, since with many it takes long."""
        count = "SELECT count(*) FROM trials WHERE study_id = ?"
        return int(self._db.execute(count, (self._study_id,)).fetchone()[0])

    def _insert(self, record: TrialRecord) -> int:
        row = self._db.execute(
            "INSERT INTO trials (number, study_id, state, datetime_start) VALUES (?, ?, 'RUNNING', ?)",
            (self._rows, self._study_id, _now()),
        )
        trial_id = row.lastrowid
        assert trial_id is not None
        self._rows += 1
        for name, (distribution, text) in self._distributions.items():
            if name in record.params:
                self._db.execute(_PARAM, (trial_id, name, distribution.to_internal_repr(category(record.params[name])), text))
        if self._study.suggests and (before := self._reopened.get(record.number)) is not None:
            old = "SELECT param_name, param_value, distribution_json FROM trial_params WHERE trial_id = ? ORDER BY param_id"
            self._db.executemany(_PARAM, [(trial_id, *row) for row in self._db.execute(old, (before,)).fetchall()])
        return trial_id

    def _set_drawn(self, trial_id: int, drawn: Drawn) -> None:
        self._set("trial_system_attributes", trial_id, drawn.attributes)
        self._set("study_system_attributes", self._study_id, {_SAMPLER: drawn.state})

    def _set(self, table: str, owner: int, attributes: Attributes) -> None:
        """Set attributes of a trial or of the study, in one of Optuna's four tables of attributes."""
        column = f"{table.partition('_')[0]}_id"
        self._db.executemany(
            f"INSERT INTO {table} ({column}, key, value_json) VALUES (?, ?, ?)"  # noqa: S608  # names from this file only
            f" ON CONFLICT ({column}, key) DO UPDATE SET value_json = excluded.value_json",
            [(owner, key, json.dumps(value)) for key, value in attributes.items()],
        )

    def _set_record(self, trial_id: int, record: TrialRecord) -> None:
        key = f"{RECORD}:{record.repeat}" if record.repeat else RECORD
        own = {name: value for name, value in record.user_attrs.items() if name.partition(":")[0] != RECORD}
        self._set("trial_user_attributes", trial_id, own | {key: record.to_json()})

    def _set_rungs(self, trial_id: int, rungs: Attributes | None) -> None:
        if rungs is not None and self._has_rungs:
            query = "DELETE FROM trial_system_attributes WHERE trial_id = ? AND key LIKE ?"
            self._db.execute(query, (trial_id, f"{RUNG}%"))
            self._set("trial_system_attributes", trial_id, rungs)

    def _set_curve(self, trial_id: int, record: TrialRecord, history: Iterable[tuple[int, float | None]]) -> None:
        if record.repeat == 0:  # Optuna's trial has one curve
            self._db.execute("DELETE FROM trial_intermediate_values WHERE trial_id = ?", (trial_id,))
            self._db.executemany(
                _INTERMEDIATE, [(trial_id, step, *_stored(value)) for step, value in history if value is not None]
            )

    def _write_trial_file(self, record: TrialRecord) -> None:
        write_json(self._folder.trial_file(record.folder), record.to_json())


def remove_if_empty(folder: StudyFolder) -> None:
    """Remove a database without trials: the study file may have changed since it was created."""
    if folder.database.exists() and not has_trials(folder):
        for suffix in ("-wal", "-shm", ""):
            folder.database.with_name(folder.database.name + suffix).unlink(missing_ok=True)


def _stored(value: float) -> tuple[float | None, str]:
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def _now() -> str:
    return datetime.now().isoformat(sep=" ", timespec="microseconds")  # local and naive, as Optuna's own
