"""The code of a study: of its objective, its command's script, or the function that a program passes."""

from __future__ import annotations

import ast
import itertools
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep.study.code.digest import Code
from sweep.study.code.function import FunctionCode
from sweep.study.code.modules import Modules, tree_of
from sweep.study.code.named import by_shell
from sweep.study.code.requirements import one_needs
from sweep.study.code.syntax import parsed, syntax_of
from sweep.study.command import PLACEHOLDER, program, text
from sweep.study.space import Domain, Numbers, Space, listed
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar

_HERE = Path(__file__).parent
_OBJECTIVES = "sweep.objectives"  # of this package, which `Modules` does not look into
# Files that a command's options name and that are code: an output file changes with each trial.
_SCRIPTS = (".py", ".sh")  # those count wherever they are
_MOST_WORDS = 500  # that a word with placeholders may become
_CODE_SUFFIXES = (*_SCRIPTS, ".yaml", ".yml", ".toml", ".json", ".ini", ".cfg", ".conf")


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
        return _command_code(study.command, study.parameters, folder)
    modules = Modules(folder, [study.import_dir, os.fspath(Path.cwd())])
    name, _, function = str(study.objective).partition(":")
    modules.add_module(name)
    file = modules.file_of(name)
    return Code(files=modules.files, packages=modules.packages, function=_function_digest(file, function) if file else None)


def uses_torch(study: StudySpec, code: Code, objective: Callable[..., Any] | None = None) -> bool:
    """Return whether the process of a trial is likely to import torch, by what its code imports; a script has its own process.

    Args:
        study, objective: as for `code_of`.
        code: what that returned.
    """
    if study.command is not None:
        return False
    if objective is not None and "torch" in sys.modules:  # what the function uses may hold tensors
        return True
    name = str(study.objective).partition(":")[0]
    if name.startswith(f"{_OBJECTIVES}.") and (tree := tree_of(_HERE.parent / f"{name.partition('.')[2].replace('.', '/')}.py")):
        return any(item.module.partition(".")[0] == "torch" for item in syntax_of(tree).imports)
    return one_needs(code.packages.keys() - {"python"}, "torch")


def _function_digest(file: Path, name: str) -> str | None:
    if (tree := tree_of(file)) is None:
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    return syntax_of(found[-1]).digest if found else None


def _command_code(words: Sequence[str], space: Space, folder: Path) -> Code:
    files = list(_files(words, space, folder))
    modules = Modules(
        folder, [*dict.fromkeys([*(os.fspath(file.parent) for file in files if file.suffix == ".py"), os.fspath(folder)])]
    )
    for before, word in itertools.pairwise(words):
        if before == "-m" and "${" not in word:
            modules.add_module(f"{word}.__main__" if modules.is_package(word) else word)
            break
        if before == "-c":
            _add_program(modules, word, python="python" in words[0])
            break
    for file in files:
        modules.add_file(file)
    # Another interpreter has packages of its own, which only it knows.
    started = shutil.which(program(words[0], folder)) or ""
    ours = Path(started).parent == Path(sys.executable).parent
    return Code(files=modules.files, packages=modules.packages if ours else {})


def _add_program(modules: Modules, code: str, *, python: bool) -> None:
    """Add what a program uses that is itself a word of the command."""
    if not python:
        modules.add_named(by_shell(code))
        return
    try:
        syntax = syntax_of(parsed(PLACEHOLDER.sub("0", code).encode("utf-8", "surrogatepass")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    modules.add_imports(syntax.imports)
    modules.add_named(syntax.named)


def _files(words: Sequence[str], space: Space, folder: Path) -> Iterator[Path]:
    """Yield the program or script, and files of code that the command's options name, for each value of a placeholder."""
    script = False
    for place, word in enumerate(words):
        if place == 0 and "/" not in word:
            continue
        found = False
        for one in _choices(word, space):
            name = one.partition("=")[2] if one.startswith("-") else one
            file = folder / name
            if name and os.path.isfile(file / "__main__.py") and not script:  # noqa: PTH113  # no error where it may not be read
                file = file / "__main__.py"
            if not name or not os.path.isfile(file):  # noqa: PTH113  # see above, or where the word is too long for a path
                continue
            if os.path.relpath(file, folder).startswith("..") and file.suffix not in _SCRIPTS:
                continue
            if not script and not word.startswith("-"):
                found = True
                yield file
            elif file.suffix in _CODE_SUFFIXES:
                yield file
        script |= found


def _choices(word: str, space: Space) -> Iterator[str]:
    """Yield what a word of a command may become; nothing if it names a range, or more than can be listed."""
    names = [*dict.fromkeys(PLACEHOLDER.findall(word))]
    values = [_values(space.get(name)) for name in names]
    if math.prod(map(len, values)) <= _MOST_WORDS:
        for chosen in itertools.product(*values):
            known = dict(zip(names, chosen, strict=True))
            yield PLACEHOLDER.sub(lambda match, known=known: text(known[match[1]]), word)  # type: ignore[misc]  # of this turn


def _values(domain: Domain | None) -> Sequence[Scalar]:
    return [] if domain is None or isinstance(domain, Numbers) else listed(domain)
