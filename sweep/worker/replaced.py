"""What a trial may replace in the modules and classes of Python and of libraries: functions, methods, and flags of classes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_
from types import ModuleType
from typing import Any

OF_PYTHON = (
    *("builtins", "collections", "contextlib", "copy", "datetime", "functools", "itertools", "json", "math", "operator", "os"),
    *("pathlib", "pickle", "random", "shutil", "statistics", "subprocess", "tempfile", "threading", "time", "warnings"),
    *("numpy", "numpy.random", "numpy.linalg", "numpy.fft"),
)
OF_TORCH = (
    *("torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.rnn", "torch.autograd"),
    *("torch.linalg", "torch.fft", "torch.special", "torch.optim", "torch.optim.lr_scheduler", "torch.distributions"),
    *("torch.distributions.distribution", "torch.utils.data", "torch.utils.data._utils.collate"),
)
# Their classes count too, with their flags.
_WITH_CLASSES = (
    *("json", "pathlib", "random", "threading", "torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data"),
    "torch.distributions.distribution",
)
# What is replaced in classes; to look at all that they have would take a third of a millisecond, most of it for the memory.
_OF_CLASSES = frozenset(
    [
        *("__call__", "__getitem__", "__init__", "__iter__", "__len__", "_validate_args", "add_", "backward", "decode", "encode"),
        *("forward", "get_lr", "item", "mul_", "random", "read_text", "reset_parameters", "run", "start", "step", "to"),
        *("write_text", "zero_grad"),
    ]
)


def functions(modules: Sequence[str]) -> tuple[Callable[[], bool], Callable[[Any], object]]:
    """Return how the state of all of them is read and put back, as for a part of `sweep.worker.process_state`.

    Args:
        modules: the names of some of those above; one that is not imported is left out.
    """
    owners = list(dict.fromkeys(_owners(modules)))
    views = [vars(owner).values() for owner in owners if not isinstance(owner, type)]  # they show what is there when read
    before = [{key: value for key, value in vars(owner).items() if _counts(owner, key, value)} for owner in owners]
    methods = [
        (vars(owner).get, key) for owner, known in zip(owners, before, strict=True) if isinstance(owner, type) for key in known
    ]
    classes = [vars(owner) for owner in owners if isinstance(owner, type)]

    def everything() -> list[Any]:
        found = list(itertools.chain.from_iterable(views))
        found += [get(key) for get, key in methods]
        found += map(len, classes)
        return found

    seen = everything()

    def replaced() -> Iterator[tuple[Any, str, Any]]:
        """Yield owner, name and what was there: `_NOTHING` if a class has a method now that it inherited."""
        for owner, known in zip(owners, before, strict=True):
            now = vars(owner)
            if not all(map(is_, map(now.get, known), known.values())):
                yield from ((owner, key, value) for key, value in known.items() if not _is_still(value, now.get(key)))
            if isinstance(owner, type) and len(now) > len(known):
                more = [key for key in now if key not in known and _counts(owner, key, now[key])]
                yield from ((owner, key, _NOTHING) for key in more if any(key in vars(base) for base in owner.__mro__[1:]))

    def read() -> bool:
        nonlocal seen
        now = everything()
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

    return read, restore


def _owners(modules: Sequence[str]) -> Iterable[ModuleType | type]:
    for name in modules:
        module = sys.modules.get(name)
        if module is not None:
            yield module
            top = name.partition(".")[0]
            for value in list(vars(module).values()) if name in _WITH_CLASSES else ():
                if isinstance(value, type) and value.__flags__ & _HEAP and value.__module__.partition(".")[0] == top:
                    yield value
            if name == "torch":
                yield module.Tensor


def _is_still(before: object, now: object) -> bool:
    """Return whether a function is what it was: the first optimizer of a class wraps the `step` of the class."""
    return now is before or (getattr(now, "hooked", False) is True and getattr(now, "__wrapped__", None) is before)


def _same(now: list[Any], seen: list[Any]) -> bool:
    try:
        return now == seen
    except Exception:  # a value that is new and cannot be compared, such as an array
        return False


_NOTHING = object()
_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: others cannot be changed


def _counts(owner: ModuleType | type, key: str, value: object) -> bool:
    if isinstance(owner, type):
        return key in _OF_CLASSES
    return callable(value) and not key.startswith("_")
