"""A Python file as its syntax tree: its digest, and what it imports. A docstring, a comment or a line break is no difference."""

from __future__ import annotations

import ast
import functools
import warnings
from dataclasses import dataclass
from typing import Any

from sweep.study.code.digest import digest_of
from sweep.study.code.named import Import, Named, by_python

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})  # they follow from the rest, or have no effect
_IMPORTERS = frozenset({"import_module", "__import__"})
_LONGEST = 200  # a longer text names nothing


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """What counts of a piece of Python.

    Attributes:
        digest: of the tree.
        imports: in functions too, and those by name (`importlib.import_module("package")`).
        named: what else its texts name.
    """

    digest: str
    imports: tuple[Import, ...]
    named: Named


@functools.lru_cache(maxsize=1)  # the objective's module is parsed to find the function, then again here
def parsed(text: bytes) -> ast.Module:
    """Parse a file; its encoding is what it says itself.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is no Python, or too deep.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes: whoever imports the file is told
        return ast.parse(text)


def syntax_of(tree: ast.AST) -> Syntax:
    """Return what counts of a tree."""
    written: list[str] = []
    imports: list[Import] = []
    texts: dict[str, None] = {}
    words: set[str] = set()
    changes_path = False
    only_checked: set[int] = set()  # imports that only a type checker does
    left: list[Any] = [tree]
    while left:  # without recursion: a sum of thousands of terms is a deep tree
        item = left.pop()
        if isinstance(item, list):
            kept = [one for one in item if not _without_effect(one)]
            written.append(f"[{len(kept)}")
            left.extend(reversed(kept))
        elif isinstance(item, ast.AST):
            written.append(type(item).__name__)
            left.extend(getattr(item, name, None) for name in reversed(item._fields) if name not in _IGNORED)
            if isinstance(item, ast.Constant) and isinstance(item.value, str) and len(item.value) < _LONGEST:
                texts[item.value] = None
            changes_path |= isinstance(item, ast.Attribute) and item.attr == "path" and _name(item.value) == "sys"
            if isinstance(item, ast.If) and _name(item.test) == "TYPE_CHECKING":
                only_checked.update(id(node) for statement in item.body for node in ast.walk(statement))
            elif id(item) not in only_checked:
                imports.extend(_imports(item))
        else:
            # A number of thousands of digits cannot be written in decimal; other characters depend on Python's version.
            written.append(hex(item) if type(item) is int else ascii(item))
            if isinstance(item, str):
                words.add(item)
    named = by_python(texts, words, changes_path=changes_path or "addsitedir" in words)
    return Syntax(digest=digest_of("\n".join(written)), imports=tuple(imports), named=named)


def exported(tree: ast.Module) -> list[str]:
    """Return the texts of a module's `__all__`."""
    lists = [
        node.value
        for node in tree.body
        if (isinstance(node, ast.Assign) and "__all__" in map(_name, node.targets))
        or (isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value and _name(node.target) == "__all__")
    ]
    return [
        one.value
        for item in lists
        if item
        for one in ast.walk(item)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def _without_effect(item: Any) -> bool:
    return isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _imports(node: ast.AST) -> list[Import]:
    match node:
        case ast.Import():
            return [Import(module=alias.name) for alias in node.names]
        case ast.ImportFrom():
            return [Import(module=node.module or "", names=tuple(alias.name for alias in node.names), level=node.level)]
        case ast.Call(func=called, args=[ast.Constant(value=str(name)), *others]) if _name(called) in _IMPORTERS:
            above = [*others, *(one.value for one in node.keywords if one.arg == "package")]
            level = len(name) - len(name.lstrip("."))
            if level and above and isinstance(above[0], ast.Constant) and isinstance(above[0].value, str):
                package = above[0].value.split(".")
                return [Import(module=".".join([*package[: len(package) - level + 1], name.lstrip(".")]))]
            return [Import(module=name.lstrip("."), level=level)]
    return []


def _name(node: ast.AST) -> str | None:
    """Return a name, or the last part of a dotted one."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
