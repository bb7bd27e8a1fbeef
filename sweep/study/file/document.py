"""YAML text as a tree of nodes with their lines; what no study file needs is a fault of its node.

YAML 1.2 by ruamel.yaml, whose events become nodes here: `1e-3` is a number, and `yes` is a word (refused because it is probably
meant as a boolean). A tag creates no object. A node that an alias names is shared, so that a small file cannot describe a huge
tree unnoticed, and nothing here is recursive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

# No real study file has so many values, or values inside so many others.
MOST_NODES = 50_000
_MOST_DEEP = 50
# No number of a study has more; a longer one takes Python long to read, or is refused by it.
_MOST_DIGITS = 400
_MOST_SHOWN = 100  # characters of a value in a message
_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = {None, "!", f"{_CORE}map", f"{_CORE}seq", f"{_CORE}str"}
# Booleans in YAML 1.1, strings in YAML 1.2, where each would count as true.
_OLD_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_OLD_NUMBER = re.compile(r"[-+]?\d+(:[0-5]?\d)+")  # base 60
_NOT_TEXT = re.compile("[^\t\n\r\x85 -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BASES = {"0b": 2, "0o": 8, "0x": 16}
_HINTS = {
    "'\\t'": "indent with spaces, not with tabs",
    "mapping values are not allowed here": "put quotes around a value that contains a colon, and indent keys of one level alike",
    "expected <block end>": "indent keys of one level alike",
    "that cannot start any token": "put quotes around the value",
    "could not find expected ':'": "each line is `key: value`",
    "unexpected end of stream": "a quote is not closed",
    "expected ',' or": "a bracket is not closed, or a comma is missing",
    "<stream end>": "a bracket is not closed",
}


@dataclass(kw_only=True)
class Node:
    """A value in the file.

    Attributes:
        line: 1-based.
        value: of a scalar.
        text: how a scalar is written, which is its name where it is a key.
        merges: it is the plain word `<<`.
        items: the key (an index in a list), line and node of each part of a mapping or list; None for a scalar.
        listed: it is a list.
        faults: of each, the key to which it belongs (None for the node itself), the line, what is wrong, what to write instead.
        size: how many nodes it stands for, with those that aliases repeat.
    """

    line: int
    value: Any = None
    text: str = ""
    merges: bool = False
    items: list[tuple[str | int, int, Node]] | None = None
    listed: bool = False
    faults: list[tuple[str | None, int, str, str]] = field(default_factory=list)
    size: int = 1

    def add_fault(self, message: str, hint: str, key: str | None = None, line: int | None = None) -> None:
        """Record what is wrong with the node, or with a key of it."""
        self.faults.append((key, line or self.line, message, hint))


def shortened(value: Any) -> str:
    """Return a value as a message shows it: one that is long is cut."""
    if isinstance(value, list | dict) and len(value) > _MOST_SHOWN:
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value):,} values"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write ints of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


class NotYaml(Exception):
    """The text is no YAML, or more than a study file may have."""

    def __init__(self, message: str, line: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.line, self.hint = message, line, hint


def parse(text: str) -> Node | None:
    """Return the root of a text's only document, None if there is nothing in it.

    Raises:
        NotYaml: there is no tree that could be checked further.
    """
    if odd := _NOT_TEXT.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        message = f"the character U+{ord(odd[0]):04X} is not allowed in YAML"
        raise NotYaml(message, line, "is it a text file? save it as UTF-8")
    yaml = YAML(typ="safe", pure=True)
    try:
        builder = _Builder(yaml)
        for event in yaml.parse(text):
            builder.take(event)
        return builder.root
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"this is no valid YAML: {error.problem or error.context}"
        if error.context_mark and mark and error.context_mark.line != mark.line:
            message += f" ({error.context} that begins in line {error.context_mark.line + 1})"
        hint = next((hint for part, hint in _HINTS.items() if part in message), "")
        raise NotYaml(message, mark.line + 1 if mark else 1, hint) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise NotYaml(f"this is no valid YAML: {' '.join(str(error).split())[:200]}") from None


class _Builder:
    """Make nodes of events."""

    def __init__(self, yaml: YAML) -> None:
        self._yaml = yaml
        self.root: Node | None = None
        self._anchors: dict[str, Node | None] = {}  # None while the node is not complete
        self._open: list[tuple[Node, list[Node], str | None]] = []
        self._documents = self._nodes = 0

    def take(self, event: Any) -> None:
        """Take the next event."""
        line = event.start_mark.line + 1
        match event:
            case DocumentStartEvent():
                self._begin_document(event, line)
            case MappingStartEvent() | SequenceStartEvent():
                self._open_node(event, line)
            case MappingEndEvent() | SequenceEndEvent():
                node, parts, anchor = self._open.pop()
                _fill(node, parts)
                self._add(node, anchor)
            case AliasEvent():
                self._add(self._named(event.anchor, line), None)
            case ScalarEvent():
                self._add(_scalar(self._yaml, event, line), event.anchor)

    def _begin_document(self, event: Any, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            raise NotYaml("the file has several documents", line, "a study file is one: remove the line --- and what follows")
        if event.version is not None and tuple(event.version) != (1, 2):
            raise NotYaml("a study file is YAML 1.2", 1, "remove the line %YAML")

    def _open_node(self, event: Any, line: int) -> None:
        if len(self._open) >= _MOST_DEEP:
            raise NotYaml(f"values are nested more than {_MOST_DEEP} deep", line)
        node = Node(line=line, items=[], listed=isinstance(event, SequenceStartEvent))
        _check_tag(node, event.tag)
        self._open.append((node, [], event.anchor))
        if event.anchor:
            self._anchors[event.anchor] = None

    def _named(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            what = "is inside of what it stands for" if anchor in self._anchors else f"has no &{anchor} above it"
            raise NotYaml(f"*{anchor} {what}", line, "write the value itself")
        return node

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if max(self._nodes, node.size) > MOST_NODES:
            raise NotYaml(f"the file contains more than {MOST_NODES:,} values", node.line, "write a range: min and max")
        if anchor:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node


def _check_tag(node: Node, tag: str | None) -> None:
    if tag not in _PLAIN_TAGS:
        node.add_fault("only numbers, strings, booleans, lists and mappings are allowed here", "remove the tag")


def _fill(node: Node, parts: list[Node]) -> None:
    """Give a mapping or list its parts; a mapping's are keys and values in turn."""
    assert node.items is not None
    if node.listed:
        node.items = [(place, part.line, part) for place, part in enumerate(parts)]
    else:
        merged: list[tuple[str | int, int, Node]] = []
        found: dict[str | int, tuple[str | int, int, Node]] = {}
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            if key.merges:
                merged += _merged(node, key, value)
                continue
            name = _name_of(key)
            if name is None:
                node.add_fault("a key must be one word", "put it in quotes", line=key.line)
            elif name in found:
                message = f"this is no valid YAML: found duplicate key; the first is in line {found[name][1]}"
                node.add_fault(message, "keep one of the two", name, key.line)
            else:
                found[name] = name, key.line, value
        for item in merged:
            found.setdefault(item[0], item)
        node.items = list(found.values())
    node.size = 1 + sum(part.size for _, _, part in node.items)


def _merged(node: Node, key: Node, value: Node) -> list[tuple[str | int, int, Node]]:
    """Return the items of the mappings that a `<<` names; the first with a key counts."""
    sources = [part for _, _, part in value.items or ()] if value.listed else [value]
    if not sources or any(source.items is None or source.listed for source in sources):
        node.add_fault("<< needs a mapping, or a list of mappings", "write the keys themselves", line=key.line)
        return []
    return [item for source in sources for item in source.items or ()]


def _name_of(key: Node) -> str | None:
    unfit = key.items is not None or key.value is None or isinstance(key.value, bool) or key.faults
    return None if unfit else key.text


def _scalar(yaml: YAML, event: Any, line: int) -> Node:
    # JSON writes a character beyond U+FFFF as a pair of surrogates.
    text = event.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    bare = event.implicit[0] and event.tag is None
    tag = str(yaml.resolver.resolve(ScalarNode, text, (True, False))) if bare else event.tag
    node = Node(line=line, value=text, text=text)
    kind = tag.removeprefix(_CORE) if tag else "str"
    if kind == "merge":
        node.merges = True
    elif kind == "null":
        node.value = None
    elif kind == "bool" and text.lower() in ("true", "false"):
        node.value = text.lower() == "true"
    elif kind in ("int", "float"):
        _set_number(node, text, kind)
    elif bare:
        _check_old_word(node, text)
    elif kind in ("bool", "map", "seq"):
        node.add_fault(f"{text[:50]!r} is no {kind}", "remove the tag")
    else:
        _check_tag(node, tag)
    if node.faults:
        node.value = None
    return node


def _set_number(node: Node, text: str, kind: str) -> None:
    digits = text.replace("_", "").lower()
    sign, digits = (-1 if digits[:1] == "-" else 1), digits.lstrip("+-")
    if len(digits) > _MOST_DIGITS:
        node.add_fault(f"a number with {len(digits):,} digits is too large", "put it in quotes if it is a text")
        return
    try:
        if kind == "int":
            base = _BASES.get(digits[:2], 10)
            node.value = sign * int(digits if base == 10 else digits[2:], base)
        else:
            node.value = sign * float(digits.removeprefix(".") if digits in (".inf", ".nan") else digits)
    except ValueError:
        node.add_fault(f"{text[:50]!r} is no number", "remove the tag")


def _check_old_word(node: Node, text: str) -> None:
    meant: str | None = _OLD_BOOLEANS.get(text.lower())
    if _OLD_NUMBER.fullmatch(text) and len(text) < _MOST_DIGITS:
        total = 0
        for part in text.lstrip("+-").split(":"):
            total = total * 60 + int(part)
        meant = f"{'-' if text[0] == '-' else ''}{total}"
    if meant is not None:
        node.add_fault(f"{text} is a word in YAML 1.2", f"write {meant}, or {text!r} in quotes")
