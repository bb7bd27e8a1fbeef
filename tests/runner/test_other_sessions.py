"""Sessions of one user see each other, and say when they share cores or GPUs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.runner.other_sessions import Usage, announced, shared_text, usage_of
from sweep.worker.devices import plan_slots
from sweep.worker.gpus import Gpu

OWN = Usage(pid=1, folder="/runs/a", threads=4, cores=[0, 1, 2, 3], gpus={})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the sessions."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "sweep-sessions"


def test_sessions_see_those_that_began_before(place: Path) -> None:
    """As long as they last; the folder and the files are the user's alone."""
    other = replace(OWN, pid=2, folder="/runs/b", gpus={"GPU-a": "0"})
    with announced(other) as before:
        assert before == []
        assert place.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in place.iterdir()] == [0o600]
        with announced(OWN) as seen:
            assert seen == [other]
    with announced(OWN) as after:
        assert after == []
    assert not list(place.iterdir())


def test_a_file_of_a_session_that_died_is_removed(place: Path) -> None:
    """It is not locked."""
    place.mkdir(mode=0o700)
    (place / "1-dead.json").write_text("{}")
    with announced(OWN) as seen:
        assert seen == []
        assert not (place / "1-dead.json").exists()


def test_nothing_is_said_and_nothing_fails_where_the_folder_is_not_private(place: Path) -> None:
    """A link, or a folder that others can write."""
    elsewhere = place.with_name("elsewhere")
    elsewhere.mkdir()
    place.symlink_to(elsewhere)
    with announced(OWN) as seen:
        assert seen == []
    place.unlink()
    place.mkdir()
    place.chmod(0o755)
    with announced(OWN) as seen:
        assert seen == []
    assert not list(elsewhere.iterdir()) + list(place.iterdir())


def test_the_text_says_what_is_shared_and_how_to_share_it() -> None:
    """Cores that are too few for all, or a GPU; nothing where there is enough."""
    other = replace(OWN, pid=2, folder="/runs/b", threads=2)
    assert shared_text(OWN, []) is None
    assert shared_text(OWN, [other]) == (
        "another sweep uses 2 of the 4 cores here: /runs/b (process 2); with workers.per_device=2 for each they share them"
    )
    third = replace(other, pid=3, folder="/runs/c", threads=9)
    assert shared_text(OWN, [other, third]) == (
        "2 other sweeps use 4 of the 4 cores here: /runs/b (process 2), /runs/c (process 3); "
        "with workers.per_device=1 for each they share them"
    )
    assert shared_text(replace(OWN, threads=2), [other]) is None
    assert shared_text(OWN, [replace(other, cores=[4, 5])]) is None
    mine, theirs = replace(OWN, threads=1, gpus={"GPU-a": "0", "GPU-b": "1"}), replace(other, threads=1, gpus={"GPU-b": "0"})
    assert shared_text(mine, [theirs]) == (
        "another sweep uses gpu 1, too: /runs/b (process 2); workers.devices chooses others"
    )  # fmt: skip
    assert shared_text(mine, [replace(theirs, gpus={"GPU-c": "1"})]) is None


def test_a_sessions_usage_is_that_of_its_slots() -> None:
    """The threads of all, and each GPU once, by the name that every session gives it."""
    found = usage_of(plan_slots("auto", 2, 3, [Gpu(uuid="GPU-e", index="5")], cores=8), Path("/runs/a"))
    assert (found.pid, found.folder, found.threads, found.gpus) == (os.getpid(), "/runs/a", 6, {"GPU-e": "5"})
    assert found.cores
