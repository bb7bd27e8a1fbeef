"""The study file, or a dict, as plain data with the line of each key and with overrides applied.

YAML 1.2 by ruamel.yaml: `1e-3` is a number, and `yes` is a word (refused because it is probably meant as a boolean). The result
is plain data only: a tag such as `!!python/object` is a problem and creates no object.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_DOMAIN_KINDS: tuple[frozenset[str], ...] = (
    frozenset({"value"}),
    frozenset({"values"}),
    frozenset({"min", "max", "step", "log", "q"}),
)


@dataclass(kw_only=True)
class Source:
    """Plain data and the line of each key path.

    Attributes:
        name: the file as the user named it; None for a dict, which has no lines.
        data: dicts, lists and scalars.
        lines: 1-based line of each key path; 0 for an override.
        problems: found while reading.
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
        return Problem(where=place if line else self.overridden_in, key=dotted(path), message=message, hint=hint)


def dotted(path: Iterable[str | int]) -> str:
    """Return a key path as the user writes it: `parameters.lr.values[2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


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
        source.data = _Plain(source, at_line=None).convert(tree or CommentedMap(), ())
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
        source.problems.append(source.problem((), "the dict is too deeply nested, or contains itself"))
        return source
    _apply(source, overrides, known_keys)
    return source


def _from_python(source: Source, value: Any, path: KeyPath) -> Any:
    """Return plain data: tuples, ranges and arrays become lists, NumPy's numbers Python's, and paths strings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    source.lines.setdefault(path, source.lines.get(path[:-1], 1))  # the parts of an override have its line
    if isinstance(value, Mapping):
        return {str(key): _from_python(source, item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_from_python(source, item, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    hint = "give the function as sweep.run(study, function)" if callable(value) else f"this is of type {type(value).__name__}"
    source.problems.append(source.problem(path, "only numbers, strings, booleans, lists and dicts are allowed here", hint))
    return None


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True  # distinguishes 'yes', meant as a word, from yes, meant as a boolean
    return yaml


class _Plain:
    """Convert ruamel's tree into plain data, and record lines and problems in the source."""

    def __init__(self, source: Source, at_line: int | None) -> None:
        self.source, self.at_line, self.nodes = source, at_line, 0

    def convert(self, node: Any, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise ValueError("too many values")
        if isinstance(node, CommentedMap | CommentedSeq) and node.tag.value:
            self._refuse_tag(path)
            return None
        if isinstance(node, CommentedMap):
            result: dict[str, Any] = {}
            for key, value in node.items():
                here = (*path, str(key))
                self._record(here, node.lc.key, key)
                result[str(key)] = self.convert(value, here)
            return result
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                self._record((*path, index), node.lc.item, index)
            return [self.convert(value, (*path, index)) for index, value in enumerate(node)]
        return self._scalar(node, path)

    def _record(self, path: KeyPath, position: Any, key: Any) -> None:
        if self.at_line is not None:
            self.source.lines[path] = self.at_line
            return
        # A key merged with `<<` has no line; the line of its parent is used.
        with contextlib.suppress(KeyError, TypeError):
            self.source.lines[path] = position(key)[0] + 1

    def _scalar(self, node: Any, path: KeyPath) -> Any:
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, int):
            return int(node)
        if isinstance(node, float):
            return float(node)
        if isinstance(node, ScalarString):
            return str(node)
        if isinstance(node, str):
            if node.lower() in _OLD_BOOLEANS:
                meant = _OLD_BOOLEANS[node.lower()]
                self._problem(path, f"{node} is a word in YAML 1.2", f"write {meant}, or {node!r} in quotes")
            return node
        if type(node).__module__.startswith("datetime"):
            return str(node)
        self._refuse_tag(path)
        return None

    def _refuse_tag(self, path: KeyPath) -> None:
        self._problem(path, "only numbers, strings, booleans, lists and mappings are allowed here", "remove the tag")

    def _problem(self, path: KeyPath, message: str, hint: str) -> None:
        self.source.problems.append(self.source.problem(path, message, hint))


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
        _override(source, key, functools.partial(_Plain(source, at_line=0).convert, value), known_keys)


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
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            _refuse(source, key, "the value that should contain this key is no mapping", "")
            return
    if len(parts) == 3 and parts[0] == "parameters":
        _drop_other_kinds(node, parts[2])
    # The parts of a value that is replaced as a whole have no line any more.
    for stale in [place for place in source.lines if place[: len(path)] == path]:
        del source.lines[stale]
    for depth in range(1, len(path) + 1):
        source.lines.setdefault(path[:depth], 0)
    source.lines[path] = 0
    node[parts[-1]] = plain(path)


def _drop_other_kinds(parameter: dict[str, Any], key: str) -> None:
    """Remove the keys of other kinds of domains: `lr.value=1` means a constant, whatever the file says."""
    kind = next((kind for kind in _DOMAIN_KINDS if key in kind), None)
    if kind is not None:
        for other in frozenset().union(*_DOMAIN_KINDS) - kind:
            parameter.pop(other, None)
        parameter.pop("distribution", None)
