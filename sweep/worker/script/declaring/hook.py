"""What happens when Python starts: the libraries that read arguments are changed right after their import."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
from typing import Any

from .answer import State
from .argparse_options import on_argparse, on_tyro
from .click_options import on_click, on_typer
from .configurations import on_hydra, on_wandb

_CHANGES = {
    "argparse": on_argparse,
    "click.core": on_click,
    "hydra": on_hydra,
    "typer": on_typer,
    "tyro": on_tyro,
    "wandb": on_wandb,
}


def begin(folder: str) -> None:
    """Change the libraries.

    Args:
        folder: where the answer goes; it is on the path of imports, from which it is taken.
    """
    State.folder, State.process = folder, os.getpid()
    environment = os.environ
    others = [one for one in environment.pop("PYTHONPATH", "").split(os.pathsep) if one and one != folder]
    if others:
        environment["PYTHONPATH"] = os.pathsep.join(others)  # what the program starts is not asked
    sys.path[:] = [one for one in sys.path if one != folder]
    sys.meta_path.insert(0, _Finder())
    for name in [one for one in _CHANGES if one in sys.modules]:
        _CHANGES.pop(name)(sys.modules[name])
    own = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if own is not None and own.loader is not None:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(own)
        own.loader.exec_module(module)


class _Finder:
    """Change a module right after its import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _CHANGES:
            return None
        change = _CHANGES.pop(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            with contextlib.suppress(AttributeError):  # a module of the user's own that has the library's name
                change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
