"""The study file, or a dict, as plain data with the line of each key and with overrides applied."""

from __future__ import annotations

import enum
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep.errors import Problem, did_you_mean
from sweep.study.file.document import MOST_NODES, Node, NotYaml, parse, shortened

KeyPath = tuple[str | int, ...]
# `key=value` words of the command line, or keys with Python's values.
Overrides = Sequence[str] | Mapping[str, Any]

_LONGEST_KEY = 200  # in messages
# Words that count as booleans elsewhere, by the key whose value they may be without quotes.
_WORDS: dict[KeyPath, str] = {("determinism",): "off"}
_EXAMPLES = "for example lr.values='[0.1, 0.01]' or epochs.value=1"
# The keys of each kind of domain; a key that is overridden excludes those of other kinds.
_KINDS = (
    {"value"},
    {"inherited"},
    {"values", "probabilities"},
    {"min", "max", "step", "log", "q", "round"},
    {"distribution", "mu", "sigma", "a", "b", "round"},
)


@dataclass(kw_only=True)
class Source:
    """Plain data and the line of each key path.

    Attributes:
        name: the file as the user named it; None for a dict, which has no lines.
        data: dicts, lists and scalars.
        lines: 1-based line of each key path of a file; 0 for an override.
        problems: found so far.
        overridden_in: the origin of overrides, for messages.
        is_whole: all of it could be read, so that what is missing is missing indeed.
        notes: what its reader is told about keys of another tool.
        hints: what to write instead at key paths of which more is known than where a problem is found.
    """

    name: str | None
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overridden_in: str = "command line"
    is_whole: bool = True
    notes: list[str] = field(default_factory=list)
    hints: dict[KeyPath, str] = field(default_factory=dict)

    def problem(self, path: Sequence[str | int], message: str, hint: str = "", line: int | None = None) -> Problem:
        """Return a problem at a key path; its line, if none is given, is that of its longest part that has one."""
        hint, known = self.hints.get(tuple(path), hint), tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        if line is None:
            line = self.lines.get(known, 1)
        place = f"{self.name}:{line}" if self.name is not None else ""
        # As the user writes it: `parameters.lr.values[2]`.
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        key = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}..."
        return Problem(where=place if line else self.overridden_in, key=key, message=message, hint=hint)

    def add(self, path: Sequence[str | int], message: str, hint: str = "", line: int | None = None) -> None:
        """Record a problem at a key path."""
        self.problems.append(self.problem(path, message, hint, line))


def read_source(
    name: str, text: str, overrides: Overrides, known_keys: Mapping[str, bool], translate: Callable[[Source], None] | None = None
) -> Source:
    """Parse a study file's text and apply overrides.

    Args:
        name: the file, for messages.
        text: of the file.
        overrides: a key whose first part is neither known nor a parameter of the file is a problem.
        known_keys: for each key of the file, whether its value is a mapping.
        translate: is called with the source before the overrides are applied.
    """
    source = Source(name=name)
    try:
        root = parse(text)
    except NotYaml as error:
        return _unreadable(source, error.message, error.hint, error.line)
    if root is not None and root.items is not None and not root.listed:
        source.data = _from_yaml(source, root, (), source.lines)
    elif root is not None and (root.items is not None or root.value is not None or root.faults):
        return _unreadable(source, "a study file is a list of `key: value` lines")
    if translate is not None:
        translate(source)
    _apply(source, overrides, known_keys)
    if not source.data:
        message = "the file has no keys" if text.strip() else "the file is empty"
        source.add((), message, "a complete example:  sweep docs study-file")
    return source


def _unreadable(source: Source, message: str, hint: str = "", line: int | None = None) -> Source:
    source.add((), message, hint, line)
    source.is_whole = False
    return source


def given_source(
    data: Mapping[str, Any], overrides: Overrides, known_keys: Mapping[str, bool], translate: Callable[[Source], None]
) -> Source:
    """Read a study file's keys from a dict and apply overrides, as `read_source` does; the dict is not changed."""
    source = Source(name=None)
    try:
        source.data = _from_python(source, data, ())
    except RecursionError:
        return _unreadable(source, "the dict is too deeply nested, or contains itself")
    translate(source)
    _apply(source, overrides, known_keys)
    return source


def _from_python(source: Source, value: Any, path: KeyPath) -> Any:
    """Return plain data: tuples, ranges and arrays become lists, NumPy's numbers Python's, enums values, and paths strings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Mapping):
        return {str(key): _from_python(source, item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        if value[MOST_NODES:]:
            source.add(path, f"has more than {MOST_NODES:,} values", "write a range: min and max")
            return None
        return [_from_python(source, item, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    hint = "give the function as sweep.run(study, function)" if callable(value) else f"this is of type {type(value).__name__}"
    source.add(path, "only numbers, strings, booleans, lists and dicts are allowed here", hint)
    return None


def _from_yaml(source: Source, node: Node, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Return a tree as plain data; record the line of each key path in `lines`, and each fault in the source."""
    if node.text and node.text == _WORDS.get(path):
        return node.text
    for part_of, line, message, hint in node.faults:
        source.add(path if part_of is None else (*path, part_of), message, hint, line if lines is source.lines else None)
    if node.items is None:
        return node.value
    found: dict[str | int, Any] = {}
    for key, line, part in node.items:
        lines[*path, key] = line
        found[key] = _from_yaml(source, part, (*path, key), lines)
    return list(found.values()) if node.listed else found


def _apply(source: Source, overrides: Overrides, known_keys: Mapping[str, bool]) -> None:
    if isinstance(overrides, Mapping):
        source.overridden_in = "overrides"
        for key, value in overrides.items():
            _override(source, str(key), functools.partial(_from_python, source, value), known_keys)
        return
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            _refuse(source, key, "an override is written key=value", _EXAMPLES)
            continue
        try:
            value = parse(text) or Node(line=0)
        except NotYaml as error:
            _refuse(source, key, f"the value {shortened(text)} is no valid YAML", error.hint or "put it in quotes")
            continue
        _override(source, key, functools.partial(_from_yaml, source, value, lines={}), known_keys)


def _refuse(source: Source, key: str, message: str, hint: str) -> None:
    source.problems.append(Problem(where=source.overridden_in, key=key, message=message, hint=hint))


def _override(source: Source, key: str, plain: Callable[[KeyPath], Any], known_keys: Mapping[str, bool]) -> None:
    parts = key.strip().split(".")
    parameters = source.data.get("parameters")
    names = list(parameters) if isinstance(parameters, dict) else []
    if not all(parts):
        _refuse(source, key, "an override is written key=value", _EXAMPLES)
        return
    # `seed.values` can only mean the parameter, because the key `seed` is no mapping.
    means_parameter = len(parts) > 1 and parts[0] in known_keys and not known_keys[parts[0]]
    if parts[0] not in known_keys or means_parameter:
        if not _begins(parts, names) and not means_parameter:
            nearest = did_you_mean(parts[0], [*names, *sorted(known_keys)])
            hint = f"{nearest} a new parameter is added with parameters.{parts[0]}.value=..."
            _refuse(source, key, "no such key or parameter", hint)
            return
        parts = ["parameters", *parts]
    if parts[0] == "parameters" and len(parts) > 2:  # a parameter's name may have dots
        name = _begins(parts[1:], names) or ".".join(parts[1:-1])
        parts = ["parameters", name, *parts[1 + len(name.split(".")) :]]
    path: KeyPath = tuple(parts)
    node: Any = source.data
    for depth, part in enumerate(parts[:-1], start=1):
        if part not in node:
            source.lines[path[:depth]] = 0
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            _refuse(source, key, "the value that should contain this key is no mapping", "")
            return
    kept = {key for kind in _KINDS for key in kind if parts[2] in kind} if len(parts) == 3 and parts[0] == "parameters" else set()
    if kept and parts[2] != "distribution":  # `lr.value=1` means a constant, whatever the file says
        for other in [other for other in node if other not in kept and any(other in kind for kind in _KINDS)]:
            del node[other]
    # The parts of a value that is replaced as a whole have no line any more.
    source.lines = {place: line for place, line in source.lines.items() if place[: len(path)] != path} | {path: 0}
    node[parts[-1]] = plain(path)


def _begins(parts: Sequence[str], names: Sequence[str]) -> str:
    """Return the longest of these names with which a dotted key begins; an empty text if there is none."""
    found = (name for name in names if [*parts[: name.count(".") + 1]] == name.split("."))
    return max(found, key=len, default="")
