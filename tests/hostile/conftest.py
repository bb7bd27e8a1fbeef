"""Fixtures of the cases about a study's folder: one that was left half done, and what it comes to if nothing happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.folders import Place, Values, copied, make_half_done, values
from tests.support.command_line import run_sweep


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_half_done(tmp_path_factory.mktemp("half"))


@pytest.fixture(scope="module")
def whole(half_done: Place, tmp_path_factory: pytest.TempPathFactory) -> Values:
    """What the study comes to if nothing happens to it."""
    place = copied(half_done, tmp_path_factory.mktemp("whole"))
    done = run_sweep("resume", str(place.root), here=place.here)
    assert done.code == 0, done.err
    return values(place)


@pytest.fixture
def place(half_done: Place, here: Path) -> Place:
    return copied(half_done, here)
