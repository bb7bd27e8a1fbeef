"""`sweep docs`: the pages of the documentation, which are files of this package."""

from __future__ import annotations

import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable

import click
from rich.markdown import Markdown
from rich.table import Table

from sweep.cli.tables import console
from sweep.errors import SweepError, did_you_mean

_LINE_WIDTH = 100
_CLIENT = "client"  # no page, but a program


def topics() -> dict[str, Traversable]:
    """Return the pages by topic."""
    folder = resources.files("sweep") / "docs"
    pages = sorted(folder.iterdir(), key=lambda page: page.name) if folder.is_dir() else []
    return {page.name.removesuffix(".md"): page for page in pages if page.name.endswith(".md")}


def list_topics() -> None:
    """Print each topic with its title and the first sentence of its page."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for topic, page in topics().items():
        title, _, text = page.read_text(encoding="utf-8").lstrip("# ").partition("\n")
        table.add_row(topic, title)
        first = re.split(r"(?<=[.:!?])\s", " ".join(text.strip().partition("\n\n")[0].split()), maxsplit=1)[0]
        table.add_row("", first)
    console().print(table)
    print("\nsweep docs TOPIC   shows a page")
    print("sweep docs client > sweep_client.py   writes the client for scripts in an environment without sweep")


def show_topic(topic: str) -> None:
    """Show a page: formatted and in a pager on a terminal, else its Markdown text.

    Raises:
        SweepError: there is no such topic.
    """
    pages = topics()
    if topic == _CLIENT:
        print((resources.files("sweep") / "worker" / "script" / "client.py").read_text(encoding="utf-8"), end="")
        return
    if topic not in pages:
        raise SweepError(
            "no-such-topic", f"there is no topic {topic!r}", why=did_you_mean(topic, pages), do="sweep docs   lists the topics"
        )
    text = pages[topic].read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        print(text, end="")
        return
    screen = console()
    with screen.capture() as capture:
        screen.print(Markdown(text), width=min(screen.width, _LINE_WIDTH))
    click.echo_via_pager(capture.get(), color=True)
