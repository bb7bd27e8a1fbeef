"""Modules, programs and folders that a text names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweep.study.code.named import Import, by_python, by_shell


def test_only_code_that_imports_by_name_names_modules_in_its_texts() -> None:
    """A computed name means all that it may become."""
    texts = ("models.a", "models.{name}", "nets.", ".", "a text", "x/y")
    assert by_python(texts, {"print"}, changes_path=False).modules == ()
    assert set(by_python(texts, {"import_module"}, changes_path=False).modules) == {
        Import(module="models.a", names=("__main__",)),
        Import(module="models", names=("**",)),
        Import(module="nets", names=("**",)),
        Import(module="", names=("**",), level=1),
        Import(module="models.a", names=("**",)),
    }


def test_a_shell_script_names_programs_modules_and_folders() -> None:
    """Relative to where it goes."""
    found = by_shell('cd src\nPYTHONPATH=lib:b python "$HERE/go.py" && python -m p.q --out=x.csv')
    assert found.programs == ("go.py", "src/go.py", "lib/go.py", "b/go.py")
    assert found.modules == (Import(module="p.q", names=("__main__",)),)
    assert found.folders == ("src", "lib", "b")


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Without an error."""
    by_shell(text)
    by_python([text], {"import_module"}, changes_path=True)
