"""Whether a function is written for Optuna, seen from its code."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from sweep.objectives import fashion_mnist, toy
from sweep.study.code.suggesting import calls_suggest, files_suggest
from tests.support import objectives, tuned


def _decorated(function: Any) -> Any:
    @functools.wraps(function)
    def inner(trial: Any) -> Any:
        return function(trial)

    return inner


class _Methods:
    def __call__(self, trial: Any) -> Any:
        return self._inside(trial)

    def _inside(self, trial: Any) -> Any:
        return [trial.suggest_int(f"x{place}", 0, 1) for place in range(2)]


class _Inherits(_Methods):
    pass


@pytest.mark.parametrize(
    "function",
    [
        _Inherits(),
        tuned.objective,
        tuned.old_names,
        tuned.called,
        _Methods(),
        _Methods().__call__,
        functools.partial(tuned.objective),
        _decorated(tuned.static),
        lambda trial: tuned.static(trial) + 1,
        lambda trial: [one.suggest_float("x", 0, 1) for one in (trial, trial)],
    ],
)
def test_a_function_for_optuna_is_known_by_what_it_calls(function: Any) -> None:
    """Also where a function that it names, an object, a decorator or a lambda is between."""
    assert calls_suggest(function)


@pytest.mark.parametrize("function", [objectives.train, objectives.learn, toy.train, fashion_mnist.train, print, len])
def test_other_functions_are_not(function: Any) -> None:
    """Those of the package and of the tests."""
    assert not calls_suggest(function)


def test_files_tell_it_before_anything_is_imported(tmp_path: Path) -> None:
    """Also where the model is made in a module beside the objective's; a compiled module may do anything."""
    (tmp_path / "mine.py").write_text("import model\n\ndef objective(trial):\n    return model.make(trial)\n")
    (tmp_path / "model.py").write_text("def make(trial):\n    return trial.params\n")
    assert not files_suggest("mine", str(tmp_path), [str(tmp_path)])
    (tmp_path / "model.py").write_text("def make(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    assert files_suggest("mine", str(tmp_path), [str(tmp_path)])
    assert files_suggest("_json", str(tmp_path), [str(tmp_path)])
