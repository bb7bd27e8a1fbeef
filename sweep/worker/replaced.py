"""What a trial may replace in the modules and classes of Python and of libraries: functions, methods, and flags of classes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import ModuleType
from typing import Any

_MODULES = (
    *("builtins", "collections", "contextlib", "copy", "datetime", "functools", "itertools", "json", "math", "operator", "os"),
    *("pathlib", "pickle", "random", "shutil", "statistics", "subprocess", "tempfile", "threading", "time", "warnings"),
    *("numpy", "numpy.random", "numpy.linalg", "numpy.fft"),
    *("torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.rnn", "torch.autograd"),
    *("torch.linalg", "torch.fft", "torch.special", "torch.optim", "torch.optim.lr_scheduler", "torch.distributions"),
    *("torch.distributions.distribution", "torch.utils.data", "torch.utils.data._utils.collate"),
)
# Their classes count too, with their flags.
_WITH_CLASSES = (
    *("json", "pathlib", "random", "threading", "torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data"),
    "torch.distributions.distribution",
)
_METHODS = (classmethod, property)
_FLAGS = (bool, int, float, str)


def functions() -> tuple[str, Callable[[], bool], Callable[[Any], object]]:
    """Return the state of all of them, as a part of `sweep.worker.process_state`."""
    owners = list(dict.fromkeys(_owners()))
    views = [vars(owner).values() for owner in owners]  # they show what is there when they are read
    before = [{key: value for key, value in vars(owner).items() if _counts(owner, key, value)} for owner in owners]
    seen = list(itertools.chain.from_iterable(views))

    def replaced() -> Iterator[tuple[Any, str, Any]]:
        """Yield owner, name and what was there: `_NOTHING` if a class has a method now that it inherited."""
        for owner, known in zip(owners, before, strict=True):
            now = vars(owner)
            if not all(map(is_, map(now.get, known), known.values())):
                yield from ((owner, key, value) for key, value in known.items() if now.get(key) is not value)
            if isinstance(owner, type) and len(now) > len(known):
                more = [key for key in now if key not in known and _counts(owner, key, now[key])]
                yield from ((owner, key, _NOTHING) for key in more if any(key in vars(base) for base in owner.__mro__[1:]))

    def read() -> bool:
        nonlocal seen
        now = list(itertools.chain.from_iterable(views))
        if _same(now, seen):
            return True  # in a fifth of the time that asking for each name takes
        if any(replaced()):
            return False
        seen = now
        return True

    def restore(_: object) -> None:
        for owner, key, value in list(replaced()):
            if value is _NOTHING:
                delattr(owner, key)
            else:
                setattr(owner, key, value)

    return "replaced functions", read, restore


def _owners() -> Iterable[ModuleType | type]:
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is not None:
            yield module
            top = name.partition(".")[0]
            for value in list(vars(module).values()) if name in _WITH_CLASSES else ():
                if isinstance(value, type) and value.__flags__ & _HEAP and value.__module__.partition(".")[0] == top:
                    yield value
    yield sys.modules["torch"].Tensor


def _same(now: list[Any], seen: list[Any]) -> bool:
    try:
        return now == seen
    except Exception:  # a value that is new and cannot be compared, such as an array
        return False


_NOTHING = object()
_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: others cannot be changed


def _counts(owner: ModuleType | type, key: str, value: object) -> bool:
    if isinstance(owner, type):  # what begins with _ is replaced in classes only
        return callable(value) or isinstance(value, _METHODS) or type(value) in _FLAGS
    return callable(value) and not key.startswith("_")
