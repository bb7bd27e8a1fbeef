"""YAML text as a tree: what ruamel reads, this reads, with the lines and without the dangers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sweep.study.file.document import MOST_NODES, Node, NotYaml, parse

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.sampled_from('ab\n"\u00e9\u2028\U0001f600')),
    st.text(),
)
keys = st.text(max_size=5).filter(lambda key: key != "<<")
trees = st.recursive(scalars, lambda part: st.lists(part, max_size=4) | st.dictionaries(keys, part, max_size=4), max_leaves=12)


def plain(node: Node | None) -> Any:
    """Return a tree without faults as plain data."""
    if node is None:
        return None
    assert not node.faults, node.faults
    if node.items is None:
        return node.value
    found = {key: plain(part) for key, _, part in node.items}
    return list(found.values()) if node.listed else found


@settings(deadline=None, max_examples=60)
@given(tree=trees)
def test_json_is_read_as_it_is(tree: Any) -> None:
    """It is YAML; every type and the order of keys are kept."""
    found = plain(parse(json.dumps(tree)))
    assert found == tree
    assert json.dumps(found) == json.dumps(tree)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb:\n- x\n- 'y'\nc: {d: 1.5, e: [true, ~, null]}\n",
        "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n  z: 4\nc: *a\n",
        "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 1}\n",
        "a: |\n  two\n  lines\nb: >\n  one\n  line\nc: plain\n  goes on\n",
        "a: [0x1F, 0o17, 0b11, 017, 1_000, -3, +4, 1e3, 1E-2, .5, 5., -.5e1]\n",
        "a: 'it''s'\nb: \"tab\\tend\\u00e9\"\nc: caf\u00e9\nd: # nothing\n",
        "? a\n: 1\n? b\n: 2\n",
        "- 1\n- [2, [3]]\n- {a: 4}\n",
    ],
)
def test_it_reads_what_ruamel_reads(text: str) -> None:
    """The same values in the same order."""
    expected = YAML(typ="rt", pure=True).load(text)
    assert json.dumps(plain(parse(text))) == json.dumps(expected)


def test_a_bomb_of_aliases_is_refused_before_it_is_unfolded() -> None:
    """Twenty lines that stand for 10^19 values."""
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
    with pytest.raises(NotYaml, match=f"more than {MOST_NODES:,} values") as caught:
        parse(text)
    assert caught.value.line == 6


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: !!python/object:os.system {}", "only numbers, strings"),
        ("a: 1\na: 2", "found duplicate key; the first is in line 1"),
        ("a: off", "off is a word in YAML 1.2"),
        ("a: 12:30", "12:30 is a word in YAML 1.2"),
        ("a: " + "9" * 5000, "5,000 digits is too large"),
        ("[a, b]: 1", "a key must be one word"),
    ],
)
def test_what_no_study_file_needs_is_a_fault(text: str, fault: str) -> None:
    """Of the node where it stands, beside everything else that is wrong."""
    root = parse(text)
    assert root is not None
    assert root.items is not None
    faults = [found[2] for node in (root, *(part for _, _, part in root.items)) for found in node.faults]
    assert any(fault in message for message in faults), faults
