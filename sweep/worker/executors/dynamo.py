"""torch's compiler, imported when something is compiled, not when the first optimizer is made.

Every `torch.optim.Optimizer` asks `torch._dynamo` for two things: not to look into some of its methods, and to break a graph,
both of which mean something only while a program is compiled. For that the module comes with all of the compiler, 1.5 s and 150
MB in each worker. Here a stand-in answers these two and turns into the real module as soon as anything else is wanted of it,
such as `torch.compile`. (torch itself avoids the import in the same way where it can:
https://github.com/pytorch/pytorch/pull/162595.)
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

_NAME = "torch._dynamo"
_MARK = "__dynamo_disable"  # where torch keeps what `disable` has returned


def defer() -> None:
    """Put the stand-in in the module's place, unless the module is there already."""
    sys.modules.setdefault(_NAME, _StandIn(_NAME))


class _StandIn(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__.update(_lock=threading.RLock(), _real=None, _unmarked=[])

    def disable(self, fn: Callable[..., Any] | None = None, *args: Any, **options: Any) -> Any:
        """Return an optimizer's method as it is; leave everybody else's wish to the real module."""
        if self._real is None and getattr(fn, "__module__", "").startswith("torch.optim.") and options == {"wrapping": False}:
            self._unmarked.append(fn)
            sys.modules["torch"]._dynamo = self  # type: ignore[attr-defined]  # else torch looks it up at each step
            return fn
        return self._load().disable(fn, *args, **options)

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Break no graph: while one is made, the real module is there."""

    def _load(self) -> Any:
        with self._lock:
            if self._real is None:
                del sys.modules[_NAME]
                sys.modules["torch"].__dict__.pop("_dynamo", None)
                self.__dict__["_real"] = importlib.import_module(_NAME)
                for method in self._unmarked:  # torch asks again, and gets an answer that the compiler knows
                    method.__dict__.pop(_MARK, None)
            return self._real

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # who looks at all modules does not mean this one
            raise AttributeError(name)
        return getattr(self._load(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._load(), name, value)
