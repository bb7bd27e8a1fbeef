"""What a trial changes in the modules of the study's folder: a counter, a generator of random numbers, a model.

    counter = 0                      changed by a trial: the next one gets a new process
    data = None                      may be filled once, and lists and dicts may grow: a data set is kept for the next trial
    model = torch.nn.Linear(2, 1)    trained by a trial: the next one gets a new process

Each module is looked at when its import ends, also one that a trial imports.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from operator import is_
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from sweep.study.objective import is_own

_PLAIN = (bool, int, float, complex, str, bytes, frozenset)
_PACKAGE = str(Path(__file__).parents[1])
_MOST = 100  # entries of a list or dict that are looked at: a longer one holds data
_DEPTH = 2  # of lists in dicts in modules


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
        for module in list(sys.modules.values()):
            if self._has(getattr(module, "__file__", None)):
                self.remember(module.__name__, vars(module))
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

    def remember(self, name: str, values: dict[str, Any]) -> None:
        """Remember the values of a module, or of what a function finds as its globals."""
        self._add(f"{name}.", values, lambda: values, 0)

    def remember_function(self, function: Any) -> None:
        """Remember what a function uses that is in no module of the folder: that of a script or notebook."""
        function = getattr(function, "__func__", function)
        if isinstance(function, FunctionType):
            self.remember(function.__module__ or "__main__", function.__globals__)
            cells = function.__closure__ or ()
            self._add("", cells, lambda: dict(zip(function.__code__.co_freevars, map(_content, cells), strict=True)), 0)
            self._add(f"{function.__name__}.", vars(function), lambda: vars(function), 1)

    def changed(self) -> list[str]:
        """Return the names of what has changed."""
        return [name for namespace in self._namespaces for name in namespace.changed()]

    def _add(self, name: str, owner: object, read: Callable[[], Mapping[Any, Any]], depth: int, *, grows: bool = False) -> None:
        if id(owner) in self._known:
            return
        self._known.add(id(owner))
        self._namespaces.append(_Namespace(name, owner, read, grows=grows))
        for key, value in list(read().items()) if depth < _DEPTH else ():
            if not str(key).startswith("__"):
                self._add_value(f"{name}{key}", value, depth + 1)

    def _add_value(self, name: str, value: Any, depth: int) -> None:
        if isinstance(value, dict) and len(value) <= _MOST:
            self._add(f"{name}.", value, lambda: value, depth, grows=True)
        elif isinstance(value, list) and len(value) <= _MOST:
            self._add(f"{name}.", value, lambda: dict(enumerate(value)), depth, grows=True)
        elif (isinstance(value, (type, FunctionType)) and self._is_own(value)) or self._is_own(type(value)):
            self._add(f"{name}.", value, lambda: getattr(value, "__dict__", {}), depth)

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
        self._modules.remember(module.__name__, vars(module))


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
        self._inside = [(key, state, state()) for key, value in self._before.items() if (state := _state_of(value))]

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
        if str(key).startswith("__"):
            return False
        if key not in self._before:
            return isinstance(value, _PLAIN) and not self._grows
        before = self._before[key]
        if before is value or before is None:  # None: filled once
            return False
        return type(value) is not type(before) or not isinstance(value, _PLAIN) or bool(value != before)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


def _state_of(value: Any) -> Callable[[], Any] | None:
    """Return a function that returns what changes inside an object when it is used; None where that is nothing, or data."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if isinstance(value, random.Random):
        return value.getstate
    if isinstance(value, itertools.count):
        return lambda: repr(value)
    if numpy and isinstance(value, numpy.random.Generator):
        return lambda: repr(value.bit_generator.state)
    if numpy and isinstance(value, numpy.random.RandomState):
        return lambda: repr(value.get_state())
    if torch and isinstance(value, torch.Generator):
        return lambda: value.get_state().tolist()
    if torch and isinstance(value, torch.Tensor):
        return lambda: (value._version, value.requires_grad, value.grad is None)
    if torch and isinstance(value, torch.nn.Module):
        return lambda: [(one._version, one.grad is None) for one in value.state_dict(keep_vars=True).values()] + [value.training]
    if torch and isinstance(value, torch.optim.Optimizer):
        return lambda: [len(value.state), *(group.get("lr") for group in value.param_groups)]
    return None
