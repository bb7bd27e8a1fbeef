"""The report in a browser: all charts are drawn in light and dark colours, trials can be selected, and it fits a phone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.report.test_studies import FIRST, SECOND
from tests.support import browser as tb
from tests.support.command_line import run_sweep
from tests.support.studies import write_objectives, write_study
from tests.support.waiting import no_process_left

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEEPS_WORKERS = True  # the browser; the fixture looks for itself
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(bool(tb.missing()), reason=tb.missing()),
]

Scheme = Literal["light", "dark"]
STUDY = """
name: page
objective: mine:drawn
metric: {name: loss, goal: minimize}
method: random
parameters:
  lr:    {min: 1.0e-4, max: 0.1, log: true}
  width: {min: 1, max: 64}
  kind:  {values: [plain, "two words", true, null]}
  steps: {values: [1, 4]}
budget: {trials: 40}
stop_after_failures: 100
"""
CHARTS = 4 + 5  # an effect of each parameter; importances, coordinates, curves, history, timeline
# How many pixels of each chart's canvas are of another colour than its corner.
_INK = """figures => figures.map(figure => {
    const canvas = figure.querySelector("canvas");
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return pixels.filter(pixel => pixel !== pixels[0]).length;
})"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_objectives(folder)
    return tb.run(STUDY, folder=folder, code=1).folder / "report.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with no_process_left(), tb.chromium(webgl=False) as found:
        yield found


def opened(chromium: Browser, path: Path, scheme: Scheme, width: int = 1200) -> Page:
    """Open the page without any network; any message or request fails the test."""
    page = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-drawn]")
    assert not complaints
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_draws_without_a_network(chromium: Browser, page_file: Path, tmp_path: Path, scheme: Scheme) -> None:
    """In the colours of the reader's system."""
    page = opened(chromium, page_file, scheme)
    page.screenshot(path=Path(os.environ.get("SWEEP_SCREENSHOTS", tmp_path)) / f"report-{scheme}.png", full_page=True)
    ink = page.locator("figure").evaluate_all(_INK)
    assert len(ink) == CHARTS
    assert min(ink) > 500, ink
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper))) > 600 if scheme == "light" else sum(map(int, re.findall(r"\d+", paper))) < 200


def test_the_charts_follow_when_the_colours_change(chromium: Browser, page_file: Path) -> None:
    """All of them are drawn again."""
    page = opened(chromium, page_file, "light")
    before = page.locator("#chart-history canvas").evaluate("canvas => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => document.querySelectorAll('canvas').length >= {CHARTS} && "
                           "document.querySelector('#chart-history canvas').toDataURL() !== before", arg=before)  # fmt: skip


def test_trials_are_selected_by_brushing_an_axis(chromium: Browser, page_file: Path) -> None:
    """Dragged along the metric's axis: the page gives their number and names the best one."""
    page = opened(chromium, page_file, "light")
    chart = page.locator("#chart-parallel")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    metric_axis = box["x"] + box["width"] - 90
    top, bottom = box["y"] + 40, box["y"] + box["height"] - 24
    selected = page.locator("#selected")
    complete = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).trials.filter(t => t.state === 'complete').length"
    )

    def drag(start: float, end: float) -> int:
        page.mouse.move(metric_axis, start)
        page.mouse.down()
        page.mouse.move(metric_axis, (start + end) / 2, steps=5)
        page.mouse.move(metric_axis, end, steps=5)
        page.mouse.up()
        tb.eventually(
            lambda: bool(re.search(rf"\d+ of {complete} selected; the best of them is trial \d+", selected.inner_text())), True
        )
        return int(selected.inner_text().split()[0])

    best = page.locator("#answer .quiet", has_text=re.compile(r"^trial \d+")).inner_text().split()[1]
    some = drag(bottom - 1, (top + bottom) / 2)  # the lower half: small losses
    assert 0 < some < complete
    assert f"is trial {best} with" in selected.inner_text()


@pytest.mark.parametrize("count", [2, 3])
def test_metrics_are_drawn_against_each_other(chromium: Browser, tmp_path: Path, count: int) -> None:
    """One chart for each pair of metrics."""
    metrics = "[{name: a, goal: maximize}, {name: b, goal: minimize}, {name: c, goal: minimize}]"
    text = STUDY.replace("metric: {name: loss, goal: minimize}", f"metrics: {metrics}\nconstraints: {{c: {{max: 40}}}}")
    text = text if count == 3 else text.replace(", {name: c, goal: minimize}", "")
    source = (
        "def drawn(trial):\n    p = trial.params\n    return {'a': p['width'], 'b': p['width'] ** 2 * p['lr'], 'c': p['width']}\n"
    )
    (tmp_path / "mine.py").write_text(source)
    page = opened(chromium, tb.run(text, folder=tmp_path).folder / "report.html", "light")
    ink = page.locator("figure.front").evaluate_all(_INK)
    assert len(ink) == {2: 1, 3: 3}[count]
    assert min(ink) > 500, ink


def test_the_page_fits_a_phone(chromium: Browser, page_file: Path, tmp_path: Path) -> None:
    """Only tables and coordinates, which scroll, are wider than the screen."""
    page = opened(chromium, page_file, "light", width=375)
    page.screenshot(path=Path(os.environ.get("SWEEP_SCREENSHOTS", tmp_path)) / "report-phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.fixture(scope="module")
def studies_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    for text, name in ((FIRST, "first"), (SECOND, "second")):
        assert run_sweep("run", str(write_study(folder, text, f"{name}.yaml")), here=folder).code == 0
    assert run_sweep("report", "runs/first", "runs/second", here=folder).code == 0
    return folder / "runs" / "report-first-second.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_studies_side_by_side_are_drawn(
    chromium: Browser, studies_page: Path, tmp_path: Path, scheme: Scheme, width: int
) -> None:
    """Every chart, on a desk and on a phone, where nothing but tables is wider than the screen."""
    page = opened(chromium, studies_page, scheme, width)
    page.screenshot(path=Path(os.environ.get("SWEEP_SCREENSHOTS", tmp_path)) / f"studies-{scheme}-{width}.png", full_page=True)
    ink = page.locator("figure").evaluate_all(_INK)
    assert len(ink) == 1 + 2 * 2
    assert min(ink) > 300, ink
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tops = [box["y"] for one in page.locator(".pair").first.locator("figure").all() if (box := one.bounding_box())]
    assert (len(set(tops)) == 1) == (width == 1200)


def test_words_are_there_without_scripts(chromium: Browser, page_file: Path) -> None:
    """The answer does not depend on the charts."""
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    said = page.locator("main").inner_text()
    for words in ("The best trial", "How certain is that?", "Which hyperparameters matter", "Failures", "exception", "lr"):
        assert words in said
