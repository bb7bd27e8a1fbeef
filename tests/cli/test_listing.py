"""`sweep list`: all studies below a folder, fast, and whatever state they are in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.cli import listing
from sweep.cli.main import main
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import locked
from tests.conftest import Cli
from tests.support.studies import Study, run_study, study_text, write_objectives

TEXT = study_text({"x": [1, 3, 2], "how": "ok", "steps": 1}, name="first")
Printed = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of three trials that has run to its end."""
    folder = tmp_path_factory.mktemp("ran")
    write_objectives(folder)
    return run_study(TEXT, folder=folder)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Return what a command prints as JSON."""

    def run(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(words) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    return run


def copied(study: Study, place: str) -> Path:
    shutil.copytree(study.folder, place)
    return Path(place)


def change(folder: Path, query: str, *values: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database, database:
        assert database.execute(query, values).rowcount > 0


def test_every_study_below_a_folder_is_listed(ran: Study, here: Path, printed: Printed) -> None:
    """At any depth, links included, but for hidden folders; the best is `sweep best`'s, also of an older version's study."""
    for place in ("runs/first", "runs/deep/er/second", "runs/.hidden/third", "elsewhere/first", "runs/first/0000_x=1/first"):
        copied(ran, place)
    Path("runs/linked").symlink_to(here / "elsewhere" / "first")
    Path("runs/deep/around").symlink_to(here / "runs")
    (here / "runs" / "no-study").mkdir()
    change(copied(ran, "runs/older"), "DELETE FROM study_system_attributes WHERE key IN ('sweep:study', 'sweep:ended')")
    changed = copied(ran, "runs/by-hand") / "study.yaml"
    changed.write_text(changed.read_text().replace('"maximize"', '"minimize"'))

    rows = {Path(row["dir"]).relative_to(here).as_posix(): row for row in printed("list", "--json")}
    assert sorted(rows) == ["runs/by-hand", "runs/deep/er/second", "runs/first", "runs/linked", "runs/older"]
    for place, row in rows.items():
        assert (row["state"], row["counts"]["complete"], row["total"], row["error"]) == ("finished", 3, 3, None)
        [best] = printed("best", place, "--top", "1", "--format", "json")
        assert row["best"] == {key: best[key] for key in ("number", "value", "params", "metrics")}
    assert rows["runs/by-hand"]["best"]["number"] == 0
    first, older = rows["runs/first"], rows["runs/older"]
    assert (first["ended"]["exit_code"], first["ended"]["by"], older["ended"]) == (0, "all trials are done", None)
    assert first["started"] == ran.trials[0]["started"]
    assert first["changed"] == max(trial["ended"] for trial in ran.trials)
    assert first["bytes"] == sum(path.stat().st_size for path in Path("runs/first").rglob("*") if path.is_file())
    assert [row["study"] for row in printed("list", "elsewhere", "--json")] == ["first"]


@pytest.mark.parametrize(
    ("query", "state"),
    [
        (
            "UPDATE study_system_attributes SET value_json = replace(value_json, '0,', '143,') WHERE key = 'sweep:ended'",
            "stopped",
        ),
        ("UPDATE study_system_attributes SET value_json = replace(value_json, '0,', '3,') WHERE key = 'sweep:ended'", "failed"),
        ("UPDATE study_system_attributes SET value_json = replace(value_json, '0,', '1,') WHERE key = 'sweep:ended'", "finished"),
        ("DELETE FROM trial_user_attributes WHERE trial_id = 2 OR key = 'killed'", "finished"),  # the session says so
        ("DELETE FROM study_system_attributes WHERE key = 'sweep:ended'", "finished"),
        ("UPDATE study_system_attributes SET value_json = '[]' WHERE key = 'sweep:study'", "damaged"),
        ("UPDATE study_system_attributes SET value_json = '{}' WHERE key = 'sweep:ended'", "finished"),
        ("UPDATE study_system_attributes SET value_json = '{\"at\": 1}' WHERE key = 'sweep:ended'", "damaged"),
        ('UPDATE trial_user_attributes SET value_json = replace(value_json, \'"value":\', \'"value": "a", "v":\')', "damaged"),
        ("UPDATE version_info SET schema_version = 99", "damaged"),
    ],
)
def test_the_state_is_that_of_the_folder(ran: Study, here: Path, printed: Printed, query: str, state: str) -> None:
    """Whatever is stored in the database; damage is a row with its reason."""
    change(copied(ran, "runs/first"), query)
    [row] = printed("list", "--json")
    assert row["state"] == state
    assert (row["error"] is None) == (state != "damaged")


def test_damage_is_a_row(ran: Study, here: Path, printed: Printed) -> None:
    """Of a file that is gone, garbage, a link or a folder; the others are listed as ever."""
    whole = copied(ran, "runs/whole")
    for name in ("study.yaml", "study.db", "environment.json", "lock"):
        for how in ("gone", "garbage", "link", "folder"):
            path = copied(ran, f"runs/{name}-{how}") / name
            path.unlink()
            if how == "garbage":
                path.write_bytes(b"\x00\xff{[" * 100)
            elif how == "link":
                path.symlink_to(whole / name)
            elif how == "folder":
                path.mkdir()
    rows = {Path(row["dir"]).name: row for row in printed("list", "--json")}
    assert len(rows) == 17
    usable = {"whole", "environment.json-gone", "environment.json-garbage", "lock-gone", "lock-garbage"}
    assert {name for name, row in rows.items() if row["state"] == "finished"} == usable
    assert all((row["state"] == "damaged") == bool(row["error"]) == (name not in usable) for name, row in rows.items())


def test_what_was_said_of_a_study_counts(ran: Study, here: Path, printed: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    """A dropped trial is not the best one, and is counted as such; the study's note is shown."""
    copied(ran, "runs/first")
    assert main(["drop", "runs/first", "1"]) == 0
    assert main(["note", "runs/first", "try a lower rate"]) == 0
    [row] = printed("list", "--json")
    [best] = printed("best", "runs/first", "--top", "1", "--format", "json")
    assert row["best"]["number"] == best["number"] == 2
    assert (row["note"], row["dropped"], row["counts"]["complete"]) == ("try a lower rate", 1, 3)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["note", "try a lower rate"]
    assert "3 complete, 1 dropped" in lines[1]


@pytest.mark.slow
def test_several_metrics_and_constraints_rank_as_elsewhere(cli: Cli, here: Path) -> None:
    """The best of the Pareto front among the feasible trials, with the front's size; repeats count as one trial."""
    write_objectives(here)
    metrics = [{"name": "score", "goal": "maximize"}, {"name": "loss", "goal": "minimize"}]
    keys: dict[str, Any] = {"metric": None, "metrics": metrics, "constraints": {"score": {"max": 1.5}}, "repeats": 2}
    (here / "study.yaml").write_text(study_text({"x": [1, 3, 2], "steps": [1, 2]}, **keys))
    assert cli("run", "study.yaml").code == 0
    [row] = cli("list", "--json").json
    front = cli("best", "study.yaml", "--format", "json").json
    assert (row["best"]["number"], row["best"]["values"], row["best"]["front"]) == (
        front[0]["number"],
        front[0]["values"],
        len(front),
    )
    assert row["counts"]["complete"] == row["total"] == 6
    assert f"one of {len(front)} in the front" in cli("list").out


def test_the_last_changed_one_is_last(ran: Study, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the eye of whoever typed it is."""
    query = "UPDATE trial_user_attributes SET value_json = json_set(value_json, '$.spans[0].ended', ?) WHERE key = 'sweep'"
    for place, year in (("runs/a", 2031), ("runs/b", 2030), ("runs/c", 2032)):
        change(copied(ran, place), query, f"{year}-01-01T00:00:00.000+00:00")
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["runs/b", "runs/a", "runs/c"]


def test_a_trial_has_changed_when_it_ended(ran: Study, here: Path, printed: Printed) -> None:
    """Its last period on a slot ends a moment earlier."""
    query = "UPDATE trial_user_attributes SET value_json = json_set(value_json, '$.spans[0].ended', ?) WHERE key = 'sweep'"
    change(copied(ran, "runs/first"), query, "2026-01-01T00:00:00.000+00:00")
    [row] = printed("list", "--json")
    assert row["changed"] == max(trial["ended"] for trial in ran.trials)


def test_a_folder_that_is_too_large_is_named(ran: Study, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what can go; a moved-aside study is all of that."""
    copied(ran, "runs/small")
    copied(ran, "runs/first")
    copied(ran, "runs/first.20261130-120000")
    [run, *_] = Path("runs/first").glob("0000*")
    with (run / "checkpoint.unusable.pt").open("wb") as file:
        file.truncate(50_000_000)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "50 MB of the 51 MB in runs/first are not needed: sweep clean" in out
    assert "runs/first.20261130-120000  moved aside" in out
    assert "runs/small are" not in out


def test_many_studies_are_read_by_several_processes(ran: Study, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same answer."""
    for number in range(6):
        copied(ran, f"runs/{number}")
    folders = [StudyFolder(root=here / "runs" / str(number)) for number in range(6)]
    alone = listing.read_studies(folders)
    monkeypatch.setattr(listing, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert listing.read_studies(folders) == alone


def test_where_there_is_nothing_it_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No studies are no error; no folder is one."""
    assert main(["list"]) == 0
    assert "no study below ." in capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["list", "nowhere"]) == 2
    assert "no-such-folder" in capsys.readouterr().err


def test_a_copy_of_the_best_trial_is_no_study(
    ran: Study, here: Path, printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is neither listed nor run into, also by the study file with its name."""
    copied(ran, "runs/first")
    assert main(["best", "runs/first", "--copy", "runs/winner"]) == 0
    assert [row["study"] for row in printed("list", "--json")] == ["first"]
    (here / "study.yaml").write_text(TEXT)
    write_objectives(here)
    for words, name in ((["runs/winner"], "no-study"), (["study.yaml", "name=winner"], "not-a-study")):
        assert main(["run", *words]) == 2
        assert f"[{name}]" in capsys.readouterr().err
    assert main(["clean", "runs/winner"]) == 0
    assert capsys.readouterr().out == "nothing can be removed\n"


def test_a_verb_that_has_the_lock_is_no_session(ran: Study, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`list` says what it is, `wait` returns, and `stop` finds no session."""
    folder = StudyFolder(root=copied(ran, "runs/first").absolute())
    with locked(folder, doing="clean"):
        assert main(["list"]) == 0
        assert "finished, in use by sweep clean  3 complete" in capsys.readouterr().out
        assert main(["wait", "runs/first"]) == 0
        assert main(["stop", "runs/first"]) == 2
        error = capsys.readouterr().err
    assert "[not-running]" in error
    assert "(sweep clean)" in error
