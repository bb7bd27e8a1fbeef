"""Modules, programs and folders that a text names without an import statement: `import_module(f"models.{name}")`, a shell script.

What is named need not exist; `sweep.study.code.modules` keeps what is the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

EVERYTHING = "**"  # among the names of an import: all submodules
_IMPORTERS = frozenset(
    [
        "import_module",
        "__import__",
        "run_module",
        "iter_modules",
        "walk_packages",
        "locate",
        "resolve_name",
        "import_string",
        "-m",
    ]
)
_UPWARDS = frozenset({"..", "parent", "parents", "dirname", "pardir"})
_DOTTED = re.compile(r"(\.*)(\w+(?:\.\w+)*)?(.*)", re.DOTALL)
_PROGRAM = re.compile(r"(?:\$\{?\w+\}?/)?([\w./+-]+\.(?:py|sh))\b")
_MODULE = re.compile(r"\s-m\s+([A-Za-z_][\w.]*)")
_FOLDERS = re.compile(r"(?:\bcd\s+|PYTHONPATH=|--chdir[= ]|\s-C\s+)[\"']?([\w./:+-]+)")


@dataclass(frozen=True, kw_only=True)
class Import:
    """An import: `from ..package import names` has two levels; `import package` has no names."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a text names.

    Attributes:
        modules: those that it may import, if they are the user's own.
        programs: those that it may run.
        folders: those that it may import from.
    """

    modules: tuple[Import, ...] = ()
    programs: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def by_python(texts: Collection[str], words: Collection[str], *, changes_path: bool) -> Named:
    """Return what Python's code names in its texts.

    Args:
        texts: its strings.
        words: its strings, names and attributes.
        changes_path: whether it mentions `sys.path`.
    """
    programs = tuple(text for text in texts if text.endswith((".py", ".sh")))
    modules = tuple(_modules(texts)) if not _IMPORTERS.isdisjoint(words) else ()
    folders = ("", *texts) if changes_path else ()
    above = tuple(f"../{folder}" for folder in folders) if not _UPWARDS.isdisjoint(words) else ()
    return Named(modules=modules, programs=programs, folders=(*folders, *above))


def by_shell(text: str) -> Named:
    """Return what a shell script names; `"$HERE/train.py"` is a file of some folder of its own."""
    folders = [folder for found in _FOLDERS.findall(text) for folder in found.split(":") if folder]
    programs = dict.fromkeys(found.lstrip("/") for found in _PROGRAM.findall(text))
    inside = [f"{folder}/{program}" for folder in folders for program in programs]
    modules = tuple(Import(module=found, names=("__main__",)) for found in _MODULE.findall(f" {text}"))
    return Named(modules=modules, programs=(*programs, *inside), folders=tuple(folders))


def _modules(texts: Iterable[str]) -> Iterator[Import]:
    """Yield what an import by name may mean: `models.a`, all of `models` for `models.{name}`, all of its own package for `.`."""
    anywhere = False
    named = []
    for text in texts:
        dots, name, rest = (part or "" for part in _DOTTED.fullmatch(text).groups())  # type: ignore[union-attr]  # always matches
        whole = bool(rest) and rest[0] in ".{%"  # the name goes on with what is computed
        if whole and rest[0] != ".":
            name = name.rpartition(".")[0]
        anywhere |= bool(dots) and not name
        if (name and not rest) or whole or (dots and not name and not rest):
            names = (EVERYTHING,) if whole or not name else ("__main__",)
            named.append(Import(module=name, names=names, level=len(dots)))
    yield from named
    if anywhere:  # `import_module("." + name, "models")`
        yield from (Import(module=one.module, names=(EVERYTHING,)) for one in named if one.module and not one.level)
