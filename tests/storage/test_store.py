"""The store: records are read as they were written, Optuna reads its own tables, the lock has one holder."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.errors import SweepError
from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder, locked
from sweep.storage.store import StudyStore
from sweep.study.record import TrialRecord, run_folder_name
from sweep.study.trial import TrialState
from tests.support.studies import study_spec, trial_record

STUDY = study_spec(
    {
        "lr": {"min": 1e-4, "max": 1.0, "log": True},
        "n": {"min": 1, "max": 9, "step": 2},
        "c": ["a", True, None],
        "k": 3,
    },
    name="kept",
    metric={"name": "loss", "goal": "minimize"},
    method="tpe",
    budget={"trials": 9},
)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(root=tmp_path)


def record(number: int, state: TrialState = TrialState.RUNNING, **changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "params": {"lr": 0.01, "n": 5, "c": True, "k": 3},
        "attempts": 1,
        "started": "2026-01-01T00:00:00+00:00",
    }
    return trial_record(number, state, **(fields | changes))


def test_optuna_reads_what_is_written(folder: StudyFolder) -> None:
    """Parameters, reports, values, states, attributes and numbers, for trials that ended in any way and one that runs."""
    store = StudyStore(folder, STUDY)
    for number in range(4):
        store.start(record(number))
    for step in (1, 2):
        store.report(record(0, step=step, value=1 / step, metrics={"loss": 1 / step}))
    store.finish(record(0, TrialState.COMPLETE, value=0.25, metrics={"loss": 0.25}))
    store.finish(record(1, TrialState.FAILED, error="boom"))
    store.finish(record(2, TrialState.PRUNED, value=0.9))
    study = optuna.load_study(study_name="kept", storage=f"sqlite:///{folder.database}")
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING"]
    first = study.trials[0]
    assert first.params == {"lr": 0.01, "n": 5, "c": True}
    assert [type(value) for value in first.params.values()] == [float, int, bool]
    assert first.distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    assert first.intermediate_values == {1: 1.0, 2: 0.5}
    assert study.best_trial.number == 0
    assert study.best_value == 0.25
    assert first.user_attrs["sweep"]["metrics"] == {"loss": 0.25}
    assert first.duration is not None
    assert first.duration.total_seconds() >= 0
    store.close()


def test_records_come_back_as_they_were(folder: StudyFolder) -> None:
    """In the session, and in another process while it runs."""
    store = StudyStore(folder, STUDY)
    one, two = record(1, TrialState.COMPLETE, value=0.5, duration_s=1.5), record(0, step=3, total=5, metrics={"loss": 2})
    for item in (two, one):
        store.start(item)
    store.report(two)
    store.finish(one)
    assert store.records() == read_records(folder) == [two, one]
    assert json.loads(folder.trial_file("0001").read_text()) == one.to_json()
    store.close()
    assert StudyStore(folder, STUDY).records() == [two, one]


def test_a_trial_that_starts_over_loses_its_old_reports(folder: StudyFolder) -> None:
    """Under the same number, with one entry."""
    store = StudyStore(folder, STUDY)
    store.start(record(0))
    store.report(record(0, step=7, value=1.0))
    store.start(record(0, attempts=2))
    store.report(record(0, step=1, value=2.0, attempts=2))
    study = optuna.load_study(study_name="kept", storage=f"sqlite:///{folder.database}")
    assert [trial.intermediate_values for trial in study.trials] == [{1: 2.0}]


def test_a_reopened_trial_is_a_second_entry_of_the_same_number(folder: StudyFolder) -> None:
    """The failed one stays in Optuna's history, and the last one counts here."""
    store = StudyStore(folder, STUDY)
    store.start(record(0))
    store.finish(record(0, TrialState.FAILED, error="boom"))
    [failed] = store.records()
    store.start(store.reopen(failed))
    store.finish(record(0, TrialState.COMPLETE, value=1.0))
    assert [item.state for item in store.records()] == [TrialState.COMPLETE]
    study = optuna.load_study(study_name="kept", storage=f"sqlite:///{folder.database}")
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize("damage", ["no database", "newer version"])
def test_a_database_that_cannot_be_used_is_an_error(folder: StudyFolder, damage: str) -> None:
    """Nothing is written to it."""
    StudyStore(folder, STUDY).close()
    if damage == "no database":
        folder.database.write_bytes(b"this is no database, whatever its name says" * 100)
    else:
        with sqlite3.connect(folder.database) as database:
            database.execute("UPDATE version_info SET schema_version = 99")
        database.close()
    before = folder.database.read_bytes()
    for use in (lambda: StudyStore(folder, STUDY), lambda: read_records(folder)):
        with pytest.raises(SweepError, match=r"study.db cannot be used") as caught:
            use()
        assert caught.value.exit_code == 4
    assert folder.database.read_bytes() == before


@pytest.mark.parametrize("damage", ["torn", "no record", "leads elsewhere"])
def test_damaged_or_hostile_contents_are_an_error(folder: StudyFolder, damage: str) -> None:
    """Missing pages, a value that is not a record, and a run folder outside the study's."""
    store = StudyStore(folder, STUDY)
    for number in range(50):
        store.start(record(number, error="x" * 500))
    store.close()
    if damage == "torn":
        os.truncate(folder.database, folder.database.stat().st_size // 2)
    else:
        text = "[]" if damage == "no record" else json.dumps(record(3, folder="../../home").to_json())
        with sqlite3.connect(folder.database) as database:
            database.execute("UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = 4", (text,))
        database.close()
    with pytest.raises(SweepError, match=r"study.db cannot be used") as caught:
        read_records(folder)
    assert "damaged" in (caught.value.why or "") or "malformed" in (caught.value.why or "")


def test_unknown_fields_in_a_record_of_a_newer_version_are_ignored() -> None:
    """The results can still be shown."""
    assert TrialRecord.from_json(record(3).to_json() | {"invented_later": 1}) == record(3)


def test_the_lock_has_one_holder_and_names_it(folder: StudyFolder) -> None:
    """It is free again when its holder releases it; `lock_holder` does not take it."""
    assert lock_holder(folder) is None
    with locked(folder):
        holder = lock_holder(folder)
        assert holder is not None
        assert holder["pid"] == os.getpid()
        with pytest.raises(SweepError, match="is being run by another process") as caught, locked(folder):
            pass
        assert caught.value.exit_code == 4
        assert f"process {os.getpid()}" in str(caught.value)
    assert lock_holder(folder) is None
    with locked(folder):
        pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Before anything starts."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match="cannot write to"), locked(StudyFolder(root=tmp_path / "file" / "study")):
        pass


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"lr": 0.01, "n": 32, "s": True}, "0007_lr=0.01_n=32_s=True"),
        ({"lr": 0.001, "n": None, "s": "a/b c$"}, "0007_lr=0.001_n=None_s=a-b-c-"),
        ({"lr": 0.0012345678, "n": 10**12, "s": ""}, "0007_lr=0.00123457_n=1000000000000_s="),
    ],
)
def test_a_run_folder_is_named_by_number_and_swept_parameters(params: dict[str, object], name: str) -> None:
    """In the file's order, with harmless characters."""
    assert run_folder_name(7, params, ["lr", "n", "s"]) == name  # type: ignore[arg-type]  # scalars all


def test_long_tags_are_cut_and_stay_different() -> None:
    """By a hash of the whole."""
    names = {
        run_folder_name(0, {f"p{i}": "x" * 40 for i in range(5)} | {"p4": last}, [f"p{i}" for i in range(5)]) for last in "ab"
    }
    assert len(names) == 2
    assert {len(name) for name in names} == {124}
    assert run_folder_name(123456, {}, []) == "123456"
