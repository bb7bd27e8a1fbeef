"""Find the user's objective: `locate` reads its source, `load` imports it.

`locate` runs no code of the user's, so that `sweep plan` is fast even if the objective imports torch. A worker calls `load`.

A program may also pass a function itself. A function that a module has under its name is an ordinary `module:function`. Any other
(of a script or notebook, a lambda, a closure) is sent to the workers by value and recorded as `__main__:its_name`, which
identifies the function and cannot be confused with a module's.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from sweep.errors import SweepError, did_you_mean
from sweep.study.code.syntax import parsed
from sweep.study.signature import names_in, why_unfit

_BY_VALUE = "__main__:"


class ObjectiveNotFound(Exception):
    """The objective does not exist; the message says which part is missing, and what to write instead."""


def locate(reference: str, import_dir: str) -> None:
    """Check that the module exists and defines the function, without importing anything.

    Args:
        reference: `package.module:function`.
        import_dir: the study file's folder, searched before the installed packages.

    Raises:
        ObjectiveNotFound: the module or the function does not exist.
    """
    module, _, function = reference.partition(":")
    if is_by_value(reference):
        raise ObjectiveNotFound(f"{function} is a function that a Python program gave to sweep.run; only that program has it")
    whole, *inner = module.split(".")
    spec = _top_level(whole, import_dir)
    if spec is None:
        where = f"in {import_dir}, in the working directory or among the installed packages"
        raise ObjectiveNotFound(f"there is no module {whole!r} {where}")
    for part in inner:
        whole = f"{whole}.{part}"
        # By its last name: with the whole one a mere folder would have to be imported first.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations or []))
        if spec is None:
            raise ObjectiveNotFound(f"there is no module {whole!r}")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return  # compiled or generated: only an import shows its names
    try:
        tree = parsed(Path(spec.origin).read_bytes())
    except SyntaxError as error:
        raise ObjectiveNotFound(f"{spec.origin}:{error.lineno}: {error.msg}") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise ObjectiveNotFound(f"{spec.origin} is no Python source: {error}") from None
    names = set(names_in(ast.walk(tree)))  # and some that it may not define
    if function not in names and "*" not in names and "__getattr__" not in names:
        public = sorted(name for name in names if not name.startswith("_"))
        raise ObjectiveNotFound(f"module {module!r} has no {function!r}; {did_you_mean(function, public)}")
    if reason := why_unfit(tree, function):
        raise ObjectiveNotFound(reason)


def suggests(reference: str, import_dir: str) -> bool:
    """Return whether the files of an objective that `locate` has found say that it suggests its own parameters."""
    from sweep.study.code.suggesting import files_suggest  # slow to import

    return files_suggest(reference.partition(":")[0], import_dir, _own_path(import_dir))


def load(reference: str, import_dir: str) -> Callable[..., Any]:
    """Import the objective.

    Raises:
        ObjectiveNotFound: the module has no such function, or it is not callable.
        Exception: the import of the module raised it.
    """
    if conflict := _name_conflict(Path(import_dir)):
        raise ObjectiveNotFound(conflict)
    own = _own_path(import_dir)
    sys.path[:] = dict.fromkeys([*own, *sys.path])
    module_name, _, function = reference.partition(":")
    module = _imported_anew(module_name, import_dir)
    found = getattr(module, function, None)
    if found is None:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise ObjectiveNotFound(f"module {module_name!r} has no {function!r}; {did_you_mean(function, public)}")
    if not callable(found):
        raise ObjectiveNotFound(f"{reference} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]  # getattr knows no types


def is_own(file: str | None, folder: str) -> bool:
    """Return whether a module's file is the user's in a study's folder, given without links; a package installed there is not."""
    if file is None or not Path(file).is_absolute():  # torch.classes has a name that is no path
        return False
    return "site-packages" not in file and os.path.realpath(file).startswith(folder + os.sep)


# Of the last call of `load` in this process: its folder, and the modules that were there before it.
_last: tuple[str, frozenset[str]] | None = None


def _imported_anew(name: str, import_dir: str) -> ModuleType:
    """Import a module, without what an earlier session in this process imported: another study's, or before it was edited."""
    global _last  # noqa: PLW0603  # as global as `sys.modules`, of which it tells
    if _last is not None:
        folder, before = _last
        for earlier in set(sys.modules) - before:
            if is_own(getattr(sys.modules[earlier], "__file__", None), folder):
                del sys.modules[earlier]
    top = name.partition(".")[0]
    ours, known = PathFinder.find_spec(top, [import_dir]), getattr(sys.modules.get(top), "__file__", None)
    running = top == __name__.partition(".")[0]  # this package stays the one that runs, also beside another copy of it
    if not running and ours is not None and ours.origin is not None and known is not None and not _same_file(known, ours.origin):
        for other in [one for one in sys.modules if one == top or one.startswith(f"{top}.")]:
            del sys.modules[other]  # another folder's, which this process has imported
    _last = os.path.realpath(import_dir), frozenset(sys.modules)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def is_by_value(reference: str) -> bool:
    """Return whether an objective was passed as a function that is in no module."""
    return reference.startswith(_BY_VALUE)


def reference_to(function: Callable[..., Any]) -> tuple[str, Path | None]:
    """Return the reference to a function, and the folder that its module was imported from; None for a function by value."""
    module, name = getattr(function, "__module__", None) or "__main__", getattr(function, "__qualname__", "")
    file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    if module != "__main__" and file and getattr(sys.modules.get(module), name, None) is function:
        path = Path(file).resolve()
        folder = path.parent.parent if path.stem == "__init__" else path.parent
        try:
            locate(f"{module}:{name}", str(folder))
            return f"{module}:{name}", folder
        except ObjectiveNotFound:  # made at run time
            pass
    plain = re.sub(r"\W", "", getattr(function, "__name__", type(function).__name__))
    return f"{_BY_VALUE}{plain or 'function'}", None


def packed(function: Callable[..., Any]) -> bytes:
    """Return a function by value, with everything that it uses from its script or notebook, for `pickle.loads`.

    Raises:
        SweepError: something that it uses cannot be sent to another process.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(function))
    except Exception as error:  # the __reduce__ of an object that it uses may raise anything
        raise SweepError(
            "objective-not-picklable",
            f"the function {getattr(function, '__name__', function)} cannot be sent to the workers: {error}",
            why="it uses something that only exists in this process, such as an open file, a lock or a generator",
            do="create that inside the function, or try it in this process:  sweep.run(..., inline=True)",
        ) from error


def _own_path(import_dir: str) -> list[str]:
    try:
        return [import_dir, str(Path.cwd())]
    except FileNotFoundError:  # the working directory was deleted
        return [import_dir]


def _name_conflict(folder: Path) -> str:
    """Return which file has the name of a module that Python and torch have imported already; empty if none has."""
    for path in sorted([*folder.glob("*.py"), *(init.parent for init in folder.glob("*/__init__.py"))]):
        module = sys.modules.get(path.stem)
        place = str(getattr(module, "__file__", None) or "")
        standard = path.stem in sys.stdlib_module_names
        if path.stem == "torch" and module is None:
            return f"{path} has the name of the installed package 'torch', which other packages need: rename it, and its imports"
        if module is not None and (standard or "site-packages" in place) and not place.startswith(str(path)):
            kind = "Python's own module" if standard else "the installed package"
            return f"{path} has the name of {kind} {path.stem!r}, which sweep needs: rename it, and its imports"
    return ""


def _top_level(name: str, import_dir: str) -> ModuleSpec | None:
    found = PathFinder.find_spec(name, _own_path(import_dir))
    try:
        return found or importlib.util.find_spec(name)  # a top-level name is found without importing anything
    except ValueError:
        return None  # such as __main__
