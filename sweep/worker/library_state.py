"""The parts of a process's state that belong to NumPy and matplotlib, and replaced functions: see `process_state`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy
import numpy.fft  # or the first trial that uses it would import it

from sweep.worker import replaced
from sweep.worker.interpreter_state import State


def parts() -> Iterator[State]:
    """Yield each part's name, how it is read, and how it is put back."""
    yield "replaced functions", *replaced.functions(replaced.OF_PYTHON)
    yield "NumPy: errors", lambda: (dict(numpy.geterr()), numpy.geterrcall()), _set_numpy_errors
    yield "NumPy: print options", lambda: dict(numpy.get_printoptions()), lambda options: numpy.set_printoptions(**options)
    yield _matplotlib()


def _set_numpy_errors(before: tuple[dict[str, Any], Any]) -> None:
    numpy.seterr(**before[0])
    numpy.seterrcall(before[1])


def _matplotlib() -> State:
    """Return the state of matplotlib's parameters, backend and open figures; trials often are the first to import it."""

    def parameters() -> dict[str, Any]:
        # Not through `rcParams[...]`: reading the backend there chooses one.
        return dict(dict.items(sys.modules["matplotlib"].rcParams)) if "matplotlib" in sys.modules else {}

    before = parameters()

    def changed() -> dict[str, Any]:
        now = parameters()
        known = before or getattr(sys.modules.get("matplotlib"), "rcParamsOrig", {})
        return {name: dict.get(known, name) for name, value in now.items() if value != dict.get(known, name)}

    def read() -> bool:
        pyplot = sys.modules.get("matplotlib.pyplot")
        return bool(changed()) or (
            pyplot is not None and (bool(pyplot.get_fignums()) or vars(pyplot).get("_backend_mod") is not None)
        )

    def restore(_: object) -> None:
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            pyplot.close("all")
            vars(pyplot)["_backend_mod"] = None  # the next figure chooses the backend, as the first one did
        for name, value in changed().items():
            dict.__setitem__(sys.modules["matplotlib"].rcParams, name, value)

    return "matplotlib", read, restore
