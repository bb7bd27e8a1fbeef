"""Tables and lines as HTML for a notebook, in the colours of the page that they are in, or visible on light and dark ones alike.

Styles stand at each element, since some notebooks remove style sheets, and others have one of their own for tables.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from sweep.errors import one_line

_CELL = "padding: 1px 12px 1px 0; border: 0; background: none; text-align: left; white-space: nowrap"


class Bar(float):
    """A share from 0 to 1, drawn as a bar in place of a text."""


def table_html(heads: Sequence[str], rows: Iterable[Sequence[str | Bar]]) -> str:
    """Return a table."""
    head = "".join(_cell(text, "th", "; font-weight: normal; opacity: 0.7") for text in heads)
    body = "".join(f'<tr style="background: none">{"".join(_cell(item, "td") for item in row)}</tr>' for row in rows)
    style = "border-collapse: collapse; border: 0; margin: 6px 0; font-variant-numeric: tabular-nums"
    return f'<table style="{style}"><thead><tr style="background: none">{head}</tr></thead><tbody>{body}</tbody></table>'


def lines_html(lines: Iterable[str]) -> str:
    """Return each text as a line of its own."""
    return "".join(f'<div style="overflow-wrap: anywhere">{html.escape(one_line(line))}</div>' for line in lines)


def block_html(*parts: str) -> str:
    """Return parts, which are HTML, as one block, as wide as the page at most."""
    return f'<div style="overflow-x: auto; line-height: 1.5">{"".join(parts)}</div>'


def _cell(item: str | Bar, name: str, style: str = "") -> str:
    if isinstance(item, Bar):
        inner = f'<div style="width: {min(1.0, item):.0%}; height: 100%; background: #3b82f6; border-radius: 3px"></div>'
        text = f'<div style="width: 8em; height: 0.7em; background: rgba(128, 128, 128, 0.3); border-radius: 3px">{inner}</div>'
    else:
        text = html.escape(one_line(item))
    return f'<{name} style="{_CELL}{style}">{text}</{name}>'
