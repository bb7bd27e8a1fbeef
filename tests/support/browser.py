"""TensorBoard as a user sees it: a headless Chromium on its tabs, driven by Playwright.

Locators also find what is inside open shadow roots; only the projector is in frames.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.support import tensorboards
from tests.support.studies import Study
from tests.support.studies import run_study as run
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Locator, Page

__all__ = ["Study", "eventually", "run"]
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    "--no-sandbox",  # CI runs as root in a container
    "--no-first-run",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no other machine is asked for anything
)
# The projector needs WebGL, here without a GPU; canvases are slower with it.
_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
# The vaadin grid takes the cells' contents from slots, and keeps rows that it does not show.
_TABLE = """grids => grids.flatMap(grid => [...grid.shadowRoot.querySelectorAll("thead tr, #items tr:not([hidden])")]
    .sort((one, other) => one.ariaRowIndex - other.ariaRowIndex)
    .map(row => [...row.querySelectorAll("th, td:not([part~=details-cell])")]
        .map(cell => cell.querySelector("slot").assignedElements().map(content => content.innerText.trim()).join())))"""


def missing() -> str:
    """Return what these tests need and is not installed; an empty text if nothing is missing."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: pip install -e '.[test]'"
    return "" if _CHROMIUM else "no browser is installed: apt-get install chromium"


@contextlib.contextmanager
def chromium(*, webgl: bool) -> Iterator[Browser]:
    """Run a browser while the block runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = [*_OPTIONS, *(_WEBGL if webgl else ["--disable-gpu"])]
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=options, headless=True, timeout=120_000)
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder: Path, loader: str, *, runs: int, last: str) -> Iterator[str]:
    """Run TensorBoard on a study while the block runs; give its address when this many runs have the curve `last`."""
    with tensorboards.served(folder, loader) as board:
        board.wait_for_curves(last, runs)
        yield board.address


def open_tab(page: Page, address: str, tab: str) -> None:
    """Open TensorBoard at a tab, named as in its address."""
    page.goto(f"{address}#{tab}")


def reload(page: Page) -> None:
    """Press the round arrow at the top, at the HPARAMS tab, and wait for its rows, without which TensorBoard gives up."""
    with page.expect_response(lambda answer: "session_groups" in answer.url):
        page.locator("button.reload-button").click()


def choose(menu: Locator, option: str | re.Pattern[str]) -> None:
    """Open a drop-down menu of Polymer, choose the option with this text, and wait until the menu has closed."""
    wanted = menu.get_by_role("option", name=option, exact=True)
    menu.click()
    wanted.click()
    wanted.wait_for(state="hidden")  # a click on a menu that is still closing would not open it again


# ---------------------------------------------------------------- HPARAMS


def table(page: Page) -> list[dict[str, str]]:
    """Return the rows of the table view as they are shown, each by column."""
    rows: list[list[str]] = page.locator("tf-hparams-table-view vaadin-grid").evaluate_all(_TABLE)
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def numbers(page: Page) -> list[int]:
    """Return the trials in the table view, in the order of the rows."""
    return [int(row["Trial ID"][:4]) for row in table(page)]


def nothing_left(page: Page) -> None:
    """Wait until the filters leave no row, and the table shows none."""
    query(page).get_by_text("Number of matching session groups: 0").wait_for()
    eventually(lambda: table(page), [])


def query(page: Page) -> Locator:
    """Return the pane at the left, with the filters."""
    return page.locator("tf-hparams-query-pane")


def tick(page: Page, value: str, of: str = "") -> None:
    """Change a checkbox of the left pane: a status, or a value of a hyperparameter."""
    place = query(page).locator(".status")
    if of:
        place = query(page).locator(".hparam").filter(has=page.get_by_role("checkbox", name=of, exact=True))
    place.get_by_role("checkbox", name=value, exact=True).click()


# ---------------------------------------------------------------- TIME SERIES


def add_column(page: Page, hparam: str) -> None:
    """Add a hyperparameter to the table of runs, with the plus at its right."""
    page.get_by_title("Add Column").first.click()
    selector = page.locator("tb-data-table-column-selector-component")
    selector.get_by_role("button", name=hparam).click()
    page.keyboard.press("Escape")
    selector.wait_for(state="detached")


def filter_runs(page: Page, hparam: str, value: str) -> None:
    """Filter a value out of the runs, in the menu of a column's header."""
    page.locator("runs-data-table tb-data-table-header-cell").filter(has_text=hparam).click(button="right")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.locator("tb-data-table-filter").get_by_role("checkbox", name=value, exact=True).click()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("tb-data-table-filter").wait_for(state="detached")


def runs_table(page: Page) -> list[list[str]]:
    """Return the texts of the runs in the side bar: the name and the columns that were added."""
    read = """rows => rows.map(row => [...row.querySelectorAll("tb-data-table-content-cell")]
        .map(cell => cell.innerText.trim()).filter(text => text))"""
    found: list[list[str]] = page.locator("runs-data-table tb-data-table-content-row").evaluate_all(read)
    return found


# ---------------------------------------------------------------- tabs of cards


def matching(page: Page, tags: str) -> Locator:
    """Filter the tags by a regular expression and return the pane with those that match."""
    page.locator("tf-tag-filterer input").fill(tags)
    return page.locator("tf-category-paginated-view").filter(has_text="Tags matching")


def titles(cards: Locator) -> list[tuple[str, str]]:
    """Return tag and run of each card, sorted; the run is empty where a card shows all runs."""
    return sorted((_text(card.locator("[itemprop=name]")), _text(card.locator("[itemprop=run]"))) for card in cards.all())


def _text(found: Locator) -> str:
    return "".join(text.strip() for text in found.all_inner_texts())


def lines(card: Locator) -> list[int]:
    """Return the number of points of each line of a chart; of a line that is drawn twice, the smoothed one."""
    drawn = card.locator(".line-plot:not(.ghost) path.line").evaluate_all("lines => lines.map(line => line.getAttribute('d'))")
    return [len(re.findall("[ML]", path or "")) for path in drawn]


# ---------------------------------------------------------------- PROJECTOR


def projector(page: Page) -> FrameLocator:
    """Return the projector's own page."""
    return page.frame_locator("iframe").frame_locator("iframe")


def dark_and_coloured(canvas: Locator) -> tuple[int, int]:
    """Return the number of nearly black pixels, such as the background of thumbnails, and of those of a strong colour."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    highest, lowest = pixels.max(2), pixels.min(2)
    return int((highest < 40).sum()), int((highest - lowest > 60).sum())
