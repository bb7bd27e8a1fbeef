"""What a function without source does, as text; and which names any function uses.

Line numbers, the file's name, docstrings and instructions without effect are left out.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

_WITHOUT_EFFECT = frozenset({"NOP", "RESUME", "CACHE", "EXTENDED_ARG"})
_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
# Methods that change their object in place.
_CHANGES = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "put",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
        "write",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Uses:
    """The names that a function uses from outside: those it reads, those that it changes too, and modules that it imports."""

    names: tuple[str, ...]
    changed: frozenset[str]
    imports: tuple[str, ...]


def text_of(code: CodeType) -> str:
    """Return what a function does, in the words of this version of Python."""
    kept = [one for one in dis.get_instructions(code) if one.opname not in _WITHOUT_EFFECT]
    places = {one.offset: place for place, one in enumerate(kept)}
    jumps = {*dis.hasjrel, *dis.hasjabs}
    flags = code.co_flags & 0xFF
    lines = [
        f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {flags} {code.co_varnames} {code.co_freevars}"
    ]
    for one in kept:
        if one.opcode in jumps:
            target = min((place for offset, place in places.items() if offset >= one.argval), default=len(kept))
            lines.append(f"{one.opname} to {target}")
        else:
            lines.append(f"{one.opname} {_constant(one.argval)}")
    return "\n".join(lines)


def uses_of(code: CodeType) -> Uses:
    """Return the names that a function, and the functions inside it, use from outside."""
    names: dict[str, None] = {}
    imports: dict[str, None] = {}
    changed: set[str] = set()
    for inner in _all(code):
        read: str | None = None
        for one in dis.get_instructions(inner):
            if one.opname in _READS:
                read = str(one.argval)
                names[read] = None
            elif one.opname in _ATTRIBUTES:
                if read is not None and one.argval in _CHANGES:
                    changed.add(read)
            else:
                if one.opname in ("STORE_GLOBAL", "STORE_DEREF", "DELETE_GLOBAL"):
                    changed.add(str(one.argval))
                elif one.opname == "STORE_ATTR" and read is not None:
                    changed.add(read)
                elif one.opname == "IMPORT_NAME":
                    imports[str(one.argval)] = None
                read = None
    return Uses(names=tuple(names), changed=frozenset(changed), imports=tuple(imports))


def _all(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all(constant)


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return f"({text_of(value)})"
    if isinstance(value, frozenset):
        return f"set({sorted(map(_constant, value))})"
    if isinstance(value, tuple):
        return f"tuple({[*map(_constant, value)]})"
    return hex(value) if type(value) is int else ascii(value)
