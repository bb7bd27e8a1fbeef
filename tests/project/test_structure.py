"""The structure of the package: a small top, imports in one direction, files of at most 300 lines."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import grimp
import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "sweep"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_AT_TOP, MOST_LEVELS, MOST_IMPORTS, MOST_LINES = 13, 10, 60, 300


def _top_level(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


@functools.cache
def top() -> dict[str, set[str]]:
    """Return the packages and modules at the top, each with those that it imports; `__main__` is left out, it only starts."""
    graph = grimp.build_graph("sweep", exclude_type_checking_imports=False)
    names = {name.removeprefix("sweep.") for name in graph.find_children("sweep")} - {"__main__"}
    imports: dict[str, set[str]] = {name: set() for name in names}
    for module in graph.modules:
        importer = _top_level(module)
        for imported in graph.find_modules_directly_imported_by(module):
            target = _top_level(imported)
            if importer in names and target in names and importer != target:
                imports[importer].add(target)
    return imports


def test_the_top_is_small_and_its_imports_point_down() -> None:
    """At most 13 packages and modules on 10 levels with 60 imports between them, each pair counted once, and no circle."""
    imports = top()
    assert len(imports) <= MOST_AT_TOP, sorted(imports)
    assert sum(map(len, imports.values())) <= MOST_IMPORTS
    level: dict[str, int] = {}
    while len(level) < len(imports):
        ready = {name for name, needed in imports.items() if name not in level and needed <= level.keys()}
        assert ready, f"a circle among {sorted(imports.keys() - level.keys())}"
        level |= {name: 1 + max((level[other] for other in imports[name]), default=0) for name in ready}
    assert max(level.values()) <= MOST_LEVELS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_is_too_long(path: Path) -> None:
    """A file has at most 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_an_init_is_a_docstring(path: Path) -> None:
    """It says what the package holds; names are imported from the modules that define them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_tests_mirror_the_packages() -> None:
    """Each package of `sweep` has a folder of tests."""
    packages = {path.parent.relative_to(PACKAGE) for path in PACKAGE.glob("*/__init__.py")}
    assert not [str(package) for package in packages if not list((REPOSITORY / "tests" / package).glob("test_*.py"))]
