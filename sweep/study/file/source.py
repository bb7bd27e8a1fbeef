"""The study file, or a dict, as plain data with the line of each key and with overrides applied.

YAML 1.2 by ruamel.yaml: `1e-3` is a number, and `yes` is a word (refused because it is probably meant as a boolean). The result
is plain data only: a tag such as `!!python/object` is a problem and creates no object.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import ScalarString

from sweep.errors import Problem, did_you_mean

KeyPath = tuple[str | int, ...]
# `key=value` words of the command line, or keys with Python's values.
Overrides = Sequence[str] | Mapping[str, Any]

# With aliases a small file can describe a huge tree; no real study file has this many values.
_MOST_NODES = 2_000_000
# Booleans in YAML 1.1, strings in YAML 1.2, where each would count as true.
_OLD_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_EXAMPLES = "for example lr.values='[0.1, 0.01]' or epochs.value=1"
# The kind of domain that each key of a parameter describes; the keys of different kinds exclude each other.
_KIND = {"value": 0, "values": 1, "min": 2, "max": 2, "step": 2, "log": 2, "q": 2}


@dataclass(kw_only=True)
class Source:
    """Plain data and the line of each key path.

    Attributes:
        name: the file as the user named it; None for a dict, which has no lines.
        data: dicts, lists and scalars.
        lines: 1-based line of each key path of a file; 0 for an override.
        problems: found so far.
        overridden_in: the origin of overrides, for messages.
    """

    name: str | None
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overridden_in: str = "command line"

    def problem(self, path: Sequence[str | int], message: str, hint: str = "") -> Problem:
        """Return a problem at a key path, or at its longest part that has a line."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        place = f"{self.name}:{line}" if self.name is not None else ""
        # As the user writes it: `parameters.lr.values[2]`.
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        return Problem(where=place if line else self.overridden_in, key=key, message=message, hint=hint)

    def add(self, path: Sequence[str | int], message: str, hint: str = "") -> None:
        """Record a problem at a key path."""
        self.problems.append(self.problem(path, message, hint))


def read_source(name: str, text: str, overrides: Overrides, known_keys: Mapping[str, bool]) -> Source:
    """Parse a study file's text and apply overrides.

    Args:
        name: the file, for messages.
        text: of the file.
        overrides: a key whose first part is neither known nor a parameter of the file is a problem.
        known_keys: for each key of the file, whether its value is a mapping.
    """
    source = Source(name=name)

    def refused(message: str, line: int = 1) -> Source:
        source.problems.append(Problem(where=f"{name}:{line}", key="", message=message))
        return source

    try:
        tree = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return refused(f"this is no valid YAML: {error.problem or error.context}", mark.line + 1 if mark else 1)
    except (YAMLError, ValueError, RecursionError) as error:
        return refused(f"this is no valid YAML: {' '.join(str(error).split())}")
    if tree is not None and not isinstance(tree, CommentedMap):
        return refused("a study file is a list of `key: value` lines")
    try:
        source.data = _from_yaml(source, tree or CommentedMap(), (), source.lines)
    except (ValueError, RecursionError):
        return refused("the file contains too many or too deeply nested values")
    _apply(source, overrides, known_keys)
    return source


def given_source(data: Mapping[str, Any], overrides: Overrides, known_keys: Mapping[str, bool]) -> Source:
    """Read a study file's keys from a dict and apply overrides, as `read_source` does; the dict is not changed."""
    source = Source(name=None)
    try:
        source.data = _from_python(source, data, ())
    except RecursionError:
        source.add((), "the dict is too deeply nested, or contains itself")
        return source
    _apply(source, overrides, known_keys)
    return source


def _from_python(source: Source, value: Any, path: KeyPath) -> Any:
    """Return plain data: tuples, ranges and arrays become lists, NumPy's numbers Python's, and paths strings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _from_python(source, item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_from_python(source, item, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    hint = "give the function as sweep.run(study, function)" if callable(value) else f"this is of type {type(value).__name__}"
    source.add(path, "only numbers, strings, booleans, lists and dicts are allowed here", hint)
    return None


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True  # distinguishes 'yes', meant as a word, from yes, meant as a boolean
    return yaml


def _from_yaml(source: Source, node: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Return ruamel's tree as plain data, and record the line of each key path in `lines`."""
    if isinstance(node, CommentedMap | CommentedSeq) and not node.tag.value:
        plain: dict[str | int, Any] = {}
        for key, value in node.items() if isinstance(node, CommentedMap) else enumerate(node):
            part = str(key) if isinstance(node, CommentedMap) else key
            # A key merged with `<<` has no line; the line of its parent is used.
            position = (node.lc.data or {}).get(key)
            lines[*path, part] = position[0] + 1 if position else lines.get(path, 1)
            if len(lines) > _MOST_NODES:
                raise ValueError("too many values")
            plain[part] = _from_yaml(source, value, (*path, part), lines)
        return plain if isinstance(node, CommentedMap) else list(plain.values())
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, int | float):
        return int(node) if isinstance(node, int) else float(node)
    if isinstance(node, str):
        meant = None if isinstance(node, ScalarString) else _OLD_BOOLEANS.get(node.lower())
        if meant is not None:
            source.add(path, f"{node} is a word in YAML 1.2", f"write {meant}, or {node!r} in quotes")
        return str(node)
    if type(node).__module__.startswith("datetime"):
        return str(node)
    source.add(path, "only numbers, strings, booleans, lists and mappings are allowed here", "remove the tag")
    return None


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
            value = _yaml().load(text)
        except (YAMLError, ValueError, RecursionError):
            _refuse(source, key, f"the value {text!r} is no valid YAML", "put it in quotes")
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
        if parts[0] not in names and not means_parameter:
            nearest = did_you_mean(parts[0], [*names, *sorted(known_keys)])
            hint = f"{nearest} a new parameter is added with parameters.{parts[0]}.value=..."
            _refuse(source, key, "no such key or parameter", hint)
            return
        parts = ["parameters", *parts]
    path: KeyPath = tuple(parts)
    node: Any = source.data
    for depth, part in enumerate(parts[:-1], start=1):
        if part not in node:
            source.lines[path[:depth]] = 0
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            _refuse(source, key, "the value that should contain this key is no mapping", "")
            return
    kind = _KIND.get(parts[2]) if len(parts) == 3 and parts[0] == "parameters" else None
    if kind is not None:  # `lr.value=1` means a constant, whatever the file says
        for other in [other for other in node if other == "distribution" or _KIND.get(other, kind) != kind]:
            del node[other]
    # The parts of a value that is replaced as a whole have no line any more.
    source.lines = {place: line for place, line in source.lines.items() if place[: len(path)] != path} | {path: 0}
    node[parts[-1]] = plain(path)
