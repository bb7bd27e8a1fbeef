"""The code of a study: of its objective, its command's script, or the function that a program passes."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep.study.code.digest import Code
from sweep.study.code.function import FunctionCode
from sweep.study.code.modules import Modules, tree_of
from sweep.study.code.syntax import syntax_of
from sweep.study.command import program
from sweep.study.spec import StudySpec

# Files that a command's options name and that are code: an output file changes with each trial.
_CODE_SUFFIXES = (".py", ".sh", ".yaml", ".yml", ".toml", ".json", ".ini", ".cfg", ".conf")


def code_of(study: StudySpec, objective: Callable[..., Any] | None = None) -> Code:
    """Return what trains a study's trials today; nothing of it is run.

    Args:
        study: names the objective or the command.
        objective: the function itself, when it is in no module.
    """
    folder = Path(study.import_dir)
    if objective is not None:
        modules = Modules(folder, [study.import_dir, os.fspath(Path.cwd())])
        found = FunctionCode(objective, modules)
        return Code(files=modules.files, packages=modules.packages, parts=found.parts, function=found.function)
    if study.command is not None:
        return _command_code(study.command, folder)
    modules = Modules(folder, [study.import_dir, os.fspath(Path.cwd())])
    name, _, function = str(study.objective).partition(":")
    modules.add_module(name)
    file = modules.file_of(name)
    return Code(files=modules.files, packages=modules.packages, function=_function_digest(file, function) if file else None)


def _function_digest(file: Path, name: str) -> str | None:
    if (tree := tree_of(file)) is None:
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    return syntax_of(found[-1]).digest if found else None


def _command_code(words: Sequence[str], folder: Path) -> Code:
    files = list(_files(words, folder))
    modules = Modules(
        folder, [*dict.fromkeys([*(os.fspath(file.parent) for file in files if file.suffix == ".py"), os.fspath(folder)])]
    )
    for place, word in enumerate(words[:-1]):
        if word == "-m" and "${" not in words[place + 1]:
            name = words[place + 1]
            modules.add_module(f"{name}.__main__" if modules.is_package(name) else name)
            break
    for file in files:
        modules.add_file(file)
    # Another interpreter has packages of its own, which only it knows.
    started = shutil.which(program(words[0], folder)) or ""
    ours = Path(started).parent == Path(sys.executable).parent
    return Code(files=modules.files, packages=modules.packages if ours else {})


def _files(words: Sequence[str], folder: Path) -> Iterator[Path]:
    """Yield the command's files in the study's folder: the program or script, and files of code that its options name."""
    script = False
    for place, word in enumerate(words):
        if "${" in word or (place == 0 and "/" not in word):
            continue
        name = word.partition("=")[2] if word.startswith("-") else word
        file = folder / name
        if name and file.is_dir() and (file / "__main__.py").is_file() and not script:
            file = file / "__main__.py"
        if not name or not file.is_file() or os.path.relpath(file, folder).startswith(".."):
            continue
        if not script and not word.startswith("-"):
            script = True
            yield file
        elif file.suffix in _CODE_SUFFIXES:
            yield file
