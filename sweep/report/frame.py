"""The frame of every page: a template with its words, the style, and the scripts that draw the charts, all in one text."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from sweep.report import sentences
from sweep.report.methods import WHY
from sweep.study.formatting import duration_text, error_line, number_text, objective_texts, param_text, tag_text

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPTS, _LIVE = ("echarts.min.js", "report.js"), "live.js"


def rendered(template: str, title: str, data: dict[str, Any], values: dict[str, Any], *, live: bool = False) -> str:
    """Return a page that loads no other file, with its charts and their words.

    Args:
        template: the file's name.
        title: of the page.
        data: what `report.js` draws; `charts` are also looked up by the template.
        values: what the template names.
        live: the page is served, and asks its server for what has changed.
    """
    scripts = [_resource(name) for name in (*_SCRIPTS, *([_LIVE] if live else []))]
    frame = {
        "title": title,
        "why": WHY,
        "sentences": sentences,
        "data": data,
        "charts": {chart.name: chart for chart in data["charts"]},
        "css": _resource("report.css"),
        "scripts": scripts,
        "policy": _policy(scripts) + ("; connect-src 'self'" if live else ""),
    }
    return templates().get_template(template).render(frame | values)


def fragment(template: str, values: dict[str, Any]) -> str:
    """Return a part of a page."""
    return templates().get_template(template).render(values)


def as_json(data: Any) -> str:
    """Return a page's data as JSON."""
    return json.dumps(data, default=vars)


def now_text() -> str:
    """Return the time as pages say it."""
    return datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")


@functools.cache
def templates() -> Environment:
    """Return what renders the templates."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    found = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_resource)
    )
    found.filters |= {"number": number_text, "param": param_text, "duration": duration_text, "error": error_line}
    found.globals |= {"objective_texts": objective_texts, "tag_text": tag_text}
    found.policies["json.dumps_kwargs"] = {"default": vars}  # the charts' dataclasses as their attributes
    return found


def _policy(scripts: Sequence[str]) -> str:
    """Return which scripts a page may run, and that it may load nothing."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {allowed}"


def _resource(name: str) -> str:
    return resources.files("sweep.report").joinpath(name).read_text(encoding="utf-8")
