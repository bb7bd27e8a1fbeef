"""What TARGET of `sweep init` means: a script that reads arguments, or a function of a trial in a Python file."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import SweepError, did_you_mean
from sweep.study.command import not_a_study
from sweep.study.starting.reading import Function, Shown, shown_by


@dataclass(frozen=True, kw_only=True)
class Target:
    """A Python file, what it shows, and the function in it that is meant; None for the program that the file is."""

    path: Path
    shown: Shown
    function: Function | None

    def reference(self, folder: Path) -> str:
        """Return `module:function` as a study file in a folder names it.

        Raises:
            SweepError: from there it cannot be imported.
        """
        assert self.function is not None
        parts = Path(os.path.relpath(self.path.resolve(), folder)).with_suffix("").parts
        if not all(part.isidentifier() for part in parts):
            what = f"a study file in {folder} cannot import {self.path}"
            raise SweepError("function-not-importable", what, do="write it beside the Python file: leave -o out")
        return f"{'.'.join(parts)}:{self.function.name}"


def target_of(word: str) -> Target:
    """Return what a word names: `train.py`, `train.py:function` or `module:function`.

    Raises:
        SweepError: there is no such file or function, or none of several can be chosen.
    """
    name, colon, function = word.partition(":")
    path = Path(name if not colon or name.endswith(".py") else f"{name.replace('.', '/')}.py")
    if not path.is_file():
        here = sorted(str(one) for pattern in ("*.py", "*/*.py") for one in Path().glob(pattern))
        near = difflib.get_close_matches(str(path), here, n=3, cutoff=0.4) or here[:5]
        do = f"here are: {', '.join(near)}" if near else "go to the folder that holds your script"
        raise SweepError("program-not-found", f"there is no script {str(path)!r}", do=do)
    if path.suffix != ".py":
        raise not_a_study(path)
    shown = shown_by(path)
    return Target(path=path, shown=shown, function=_named(path, function, shown) if colon else _only(path, shown))


def _only(path: Path, shown: Shown) -> Function | None:
    """Return the function that is meant where none is named; None where the file is a program that reads arguments."""
    first, *others = shown.functions or [None]
    if first is None or (shown.program and not first.optimized):
        return None
    if others and not first.likely:
        do = "\n".join(f"sweep init {path}:{one.name}" for one in shown.functions)
        raise SweepError("function-not-named", f"{path} has {len(shown.functions)} functions of a trial: name one", do=do)
    return first


def _named(path: Path, name: str, shown: Shown) -> Function:
    found = next((one for one in shown.functions if one.name == name), None)
    if found is not None:
        return found
    if name not in shown.needs:
        known = [*(one.name for one in shown.functions), *shown.needs]
        raise SweepError("function-not-found", f"{path} has no function {name!r}", why=did_you_mean(name, known) or None)
    raise SweepError(
        "function-of-no-trial",
        f"{name} takes {', '.join(shown.needs[name]) or 'no argument'}, but an objective gets one argument, the trial",
        do=f"add this function to {path}; what it returns is the metric:\n"
        f"  def objective(trial):\n      return {name}(**trial.params)\nsweep init {path}:objective",
    )
