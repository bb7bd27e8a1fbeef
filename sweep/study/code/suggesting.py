"""Whether code is written for Optuna: only an objective for Optuna calls `suggest_float` and the like of its trial.

A function's own code tells, with the functions of the user's that it names, by bytecode: a model is often made in a function
beside the objective. Before anything is imported, the text of the user's files has to do.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from sweep.study.code.modules import INSTALLED, Modules

_METHODS = frozenset(f"suggest_{kind}" for kind in ("float", "int", "categorical", "uniform", "loguniform", "discrete_uniform"))
_CALL = re.compile(rb"\bsuggest_(float|int|categorical|uniform|loguniform|discrete_uniform)\b")
_MOST = 1_000  # functions that are looked into


def calls_suggest(function: Callable[..., Any]) -> bool:
    """Return whether a function, or one that it names, calls a method `suggest_...`."""
    left: list[Any] = [function]
    known: dict[int, Any] = {}  # by id; the object is kept, so that the id stays its own
    while left and len(known) < _MOST:
        one = left.pop()
        if id(one) in known:
            continue
        known[id(one)] = one
        match one:
            case functools.partial():
                left.append(one.func)
            case MethodType():
                left += [one.__func__, type(one.__self__)]
            case FunctionType():
                names = {name for code in _all(one.__code__) for name in code.co_names}
                if not _METHODS.isdisjoint(names):
                    return True
                left += [other for other in _named(one, names) if _is_own(other, function)]
            case type():
                parts = (getattr(part, "__func__", None) or getattr(part, "fget", None) or part for part in vars(one).values())
                left += [part for part in parts if isinstance(part, FunctionType)]
                left += [base for base in one.__bases__ if _is_own(base, function)]
            case _ if not isinstance(one, ModuleType):
                left.append(type(one))  # an object that is called
    return False


def files_suggest(module: str, import_dir: str, path: list[str]) -> bool:
    """Return whether the files of a module, and those of the user's that it imports, name a method `suggest_...`.

    Args:
        module: the objective's.
        import_dir: the study file's folder.
        path: where modules are looked for, before the installed ones.
    """
    modules = Modules(Path(import_dir), path)
    modules.add_module(module)
    own = modules.file_of(module)
    files = {*modules.paths, *([own] if own is not None else [])}
    return not files or any(map(_may_suggest, files))


def _may_suggest(file: Path) -> bool:
    try:
        return file.suffix != ".py" or _CALL.search(file.read_bytes()) is not None
    except OSError:  # the import will say what is wrong with it
        return True


def _named(function: FunctionType, names: set[str]) -> Iterator[Any]:
    """Yield the functions and classes of the user's that a function names; a module's by their names in it."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    known = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in cells.items():
        with contextlib.suppress(ValueError):  # it has no value yet
            known[name] = cell.cell_contents
    left = list(known.values())
    seen: set[int] = set()
    for value in left:
        if isinstance(value, ModuleType):
            if id(value) not in seen:  # `package.module.build` names the module too
                seen.add(id(value))
                left += [vars(value)[name] for name in names if name in vars(value)]
        elif isinstance(value, FunctionType | MethodType | type | functools.partial):
            yield value
        elif type(value).__module__ != "builtins":
            yield type(value)  # an object whose methods may be called


def _is_own(value: Any, function: Callable[..., Any]) -> bool:
    """Return whether a function or class is the user's: of the objective's own package, or of none that is installed."""
    module = str(getattr(value, "__module__", None))
    if module.partition(".")[0] == str(getattr(function, "__module__", None)).partition(".")[0]:
        return True
    place = str(getattr(sys.modules.get(module), "__file__", None) or "")
    return module == "__main__" or isinstance(value, functools.partial) or INSTALLED.isdisjoint(Path(place).parts)


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all(constant)
