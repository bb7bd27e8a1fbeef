"""torch in a worker: used where it is loaded, and prepared at the moment of its import.

Most studies train with torch, and their workers are copies of a process that has imported it. A study whose code does not use
it has workers without it, until something imports it after all: the objective by a name that nobody could foresee, or a package
that it uses. Then the settings of the process and the trial's seed are applied to torch at the end of that import, and no
result depends on when it came.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def loaded() -> Any:
    """Return torch if its import has ended; None if nothing has imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None or getattr(torch.__spec__, "_initializing", False) else torch


class WhenImported:
    """Call functions when torch is there: now, or at the end of its import; also one that finds torch's module."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []
        sys.meta_path.insert(0, self)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function now if torch is loaded, else at the end of its import."""
        if loaded():
            function()
        else:
            self._waiting.append(function)

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Answer Python's import: for torch, with a loader that calls the functions afterwards."""
        if name != "torch" or not self._waiting:
            return None
        others = (finder.find_spec(name, path, target) for finder in list(sys.meta_path) if finder is not self)
        spec = next(filter(None, others), None)
        if spec is not None and spec.loader is not None:
            loader: Any = _Loader(spec.loader, self)
            spec.loader = loader
        return spec

    def imported(self) -> None:
        """Call the functions that wait."""
        waiting, self._waiting = self._waiting, []
        for function in waiting:
            function()

    def close(self) -> None:
        """Take no part in imports any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Loader:
    """A loader whose module is used as soon as it is executed."""

    def __init__(self, loader: Any, owner: WhenImported) -> None:
        self._loader, self._owner = loader, owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute torch, then call the functions."""
        spec: Any = module.__spec__
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        spec._initializing = False  # for `loaded`; Python sets the same a moment later
        self._owner.imported()
