"""`sweep docs`: the topics, and one page."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli import docs
from sweep.cli.main import main
from tests.conftest import Cli

SEARCH = """# How a study is searched

A study is searched by one of
several methods: see below. More is said later.

## Methods

- `grid` tries **every** point.
"""


@pytest.fixture
def pages(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two pages, and a file that is none."""
    folder = here / "docs"
    folder.mkdir()
    (folder / "search.md").write_text(SEARCH)
    (folder / "own-code.md").write_text("# Your own code\n\nAny function of a trial is an objective.\n")
    (folder / "figure.svg").write_text("<svg/>")
    monkeypatch.setattr("importlib.resources.files", lambda package: here)
    return folder


def test_the_topics_are_listed(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, each with its title and its first sentence."""
    assert main(["docs"]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "own-code  Your own code",
        "          Any function of a trial is an objective.",
        "search    How a study is searched",
        "          A study is searched by one of several methods:",
        "",
        "sweep docs TOPIC   shows a page",
        "sweep docs client > sweep_client.py   writes the client for scripts in an environment without sweep",
    ]


def test_a_page_is_plain_text_in_a_pipe(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its Markdown, as it is."""
    assert main(["docs", "search"]) == 0
    assert capsys.readouterr().out == SEARCH


def test_a_page_is_formatted_and_paged_on_a_terminal(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headings and lists instead of signs."""
    shown: list[str] = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.echo_via_pager", lambda text, color: shown.append(text))
    assert main(["docs", "search"]) == 0
    assert "How a study is searched" in shown[0]
    assert "##" not in shown[0]
    assert "**" not in shown[0]
    assert "every" in shown[0]


def test_an_unknown_topic_is_an_error(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and the nearest topic."""
    assert main(["docs", "serch"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "error: there is no topic 'serch'  [no-such-topic]\n"
        "  why:   did you mean 'search'?\n"
        "  do:    sweep docs   lists the topics\n",
    )


def test_topics_are_completed(pages: Path) -> None:
    """Those that begin with the typed letters."""
    from sweep.cli.commands import sweep

    verb = sweep.commands["docs"]
    [topic] = verb.params
    with verb.make_context("docs", []) as context:
        assert [item.value for item in topic.shell_complete(context, "s")] == ["search"]


def test_the_shipped_pages_are_found(cli: Cli) -> None:
    """Whatever pages there are, each is printed."""
    assert cli("docs").code == 0
    for topic, page in docs.topics().items():
        done = cli("docs", topic)
        assert (done.code, done.out) == (0, page.read_text(encoding="utf-8"))
