"""What lasts of a study: Optuna's SQLite database, written by the one runner and by nobody else.

Every trial is in the database from its start (state RUNNING, so that it is found when resuming), with its whole record as
the user attribute `sweep`, and those of its further runs, if it is repeated, as `sweep:1` and so on. Optuna's own fields
(parameters, value, state, and the first run's intermediate values) are filled too, so the file opens in Optuna's tools as it is.
The study's attribute `sweep:time` is the account of all its runs.

Optuna makes the tables; the rows are written and read here in SQL, one transaction for each event. Through Optuna's
storage object the same rows cost 18 ms a trial with five reports on the machine that `tests/benchmarks/orchestration.py`
was written on, and about 1 ms this way. The tables have kept their form (schema version 12) since Optuna 3.2; another
version is refused before anything is written, and a test reads everything back through Optuna. With write-ahead logging
and synchronous=NORMAL SQLite may lose the last moments' commits in a power cut, never the file; the trials concerned are
run again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sweep.storage.database import RECORD, TIME, connect, curves_in, has_trials, latest, records_in, time_in, unreadable
from sweep.storage.files import write_json
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_terms import (
    OPTUNA_STATES,
    RUNG,
    Attributes,
    Drawn,
    SamplerState,
    constraint_attributes,
    directions,
    distributions,
    values_told,
)
from sweep.study.record import TrialRecord
from sweep.study.space import assignment
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import TrialState

_MEMORY = "sweep:sampler"
_INTERMEDIATE = (
    "INSERT OR REPLACE INTO trial_intermediate_values"
    " (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?)"
)


class StudyStore:
    """The database of one study, open for the runner.

    Args:
        folder: where it lives; the database is made if there is none.
        study: its name, its metrics' goals and its parameters are the database's.

    Raises:
        SweepError: the database cannot be opened, or is of another version.
    """

    def __init__(self, folder: StudyFolder, study: StudySpec) -> None:
        from optuna.distributions import distribution_to_json

        self._folder, self._study = folder, study
        self._distributions = {name: (d, distribution_to_json(d)) for name, d in distributions(study.parameters).items()}
        if not folder.database.exists():
            _create(folder, study)
        self._db = connect(folder, read_only=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._study_id = self._db.execute("SELECT study_id FROM studies ORDER BY study_id").fetchone()[0]
        count = "SELECT count(*) FROM trials WHERE study_id = ?"
        # Kept, since counting anew for each trial takes ever longer.
        self._rows: int = self._db.execute(count, (self._study_id,)).fetchone()[0]
        self._trial_ids: dict[int, int] = {}  # the last entry of each trial
        self._numbers: dict[int, int] = {}
        self._time_before = time_in(self._db, folder) or TimeBreakdown()
        self._has_rungs = study.pruner.get("type") in ("asha", "hyperband", "patient")

    def records(self) -> list[TrialRecord]:
        """Return every run that was ever started, by number and repeat; the last entry counts where one was reopened."""
        found = records_in(self._db, self._folder)
        self._trial_ids = {record.number: trial_id for trial_id, record in found}
        self._numbers = {trial_id: record.number for trial_id, record in found}
        return latest(found)

    def sampler(self) -> tuple[SamplerState | None, dict[int, Attributes]]:
        """Return what is to be remembered of the sampler: its memory, and what it wrote down about each trial, by number."""
        query = "SELECT value_json FROM study_system_attributes WHERE study_id = ? AND key = ?"
        found = self._db.execute(query, (self._study_id, _MEMORY)).fetchone()
        attributes: dict[int, Attributes] = {}
        try:
            # As they were written: in another order a sampler's sums have other last digits.
            rows = "SELECT trial_id, key, value_json FROM trial_system_attributes ORDER BY trial_system_attribute_id"
            for trial_id, key, value in self._db.execute(rows):
                if trial_id in self._numbers:
                    attributes.setdefault(self._numbers[trial_id], {})[key] = json.loads(value)
            return (json.loads(found[0]) if found else None), attributes
        except (ValueError, TypeError) as error:
            raise unreadable(self._folder, f"it is damaged: {error}") from None

    def curves(self) -> dict[int, list[tuple[int, float]]]:
        """Return step and objective of every report, by trial."""
        return curves_in(self._db, self._folder, None)

    def start(self, record: TrialRecord, drawn: Drawn | None = None) -> None:
        """Note a trial that is about to run, the first time or again; with what must survive of the ask for a new one."""
        with self._db:
            trial_id = self._trial_ids.get(record.number)
            if trial_id is None:
                trial_id = self._trial_ids[record.number] = self._insert(record)
                if drawn is not None:
                    self._keep(trial_id, drawn)
            self._note(trial_id, record)
            self._db.execute("UPDATE trials SET state = 'RUNNING' WHERE trial_id = ?", (trial_id,))
            self._set_curve(trial_id, record, ())
        write_json(self._folder.trial_file(record.folder), record.to_json())

    def interrupt(self, records: Iterable[TrialRecord]) -> None:
        """Note that trials do not run any more; their records say that they wait to go on."""
        for record in records:
            trial_id = self._trial_ids[record.number]
            with self._db:
                self._note(trial_id, record)
                self._db.execute("UPDATE trials SET state = 'WAITING' WHERE trial_id = ?", (trial_id,))
            write_json(self._folder.trial_file(record.folder), record.to_json())

    def reopen(self, record: TrialRecord) -> TrialRecord:
        """Return a finished trial as one that waits, with the constants that the study has now.

        A finished entry stays as it is, as in Optuna: starting makes a second.
        """
        self._trial_ids.pop(record.number, None)
        params = assignment(self._study.parameters, lambda name, _: record.params[name])
        return replace(record, state=TrialState.WAITING, error=None, params=params)

    def resume(self, record: TrialRecord, history: Iterable[tuple[int, float | None]]) -> None:
        """Note that a trial goes on from a checkpoint; step and objective of each report until then replace what was known."""
        trial_id = self._trial_ids[record.number]
        with self._db:
            self._note(trial_id, record)
            self._set_curve(trial_id, record, history)

    def report(self, record: TrialRecord, rungs: Attributes | None = None) -> None:
        """Note a trial's report, and what the pruner wrote down about the trial."""
        trial_id = self._trial_ids[record.number]
        with self._db:
            self._note(trial_id, record)
            self._note_rungs(trial_id, rungs)
            if record.step is not None and record.value is not None and record.repeat == 0:
                self._db.execute(_INTERMEDIATE, (trial_id, record.step, *_stored(record.value)))

    def finish(
        self, record: TrialRecord, trial: TrialRecord | None = None, rungs: Attributes | None = None, *, sync: bool = False
    ) -> None:
        """Note how a run ended, and how its trial did if that was the last one, all of it or nothing.

        Args:
            record: the run's last record.
            trial: the trial's record; default: the run is all of it.
            rungs: what the pruner wrote down about it.
            sync: have it on the disk before this returns.
        """
        trial_id, trial = self._trial_ids[record.number], trial or record
        self._db.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
        with self._db:
            self._note(trial_id, record)
            self._note_rungs(trial_id, rungs)
            values = values_told(self._study, trial.state, trial.value, trial.metrics) or ()
            self._db.executemany(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)",
                [(trial_id, objective, *_stored(value)) for objective, value in enumerate(values)],
            )
            self._attribute(trial_id, constraint_attributes(self._study, trial.state, trial.metrics))
            if trial.state.finished:
                self._db.execute(
                    "UPDATE trials SET state = ?, datetime_complete = ? WHERE trial_id = ?",
                    (OPTUNA_STATES[trial.state], _clock(), trial_id),
                )
        write_json(self._folder.trial_file(record.folder), record.to_json())

    def note_time(self, run: TimeBreakdown) -> None:
        """Note what the time of this run went to until now; what all runs before it took is added."""
        with self._db:
            self._db.execute(
                "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (?, ?, ?)"
                " ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json",
                (self._study_id, TIME, json.dumps((self._time_before + run).to_json())),
            )

    def close(self) -> None:
        """Close the database and leave one plain file, unless somebody is reading it at this moment."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA busy_timeout=0")
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def _insert(self, record: TrialRecord) -> int:
        row = self._db.execute(
            "INSERT INTO trials (number, study_id, state, datetime_start) VALUES (?, ?, 'RUNNING', ?)",
            (self._rows, self._study_id, _clock()),
        )
        trial_id = row.lastrowid
        assert trial_id is not None
        self._rows += 1
        self._db.executemany(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
            [
                (trial_id, name, distribution.to_internal_repr(record.params[name]), text)
                for name, (distribution, text) in self._distributions.items()
                if name in record.params
            ],
        )
        return trial_id

    def _keep(self, trial_id: int, drawn: Drawn) -> None:
        self._attribute(trial_id, drawn.attributes)
        self._db.execute(
            "INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (?, ?, ?)"
            " ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json",
            (self._study_id, _MEMORY, json.dumps(drawn.memory)),
        )

    def _attribute(self, trial_id: int, attributes: Attributes) -> None:
        self._db.executemany(
            "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (?, ?, ?)"
            " ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json",
            [(trial_id, key, json.dumps(value)) for key, value in attributes.items()],
        )

    def _note_rungs(self, trial_id: int, rungs: Attributes | None) -> None:
        if rungs is not None and self._has_rungs:
            query = "DELETE FROM trial_system_attributes WHERE trial_id = ? AND key LIKE ?"
            self._db.execute(query, (trial_id, f"{RUNG}%"))
            self._attribute(trial_id, rungs)

    def _set_curve(self, trial_id: int, record: TrialRecord, history: Iterable[tuple[int, float | None]]) -> None:
        if record.repeat == 0:  # Optuna's trial has one curve
            self._db.execute("DELETE FROM trial_intermediate_values WHERE trial_id = ?", (trial_id,))
            self._db.executemany(
                _INTERMEDIATE, [(trial_id, step, *_stored(value)) for step, value in history if value is not None]
            )

    def _note(self, trial_id: int, record: TrialRecord) -> None:
        self._db.execute(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)"
            " ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json",
            (trial_id, f"{RECORD}:{record.repeat}" if record.repeat else RECORD, json.dumps(record.to_json())),
        )


def remove_if_empty(folder: StudyFolder) -> None:
    """Remove a database without trials: it was made for a study file that may have changed since."""
    if folder.database.exists() and not has_trials(folder):
        for suffix in ("-wal", "-shm", ""):
            folder.database.with_name(folder.database.name + suffix).unlink(missing_ok=True)


def _create(folder: StudyFolder, study: StudySpec) -> None:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Under another name until it is whole: somebody may be looking.
    unfinished = folder.database.with_name(f".{folder.database.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished}")
        optuna.create_study(storage=storage, study_name=study.name, directions=directions(study))
        storage.engine.dispose()
        unfinished.rename(folder.database)
    except (SQLAlchemyError, OSError) as error:
        raise unreadable(folder, str(error).splitlines()[0]) from None


def _stored(value: float) -> tuple[float | None, str]:
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def _clock() -> str:
    return datetime.now().isoformat(sep=" ", timespec="microseconds")  # local and naive, as Optuna's own
