"""Importing an objective in a process that has imported others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweep.study.objective import load


def test_a_module_of_the_same_name_that_the_program_has_imported_from_elsewhere_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what is inside of a package of that name; the one that is there already is kept if it is the study's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for number, name in enumerate(("first", "second")):
        (tmp_path / name / "same").mkdir(parents=True)
        (tmp_path / name / "same" / "__init__.py").write_text("")
        (tmp_path / name / "same" / "inner.py").write_text(f"def train(trial):\n    return {number}\n")
    first, second = (str(tmp_path / name) for name in ("first", "second"))
    sys.path.insert(0, first)
    import same.inner  # type: ignore[import-not-found]  # made above

    taken = same.inner
    assert load("same.inner:train", first) is taken.train
    assert load("same.inner:train", second)(None) == 1
    assert load("same.inner:train", first)(None) == 0
    for module in [one for one in sys.modules if one.partition(".")[0] == "same"]:
        del sys.modules[module]


def test_this_package_stays_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study may lie beside another copy of it, as in a clone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "__init__.py").write_text("")
    before = sys.modules["sweep.study.objective"]
    assert callable(load("sweep.objectives.toy:train", str(tmp_path)))
    assert sys.modules["sweep.study.objective"] is before
