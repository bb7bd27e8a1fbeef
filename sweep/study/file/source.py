"""The study file as plain data that remembers where each key stood, with overrides applied; also one given as a dict.

YAML 1.2 through ruamel.yaml: `1e-3` is a number, and `yes` is a word (refused here where it would pass for a boolean).
Only plain data comes out: a tag such as `!!python/object` is a problem, never an object.
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

# An alias can make a small file stand for a huge tree; no honest study file has so many values.
_MOST_NODES = 2_000_000
# Booleans of YAML 1.1, strings in 1.2: as strings they would all be true.
_OLD_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_EXAMPLES = "for example lr.values='[0.1, 0.01]' or epochs.value=1"
_DOMAIN_KINDS: tuple[frozenset[str], ...] = (
    frozenset({"value"}),
    frozenset({"values"}),
    frozenset({"min", "max", "step", "log", "q"}),
)


@dataclass(kw_only=True)
class Source:
    """Plain data and, for each key path, where it stands.

    Attributes:
        name: the file as the user named it; None for a dict, which has no lines.
        data: dicts, lists and scalars.
        lines: 1-based line of each key path; 0 for an override.
        problems: what was found on the way.
        overridden_in: where overrides come from, for messages.
    """

    name: str | None
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overridden_in: str = "command line"

    def problem(self, path: Sequence[str | int], message: str, hint: str = "") -> Problem:
        """Return a problem at a key path, or at the nearest part of it that stands somewhere."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        place = f"{self.name}:{line}" if self.name is not None else ""
        return Problem(where=place if line else self.overridden_in, key=dotted(path), message=message, hint=hint)


def dotted(path: Iterable[str | int]) -> str:
    """Write a key path as the user does: `parameters.lr.values[2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read_source(name: str, text: str, overrides: Overrides, known_keys: Mapping[str, bool]) -> Source:
    """Parse a study file's text and apply overrides.

    Args:
        name: the file, for messages.
        text: of the file.
        overrides: a key whose first part is neither known nor a parameter of the file is a problem.
        known_keys: each with whether its value has keys of its own.
    """
    source = Source(name=name)
    try:
        tree = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source.problems.append(
            Problem(where=f"{name}:{line}", key="", message=f"this is no valid YAML: {error.problem or error.context}")
        )
        return source
    except (YAMLError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        source.problems.append(Problem(where=f"{name}:1", key="", message=f"this is no valid YAML: {message}"))
        return source
    if tree is not None and not isinstance(tree, CommentedMap):
        source.problems.append(Problem(where=f"{name}:1", key="", message="a study file is a list of `key: value` lines"))
        return source
    try:
        source.data = _Plain(source, at_line=None).convert(tree or CommentedMap(), ())
    except (ValueError, RecursionError):
        source.problems.append(Problem(where=f"{name}:1", key="", message="the file holds too many or too deeply nested values"))
        return source
    _apply(source, overrides, known_keys)
    return source


def given_source(data: Mapping[str, Any], overrides: Overrides, known_keys: Mapping[str, bool]) -> Source:
    """Take a study file's keys from a dict and apply overrides, as `read_source` does; the dict stays as it is."""
    source = Source(name=None)
    try:
        source.data = _from_python(source, data, ())
    except RecursionError:
        source.problems.append(source.problem((), "the dict is too deeply nested, or contains itself"))
        return source
    _apply(source, overrides, known_keys)
    return source


def _from_python(source: Source, value: Any, path: KeyPath) -> Any:
    """Return plain data: tuples, ranges and NumPy's arrays become lists, NumPy's numbers Python's, paths strings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    source.lines.setdefault(path, source.lines.get(path[:-1], 1))  # an override's parts stand where it does
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
    yaml.preserve_quotes = True  # tells 'yes' (a word that is meant) from yes (a boolean that is meant)
    return yaml


class _Plain:
    """Turn ruamel's tree into plain data, noting lines and problems in the source."""

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
                self._note(here, node.lc.key, key)
                result[str(key)] = self.convert(value, here)
            return result
        if isinstance(node, CommentedSeq):
            for index in range(len(node)):
                self._note((*path, index), node.lc.item, index)
            return [self.convert(value, (*path, index)) for index, value in enumerate(node)]
        return self._scalar(node, path)

    def _note(self, path: KeyPath, position: Any, key: Any) -> None:
        if self.at_line is not None:
            self.source.lines[path] = self.at_line
            return
        # A key merged in with `<<` has no place of its own; its parent's is near enough.
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
            _complain(source, key, "an override is written key=value", _EXAMPLES)
            continue
        try:
            value = _yaml().load(text)
        except (YAMLError, ValueError, RecursionError):
            _complain(source, key, f"the value {text!r} is no valid YAML", "put it in quotes")
            continue
        _override(source, key, functools.partial(_Plain(source, at_line=0).convert, value), known_keys)


def _complain(source: Source, key: str, message: str, hint: str) -> None:
    source.problems.append(Problem(where=source.overridden_in, key=key, message=message, hint=hint))


def _override(source: Source, key: str, plain: Callable[[KeyPath], Any], known_keys: Mapping[str, bool]) -> None:
    parts = key.strip().split(".")
    parameters = source.data.get("parameters")
    names = list(parameters) if isinstance(parameters, dict) else []
    if not all(parts):
        _complain(source, key, "an override is written key=value", _EXAMPLES)
        return
    # `seed.values` can only mean the parameter: the key of that name has no parts.
    means_parameter = len(parts) > 1 and parts[0] in known_keys and not known_keys[parts[0]]
    if parts[0] not in known_keys or means_parameter:
        if parts[0] not in names and not means_parameter:
            nearest = did_you_mean(parts[0], [*names, *sorted(known_keys)])
            hint = f"{nearest} a new parameter is added with parameters.{parts[0]}.value=..."
            _complain(source, key, "no such key or parameter", hint)
            return
        parts = ["parameters", *parts]
    path: KeyPath = tuple(parts)
    node: Any = source.data
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            _complain(source, key, "there is no mapping to set this in", "")
            return
    if len(parts) == 3 and parts[0] == "parameters":
        _drop_other_kinds(node, parts[2])
    # A place in the file that is replaced as a whole is no longer where its parts stand.
    for stale in [place for place in source.lines if place[: len(path)] == path]:
        del source.lines[stale]
    for depth in range(1, len(path) + 1):
        source.lines.setdefault(path[:depth], 0)
    source.lines[path] = 0
    node[parts[-1]] = plain(path)


def _drop_other_kinds(parameter: dict[str, Any], key: str) -> None:
    """`lr.value=1` means a constant, whatever kind of domain the file gives: drop the keys of the other kinds."""
    kind = next((kind for kind in _DOMAIN_KINDS if key in kind), None)
    if kind is not None:
        for other in frozenset().union(*_DOMAIN_KINDS) - kind:
            parameter.pop(other, None)
        parameter.pop("distribution", None)
