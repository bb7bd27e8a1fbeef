"""What the event files of a study say after trials were dropped and noted, without a TensorBoard."""

from __future__ import annotations

import fcntl
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams import metadata

from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import Remarks, change_remarks, read_remarks
from sweep.storage.store import StudyStore
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from sweep.tensorboard import event_files
from sweep.tensorboard.columns import metric_columns, with_columns
from sweep.tensorboard.pareto_front import FrontColumn
from sweep.tensorboard.remarked import follow, renew_hidden, renew_remarks, unshown
from sweep.tensorboard.run_writer import RunWriter
from tests.support.reading import event_records, hparams_tags, points, scalars
from tests.support.studies import run_record, study_spec

PAIR = {"metric": None, "metrics": [{"name": "score", "goal": "maximize"}, {"name": "size", "goal": "minimize"}]}
CODE = {"code": "abc"}


def complete(study: StudySpec, number: int) -> TrialRecord:
    """Return a complete trial; the second one is as small as no other."""
    metrics = {"score": float(number), "size": float(number != 1)}
    return replace(run_record(study, number, dict.fromkeys(study.parameters, number), float(number)), metrics=metrics)


def study_with_runs(root: Path, parameters: dict[str, Any], **keys: Any) -> tuple[StudySpec, StudyFolder]:
    """Make a study of three complete trials, each with its record and its event file."""
    study, folder = study_spec(parameters, **keys), StudyFolder(root=root)
    store = StudyStore(folder, study)
    for number in range(3):
        record = complete(study, number)
        store.start(replace(record, state=TrialState.RUNNING))
        writer = RunWriter(folder.trial_dir(record.folder))
        values, space = with_columns(record.params, study.shown, CODE)
        writer.start_session(values, space)
        writer.describe(space, metric_columns(study))
        writer.add_scalar("score", float(number), 1)
        writer.end_session(success=True)
        writer.close()
        store.finish(record)
    store.close()
    return study, folder


def columns(folder: StudyFolder) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the columns that each run describes, and its row."""
    found = []
    for path in sorted(folder.root.glob("0*")):
        tags = hparams_tags(path)
        described = metadata.parse_experiment_plugin_data(tags[metadata.EXPERIMENT_TAG])
        row = metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG]).hparams
        values = {name: value.string_value or value.number_value for name, value in row.items()}
        found.append(([info.name for info in described.hparam_infos], values))
    return found


@pytest.mark.parametrize(("name", "column"), [("x", "note"), ("note", "note (sweep)")])
def test_the_first_note_gives_every_run_the_column_and_the_last_one_takes_it(tmp_path: Path, name: str, column: str) -> None:
    """Other columns stay, a parameter of the same name too; a second note renews one run only."""
    study, folder = study_with_runs(tmp_path, {name: [0, 1, 2]})
    before, records = columns(folder), [event_records(path) for path in sorted(tmp_path.glob("0*"))]
    change_remarks(folder, lambda now: replace(now, notes={1: "odd\n"}))
    assert unshown(folder) == [0, 1, 2]
    renew_remarks(study, folder, at_most=2)
    assert columns(folder) == before
    renew_remarks(study, folder)
    assert columns(folder) == [
        ([name, "code", column], {name: number, **CODE, column: "odd\\n" if number == 1 else 0.0}) for number in range(3)
    ]
    change_remarks(folder, lambda now: replace(now, notes={1: "odd\n", 2: "even"}))
    assert unshown(folder) == [2]
    renew_remarks(study, folder)
    assert columns(folder)[2][1][column] == "even"
    change_remarks(folder, lambda now: replace(now, notes={}))
    renew_remarks(study, folder)
    assert [event_records(path) for path in sorted(tmp_path.glob("0*"))] == records
    assert read_remarks(folder).in_hparams == {}


def test_event_files_are_hidden_with_those_below_and_come_back(tmp_path: Path) -> None:
    """Twice is as once; no file of another name is touched, and none is replaced."""
    study_with_runs(tmp_path, {"x": [0, 1, 2]})
    run = next(tmp_path.glob("0001*"))
    (run / "below").mkdir()
    (run / "below" / "events.out.tfevents.1.mine").write_bytes(b"")
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    before = points(run)
    for _ in range(2):
        event_files.hide(run)
    assert not [path for path in run.rglob("*") if "tfevents" in path.name]
    assert len(event_files.of_run(run)) == 1
    (run / "below" / "events.out.tfevents.1.mine").write_bytes(b"new")
    event_files.hide(run)
    assert (run / "below" / "events.out.tfevents.1.mine").read_bytes() == b"new"
    (run / "below" / "events.out.tfevents.1.mine").unlink()
    for _ in range(2):
        event_files.show(run)
    assert sorted(str(path.relative_to(run)) for path in run.rglob("*")) == names
    assert points(run) == before


def shown(root: Path) -> list[str]:
    return sorted(path.parent.name[:4] for path in root.glob(f"*/{event_files.PATTERN}"))


def test_what_a_killed_drop_has_left_is_put_right_by_the_next_session(tmp_path: Path) -> None:
    """The file of remarks says what holds, of dropped trials and of those that were taken back."""
    study, folder = study_with_runs(tmp_path, {"x": [0, 1, 2]})
    change_remarks(folder, lambda now: replace(now, dropped=frozenset((0, 2))))
    event_files.hide(folder.trial_dir(complete(study, 1).folder))
    renew_remarks(study, folder)
    assert shown(tmp_path) == ["0001"]
    change_remarks(folder, lambda now: replace(now, dropped=frozenset()))
    renew_remarks(study, folder)
    assert shown(tmp_path) == ["0000", "0001", "0002"]


def test_a_trial_that_is_taken_back_while_it_is_dropped_is_shown(tmp_path: Path) -> None:
    """The one waits until the event files are as the other one wants them."""
    study, folder = study_with_runs(tmp_path, {"x": [0, 1, 2]})
    runs, hiding = [complete(study, 1)], threading.Event()
    done: list[str] = []

    def take_back() -> None:
        hiding.wait(10.0)
        change_remarks(folder, lambda now: replace(now, dropped=frozenset()), lambda now: follow(folder, runs, now))
        done.append("taken back")

    def hide_slowly(now: Remarks) -> None:
        hiding.set()
        time.sleep(0.3)
        done.append("hidden")
        follow(folder, runs, now)

    other = threading.Thread(target=take_back)
    other.start()
    change_remarks(folder, lambda now: replace(now, dropped=frozenset((1,))), hide_slowly)
    other.join()
    assert (done, read_remarks(folder).dropped) == (["hidden", "taken back"], frozenset())
    assert shown(tmp_path) == ["0000", "0001", "0002"]


def test_a_study_that_cannot_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is locked where nothing is to be changed: somebody else's study may be looked at."""
    study, folder = study_with_runs(tmp_path, {"x": [0, 1, 2]})
    renew_hidden(folder)
    assert not folder.remarks.exists()
    change_remarks(
        folder, lambda now: replace(now, dropped=frozenset((1,))), lambda now: follow(folder, [complete(study, 1)], now)
    )
    with folder.remarks.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        renew_hidden(folder)
    assert shown(tmp_path) == ["0000", "0002"]


def test_the_front_is_marked_again_without_a_dropped_trial(tmp_path: Path) -> None:
    """Only what has changed is written; a trial that comes back is marked, whatever its file says."""
    study, folder = study_with_runs(tmp_path, {"x": [0, 1, 2]}, **PAIR)
    known = [complete(study, number) for number in range(3)]

    def marks() -> list[list[float]]:
        return [[value for _, value in scalars(path).get("front", ())] for path in sorted(tmp_path.glob("0*"))]

    column = FrontColumn(study, folder, known)
    assert marks() == [[0], [1], [1]]
    without = [known[0], replace(known[1], dropped=True), replace(known[2], dropped=True)]
    event_files.hide(folder.trial_dir(known[1].folder))
    event_files.hide(folder.trial_dir(known[2].folder))
    column.remarked(without)
    assert marks() == [[0, 1], [], []]
    event_files.show(folder.trial_dir(known[1].folder))
    event_files.show(folder.trial_dir(known[2].folder))
    column.remarked(known)
    assert [found[-1] for found in marks()] == [0, 1, 1]
