"""The files that a module or a script is made of: imports are followed to the user's own files, and no file is run.

An installed package is not read: its version stands for it. That is what lies in `site-packages` and belongs to a distribution;
an editable install is the user's own files. Of this package only the objectives count: its interface changes no result.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import machinery, metadata
from importlib.machinery import PathFinder
from pathlib import Path

from sweep.study.code.digest import digest_of
from sweep.study.code.named import EVERYTHING, Import, Named, by_shell
from sweep.study.code.syntax import Syntax, exported, parsed, syntax_of

_LARGEST_TREE = 1 << 20  # a larger Python file is data: it counts by its bytes
_LARGEST_READ = 64 << 20  # of a larger file count the size, its beginning and its end
INSTALLED = frozenset({"site-packages", "dist-packages"})
_SHEBANG = re.compile(rb"#![^\n]*python")
_SUFFIXES = (".py", *machinery.EXTENSION_SUFFIXES)
_OWN = "sweep"
_TRAINS = ("sweep.objectives", "sweep.lightning")


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Where a module is: its file, None for a namespace; the folders of its submodules; whether it is looked into."""

    file: Path | None = None
    folders: tuple[str, ...] = ()
    followed: bool = True


class Modules:
    """Collect the files and packages of modules.

    Args:
        folder: the study file's folder; the paths of files are relative to it.
        path: where modules are looked for, before the installed ones.

    Attributes:
        files, packages: as of `sweep.study.code.digest.Code`.
    """

    def __init__(self, folder: Path, path: Sequence[str]) -> None:
        self._folder, self._path = folder, list(path)
        self.files: dict[str, str] = {}
        self.packages: dict[str, str] = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
        self._found = functools.cache(self._find)
        self._left: list[tuple[Import, str]] = []
        self._labels: dict[str, Path] = {}
        self._seen: set[Import] = set()

    def add_module(self, name: str, names: tuple[str, ...] = ()) -> None:
        """Add a module, some of its submodules, and everything that they import."""
        self._left.append((Import(module=name, names=names), ""))
        self._follow()

    def add_imports(self, imports: Iterable[Import]) -> None:
        """Add what these imports import."""
        self._left.extend((item, "") for item in imports)
        self._follow()

    def add_named(self, named: Named) -> None:
        """Add what a text of the user's names that is in no file."""
        self._named(named, self._folder, "")
        self._follow()

    def add_file(self, file: Path) -> None:
        """Add a file: a program."""
        self._add(file, self._label(file, file.name), "")
        self._follow()

    def file_of(self, name: str) -> Path | None:
        """Return the file of a module of the user's."""
        found = self._found(name)
        return found.file if found and found.followed else None

    @property
    def paths(self) -> list[Path]:
        """Return the files themselves."""
        return list(self._labels.values())

    def is_package(self, name: str) -> bool:
        """Return whether a module has submodules."""
        found = self._found(name)
        return bool(found and found.folders)

    def _follow(self) -> None:
        while self._left:  # without recursion, and each import once: modules may import each other
            item, package = self._left.pop()
            above = package.split(".")[: len(package.split(".")) - item.level + 1] if item.level and package else []
            name = ".".join([*above, item.module] if item.module else above)
            if (item.level and not above) or not name:
                continue
            whole = Import(module=name, names=item.names)
            if whole not in self._seen:
                self._seen.add(whole)
                self._module(name, item.names)

    def _module(self, name: str, names: tuple[str, ...]) -> None:
        if name.startswith(_TRAINS) or (name == _OWN and any(f"{name}.{one}" in _TRAINS for one in names)):
            self.packages[_OWN] = str(importlib.import_module(_OWN).__version__)
        parts = name.split(".")
        found = None
        for count in range(1, len(parts) + 1):
            whole = ".".join(parts[:count])
            found = self._found(whole)
            if found is None:
                return
            if found.file is not None and found.followed:
                package = whole if found.folders else whole.rpartition(".")[0]
                self._add(found.file, self._label(found.file, whole.replace(".", "/") + found.file.suffix), package)
        if found and found.folders:
            if "*" in names and found.file is not None and found.followed and (tree := tree_of(found.file)):
                names = (*names, *exported(tree))
            for one in names:
                if one == EVERYTHING:
                    self._left += [(Import(module=f"{name}.{inner}", names=names), "") for inner in _submodules(found.folders)]
                elif one != "*":
                    self._left.append((Import(module=f"{name}.{one}"), ""))

    def _find(self, name: str) -> _Found | None:
        parent, _, last = name.rpartition(".")
        if parent:
            above = self._found(parent)
            return above and self._inside(above, name, last)
        if name == _OWN:
            return _Found(followed=False)
        spec = PathFinder.find_spec(name, self._path)
        if (spec is None or spec.origin is None) and name not in sys.stdlib_module_names:  # a mere folder comes after a module
            with contextlib.suppress(ValueError):  # such as __main__
                spec = importlib.util.find_spec(name) or spec  # a top-level name is found without importing anything
        if spec is None or spec.origin in ("built-in", "frozen"):
            return None
        folders = tuple(spec.submodule_search_locations or ())
        file = Path(spec.origin) if spec.origin is not None and spec.has_location else None
        return self._judged(file, folders)

    def _inside(self, above: _Found, name: str, last: str) -> _Found | None:
        if not above.followed:
            return None
        for folder in above.folders:
            package = Path(folder, last)
            for file in (
                *(package / f"__init__{suffix}" for suffix in _SUFFIXES),
                *(Path(folder, last + end) for end in _SUFFIXES),
            ):
                if file.is_file():
                    return self._judged(file, (str(package),) if file.parent == package else ())
        folders = tuple(str(Path(folder, last)) for folder in above.folders if Path(folder, last).is_dir())
        return self._judged(None, folders) if folders else None

    def _judged(self, file: Path | None, folders: tuple[str, ...]) -> _Found:
        """Return a module, which is not looked into if its version stands for it."""
        place = os.fspath(file) if file is not None else ""
        if file is None or INSTALLED.isdisjoint(file.parts):
            return _Found(file=file, folders=folders)
        if (found := _distribution(place)) is None:
            return _Found(file=file, folders=folders)
        self.packages[found[0]] = found[1]
        return _Found(file=file, folders=folders, followed=False)

    def _add(self, file: Path, label: str, package: str) -> None:
        if self._labels.setdefault(label, file) != file:  # outside the folder: two files with one name
            label = os.path.relpath(file, self._folder)
        if label in self.files:
            return
        try:
            self.files[label], syntax = _read(file)
        except OSError:  # a link to nowhere, or a file that may not be read: the import will say so
            return
        if syntax is not None:
            self._left += [(item, package) for item in syntax.imports]
            self._named(syntax.named, file.parent, package)
        elif file.suffix not in _SUFFIXES:
            self._named(_named_in(file), file.parent, package)

    def _named(self, named: Named, folder: Path, package: str) -> None:
        """Add what a text names; a path is relative to its own folder, or to the study's."""
        found = [base / one for one in named.folders if "\0" not in one for base in (folder, self._folder)]
        programs = [base / one for one in named.programs if "\0" not in one for base in (self._folder, folder)]
        programs = [path for path in programs if os.path.isfile(path)]  # noqa: PTH113  # no error where it may not be read
        self._search([*found, *(path.parent for path in programs if path.suffix == ".py")])
        for path in programs:
            self._add(path, self._label(path, path.name), "")
        for item in named.modules:
            if item.level or PathFinder.find_spec(item.module.partition(".")[0], self._path) is not None:
                self._left.append((item, package))

    def _search(self, folders: Iterable[Path]) -> None:
        """Look for modules in these folders too: also for those that have been looked for."""
        new = {os.path.normpath(folder): None for folder in folders if os.path.isdir(folder)}  # noqa: PTH112  # see above
        more = [folder for folder in new if folder not in self._path]
        if more:
            self._path += more
            self._found.cache_clear()
            self._left += [(item, "") for item in self._seen]
            self._seen.clear()

    def _label(self, file: Path, outside: str) -> str:
        inside = os.path.relpath(file, self._folder)
        return outside if inside.startswith("..") else Path(inside).as_posix()


def _read(file: Path) -> tuple[str, Syntax | None]:
    """Return a file's digest, and its syntax if it is Python.

    Raises:
        OSError: it cannot be read.
    """
    size = file.stat().st_size
    if size > _LARGEST_READ:
        with file.open("rb") as opened:
            first = opened.read(1 << 20)
            opened.seek(-(1 << 20), os.SEEK_END)
            return digest_of(b"%d" % size + first + opened.read()), None
    text = file.read_bytes()
    if (file.suffix == ".py" or _SHEBANG.match(text)) and size <= _LARGEST_TREE and (tree := _parsed(text)):
        syntax = syntax_of(tree)
        return syntax.digest, syntax
    return digest_of(text), None


def _named_in(file: Path) -> Named:
    """Return what a program that is no Python names."""
    if file.stat().st_size > _LARGEST_TREE or b"\0" in (text := file.read_bytes()):
        return Named()
    return by_shell(text.decode(errors="replace"))


def _submodules(folders: Iterable[str]) -> Iterator[str]:
    """Yield the names of all modules in a package's folders."""
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                yield path.stem


def tree_of(file: Path) -> ast.Module | None:
    """Return a file's syntax; None if it cannot be read or is no Python."""
    try:
        return _parsed(file.read_bytes())
    except OSError:
        return None


def _parsed(text: bytes) -> ast.Module | None:
    try:
        return parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.cache
def _distribution(file: str) -> tuple[str, str] | None:
    """Return the name and version of the distribution that an installed file belongs to; None for the user's own files."""
    place = next(index for index, part in reversed([*enumerate(Path(file).parts)]) if part in INSTALLED)
    site, inside = Path(*Path(file).parts[: place + 1]), Path(*Path(file).parts[place + 1 :])
    top = inside.parts[0].partition(".")[0]
    found = _named(site, top) or _owning(site, inside.as_posix())
    if found is None:
        return None
    try:
        editable = json.loads(found.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable")
    except (ValueError, AttributeError):
        editable = False
    return None if editable else (str(found.metadata["Name"] or top), found.version or "unknown")


def _named(site: Path, top: str) -> metadata.Distribution | None:
    """Return the distribution with a module's name: most have it."""
    return next(iter(metadata.distributions(name=top, path=[str(site)])), None)


def _owning(site: Path, inside: str) -> metadata.Distribution | None:
    """Return the distribution whose list of files has this one."""
    line = inside.encode()
    for record in site.glob("*.dist-info/RECORD"):
        text = record.read_bytes()
        if text.startswith(line + b",") or b"\n" + line + b"," in text:
            return metadata.Distribution.at(record.parent)
    names = metadata.packages_distributions().get(inside.partition("/")[0].partition(".")[0], ())
    return metadata.distribution(names[0]) if names else None
