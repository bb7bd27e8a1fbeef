"""Looking at TensorBoard as a user does: a headless Chromium on its tabs, driven by Playwright.

Locators find what is inside open shadow roots too; the projector alone lives in frames.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sweep.cli.dashboard import tensorboard
from tests.conftest import wait_for, write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Locator, Page

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
    """Return what these tests cannot do without, if it is not there."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: pip install -e '.[test]'"
    return "" if _CHROMIUM else "no browser is installed: apt-get install chromium"


def run(text: str, *overrides: str, folder: Path, code: int = 0) -> Study:
    """Run a study to its end, as a user does, and return what became of it."""
    _sweep("run", str(write_study(folder, text)), *overrides, cwd=folder, code=code)
    [study] = (folder / "runs").iterdir()
    trials = json.loads(_sweep("trials", str(study), "--format", "json", cwd=folder))
    return Study(folder=study, trials=sorted(trials, key=lambda trial: int(trial["number"])))


def _sweep(*words: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sweep", *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


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
    """Run TensorBoard on a study while the block runs; give its address once it has read so many runs, up to a curve."""
    options = (f"--load_fast={loader}", "--reload_interval=1")
    with tensorboard(folder, host="127.0.0.1", port=6006, options=options) as (hparams, _):
        address = hparams.partition("#")[0]
        wait_for(lambda: _get(f"{address}data/plugins_listing")["hparams"]["enabled"], 120)
        wait_for(lambda: sum(last in tags for tags in _get(f"{address}data/plugin/scalars/tags").values()) == runs, 120)
        yield address


def _get(url: str) -> Any:
    # A proxy of the environment's is not asked for an address of this machine.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as answer:
        return json.load(answer)


def eventually(read: Callable[[], Any], wanted: Any, seconds: float = 60) -> None:
    """Read until it is what is wanted; a failure shows the difference."""
    deadline = time.monotonic() + seconds
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == wanted


def open_tab(page: Page, address: str, tab: str) -> None:
    """Open TensorBoard at a tab, named as in its address."""
    page.goto(f"{address}#{tab}")


def reload(page: Page) -> None:
    """Press the round arrow at the top, at the HPARAMS tab, and wait for its rows: TensorBoard gives up when it is hurried."""
    with page.expect_response(lambda answer: "session_groups" in answer.url):
        page.locator("button.reload-button").click()


def choose(menu: Locator, option: str | re.Pattern[str]) -> None:
    """Open a drop-down menu of Polymer's and take what has this text."""
    menu.click()
    menu.get_by_role("option", name=option, exact=True).click()


# ---------------------------------------------------------------- HPARAMS


def table(page: Page) -> list[dict[str, str]]:
    """Return the rows of the table view as they are shown, by column."""
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
    """Take a value out of the runs, in the menu of a column's header."""
    page.locator("runs-data-table tb-data-table-header-cell").filter(has_text=hparam).click(button="right")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.locator("tb-data-table-filter").get_by_role("checkbox", name=value, exact=True).click()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("tb-data-table-filter").wait_for(state="detached")


def runs_table(page: Page) -> list[list[str]]:
    """Return the texts of the runs in the side bar: name, and the columns that were added."""
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
    """Return tag and run of each card, sorted; the run is empty where a card is of all runs."""
    return sorted((_text(card.locator("[itemprop=name]")), _text(card.locator("[itemprop=run]"))) for card in cards.all())


def _text(found: Locator) -> str:
    return "".join(text.strip() for text in found.all_inner_texts())


def lines(card: Locator) -> list[int]:
    """Return of each line that a chart draws how many points it has; smoothed lines, where there are two."""
    drawn = card.locator(".line-plot:not(.ghost) path.line").evaluate_all("lines => lines.map(line => line.getAttribute('d'))")
    return [len(re.findall("[ML]", path or "")) for path in drawn]


# ---------------------------------------------------------------- PROJECTOR


def projector(page: Page) -> FrameLocator:
    """Return the projector's own page."""
    return page.frame_locator("iframe").frame_locator("iframe")


def dark_and_coloured(canvas: Locator) -> tuple[int, int]:
    """Return how many pixels are nearly black, as the thumbnails' background is, and how many have a strong colour."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    highest, lowest = pixels.max(2), pixels.min(2)
    return int((highest < 40).sum()), int((highest - lowest > 60).sum())


# ---------------------------------------------------------------- what is looked at


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that has run: its folder, and its trials as `sweep trials` tells them, by number."""

    folder: Path
    trials: list[dict[str, Any]]

    @property
    def runs(self) -> list[str]:
        """Return the names of the runs."""
        return [Path(trial["dir"]).name for trial in self.trials]
