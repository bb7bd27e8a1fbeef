"""What a trial changes in the modules of the study's folder: a counter, a generator of random numbers, a model.

    counter = 0                      changed by a trial: the next one gets a new process
    data = None                      may be filled once, and lists and dicts may grow: a data set is kept for the next trial
    model = torch.nn.Linear(2, 1)    trained by a trial: the next one gets a new process

Each module is looked at when its import ends, also one that a trial imports.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from operator import is_
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from sweep.study.objective import is_own
from sweep.worker.object_state import state_of

_PLAIN = (bool, int, float, complex, str, bytes, frozenset)
_METHODS = (FunctionType, classmethod, staticmethod, property)
_PACKAGE = str(Path(__file__).parents[1])
_MOST = 100  # entries of a list or dict that are looked at: a longer one holds data
_DEPTH = 8  # of lists in dicts in modules
_MOST_DEEP = 200  # lists, dicts and objects that are deeper than a class's methods


class Modules:
    """The modules of a folder as they were when they had been imported; finds and loads them.

    Args:
        folder: installed packages in it are left out.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        self._folders = (self._folder, folder)
        self._namespaces: list[_Namespace] = []
        self._known: set[int] = set()
        self._deep = 0
        self._own_modules: dict[str, ModuleType | None] = {}
        for module in list(sys.modules.values()):
            if self._has(getattr(module, "__file__", None)):
                self.remember_module(module)
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Answer Python's import: for a module of the folder, with a loader that remembers what the import defined."""
        where = [entry for entry in (sys.path if path is None else path) if str(entry).startswith(self._folders)]
        if name in sys.builtin_module_names or not where or PathFinder.find_spec(name, where) is None:
            return None  # quickly, for most imports
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or not self._has(spec.origin):
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path, self)
        return spec

    def _has(self, file: str | None) -> bool:
        return is_own(file, self._folder) and not str(file).startswith(_PACKAGE)

    def close(self) -> None:
        """Take no part in imports any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def remember_module(self, module: ModuleType) -> None:
        """Remember a module that has just been imported."""
        self._own_modules[module.__name__] = sys.modules.get(module.__name__)  # it may have put something else there
        self.remember(module.__name__, vars(module))

    def remember(self, name: str, values: dict[str, Any]) -> None:
        """Remember the values of a module, or of what a function finds as its globals."""
        self._add(f"{name}.", values, lambda: values, 0)

    def remember_function(self, function: Any) -> None:
        """Remember what a function uses that is in no module of the folder: that of a script or notebook."""
        function = getattr(function, "__func__", function)
        if isinstance(function, FunctionType):
            self.remember(function.__module__ or "__main__", function.__globals__)
            self._add_function("", function, 0)
            self._add(f"{function.__name__}.", vars(function), lambda: vars(function), 1)

    def changed(self) -> list[str]:
        """Return the names of what has changed."""
        other = [name for name, module in self._own_modules.items() if sys.modules.get(name, module) is not module]
        return [name for namespace in self._namespaces for name in namespace.changed()] + other

    def _add(self, name: str, owner: object, read: Callable[[], Mapping[Any, Any]], depth: int, *, grows: bool = False) -> None:
        if id(owner) in self._known:
            return
        self._known.add(id(owner))
        self._namespaces.append(_Namespace(name, owner, read, grows=grows))
        self._deep += depth > 2
        for key, value in list(read().items()) if depth < _DEPTH and self._deep < _MOST_DEEP else ():
            if not str(key).startswith("__"):
                self._add_value(f"{name}{key}", value, depth + 1)

    def _add_value(self, name: str, value: Any, depth: int) -> None:
        name = f"{name}."
        if isinstance(value, dict) and len(value) <= _MOST:
            self._add(name, value, lambda: value, depth, grows=True)
        elif isinstance(value, (list, tuple, deque)) and len(value) <= _MOST:
            self._add(name, value, lambda: dict(enumerate(value)), depth, grows=True)
        elif isinstance(value, set) and len(value) <= _MOST:
            self._add(name, value, lambda: dict.fromkeys(value), depth, grows=True)
        elif isinstance(value, type) and self._is_own(value):
            self._add(name, value, lambda: vars(value), depth)
        elif isinstance(value, FunctionType) and self._is_own(value):
            self._add(name, value, lambda: vars(value), depth)
            self._add_function(name, value, depth)
        elif self._is_own(type(value)):
            slots = [slot for kind in type(value).__mro__ for slot in _names(vars(kind).get("__slots__", ()))]
            held = getattr(value, "__dict__", {})
            if slots:
                self._add(name, value, lambda: held | {key: getattr(value, key, None) for key in slots}, depth)
            else:
                self._add(name, value, lambda: getattr(value, "__dict__", {}), depth)

    def _add_function(self, name: str, function: FunctionType, depth: int) -> None:
        """Remember what a function keeps between calls: the variables around it, and defaults that can be changed."""
        if cells := function.__closure__:
            self._add(name, cells, lambda: dict(zip(function.__code__.co_freevars, map(_content, cells), strict=True)), depth)
        if kept := function.__defaults__:
            self._add_value(f"{name}defaults", kept, depth)
        if named := function.__kwdefaults__:
            self._add_value(f"{name}defaults", named, depth)

    def _is_own(self, defined: Any) -> bool:
        if defined in (SimpleNamespace, argparse.Namespace):
            return True
        module = sys.modules.get(getattr(defined, "__module__", None) or "")
        return self._has(getattr(module, "__file__", None))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, modules: Modules) -> None:
        super().__init__(name, path)
        self._modules = modules

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self._modules.remember_module(module)


class _Namespace:
    """Names with their values as they were.

    Args:
        owner: kept, so that no other object gets its identity.
        grows: whether new names are those of a cache.
    """

    def __init__(self, name: str, owner: object, read: Callable[[], Mapping[Any, Any]], *, grows: bool) -> None:
        self._name, self._owner, self._read, self._grows = name, owner, read, grows
        self._before = dict(read())
        self._seen = list(self._before.values())
        self._inside = [(key, state, state()) for key, value in self._before.items() if (state := state_of(value))]

    def changed(self) -> list[str]:
        names = [f"{self._name}{key}" for key, state, before in self._inside if state() != before]
        now = self._read()
        if len(now) == len(self._seen) and all(map(is_, now.values(), self._seen)):
            return names
        names += [f"{self._name}{key}" for key, value in now.items() if self._differs(key, value)]
        names += [f"{self._name}{key}" for key in self._before if key not in now]
        self._seen = list(now.values())
        return names

    def _differs(self, key: Any, value: Any) -> bool:
        if str(key).startswith("__") and not isinstance(value, FunctionType):
            return False
        if key not in self._before:
            of_class = isinstance(self._owner, type) and isinstance(value, _METHODS)
            return of_class or (isinstance(value, _PLAIN) and not self._grows)
        before = self._before[key]
        if before is value or before is None:  # None: filled once
            return False
        return type(value) is not type(before) or not isinstance(value, _PLAIN) or bool(value != before)


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(map(str, slots))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None
