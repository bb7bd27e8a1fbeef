"""What counts of a Python file: everything but its comments, docstrings and layout."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.study.code.named import Import
from sweep.study.code.syntax import parsed, syntax_of
from tests.conftest import REPOSITORY

SOURCES = sorted(path for folder in ("study", "worker", "report") for path in (REPOSITORY / "sweep" / folder).rglob("*.py"))


def digest(text: str) -> str:
    return syntax_of(parsed(text.encode())).digest


@pytest.mark.parametrize("path", SOURCES[::8], ids=lambda path: path.name)
def test_another_layout_is_the_same_code(path: Path) -> None:
    """Written anew from its syntax tree, a file has no comments and other lines."""
    text = path.read_text(encoding="utf-8")
    assert digest(ast.unparse(ast.parse(text))) == digest(text)


@given(place=st.integers(0, 10_000), by=st.integers(1, 9))
def test_another_number_is_other_code(place: int, by: int) -> None:
    """Wherever it is."""
    tree = ast.parse((REPOSITORY / "sweep" / "study" / "timing.py").read_text(encoding="utf-8"))
    before = syntax_of(tree).digest
    numbers = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) in (int, float)]
    chosen = numbers[place % len(numbers)]
    assert isinstance(chosen.value, int | float)
    chosen.value += by
    assert syntax_of(tree).digest != before


@given(text=st.text(max_size=40))
def test_any_comment_and_docstring_is_the_same_code(text: str) -> None:
    """Whatever stands in it."""
    comment = "".join(one for one in text if one.isprintable())
    assert digest(f"def f(x):  # {comment}\n    {comment!a}\n    return x\n") == digest("def f(x): return x\n")


def test_every_way_to_import_is_found() -> None:
    """But for what only a type checker imports."""
    text = """
import a, b.c as d
from ..e import f, g
if TYPE_CHECKING:
    import unseen
else:
    import h
def function():
    importlib.import_module(".i")
    run("j.py")
"""
    found = syntax_of(parsed(text.encode()))
    assert set(found.imports) == {
        Import(module="a"),
        Import(module="b.c"),
        Import(module="e", names=("f", "g"), level=2),
        Import(module="h"),
        Import(module="i", level=1),
    }
    assert found.named.programs == ("j.py",)
