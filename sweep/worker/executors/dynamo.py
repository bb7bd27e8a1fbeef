"""Import torch's compiler when something is compiled, not when the first optimizer is made.

Without this, the first optimizer in each worker imports `torch._dynamo`, which takes 1.1 s and 155 MB (torch 2.14, 2 cores).
`torch.optim` only asks that module not to compile some methods, and to break a graph. A stand-in answers these two
and loads the real module for everything else, `torch.compile` included. It is used only if torch's source has the calls that
it knows. (torch avoids the import itself where it can: https://github.com/pytorch/pytorch/pull/162595.)
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_NAME = "torch._dynamo"
_MARK = "__dynamo_disable"  # the attribute in which torch keeps what `disable` returned
_RELIES_ON = {
    "_compile.py": ("disable_fn = torch._dynamo.disable(fn, recursive, wrapping=False)", f"fn.{_MARK} = disable_fn"),
    "optim/optimizer.py": ("torch._dynamo.graph_break()",),
}


def defer() -> None:
    """Put the stand-in in the module's place, unless the module is imported already or torch looks different."""
    torch = PathFinder.find_spec("torch") if _NAME not in sys.modules else None
    for folder in (torch and torch.submodule_search_locations) or ():
        with contextlib.suppress(OSError):
            known = all(call in Path(folder, name).read_text() for name, calls in _RELIES_ON.items() for call in calls)
            if known and (spec := PathFinder.find_spec(_NAME, [folder])):
                sys.modules[_NAME] = _StandIn(spec)


class _StandIn(ModuleType):
    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(_NAME)
        self.__dict__.update(__spec__=spec, _real=None, _unmarked=[])

    def disable(self, fn: Callable[..., Any] | None = None, *args: Any, **options: Any) -> Any:
        """Return an optimizer's method as it is; pass every other call to the real module."""
        if self._real is None and getattr(fn, "__module__", "").startswith("torch.optim.") and options == {"wrapping": False}:
            self._unmarked.append(fn)
            sys.modules["torch"]._dynamo = self  # type: ignore[attr-defined]  # else torch looks it up at each step
            return fn
        return self._load().disable(fn, *args, **options)

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Do nothing: whoever makes a graph has loaded the real module."""

    def _load(self) -> Any:
        if self._real is None:
            if sys.modules.get(_NAME) is self:  # else another thread is importing it, and the next import waits for that
                del sys.modules[_NAME]
                sys.modules["torch"].__dict__.pop("_dynamo", None)
            self.__dict__["_real"] = importlib.import_module(_NAME)
            for method in self._unmarked:  # torch asks again, and gets an answer that the compiler knows
                method.__dict__.pop(_MARK, None)
        return self._real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # asked of every module, by `inspect` for one
            raise AttributeError(name)
        return getattr(self._load(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._load(), name, value)
