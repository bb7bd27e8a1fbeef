"""TensorBoard's tabs as a user sees them, in a real browser over a real study, under both of TensorBoard's loaders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweep.objectives.datasets import CLASSES
from tests.conftest import REPOSITORY
from tests.support import browser as tb
from tests.support.command_line import Running
from tests.support.reading import scalars
from tests.support.studies import write_objectives, write_study
from tests.support.waiting import no_process_left, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MISSING = tb.missing()
KEEPS_WORKERS = True  # the browser and TensorBoard stay for all tests
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]

FASHION = (
    "name=tabs", "epochs.value=2", "parameters.train_samples.value=2000", "lr.values=[0.01, 0.001]", "batch_size.values=[64]",
    "parameters.weight_decay.value=0", "log.batches=10",
)  # fmt: skip
ENDS = """
name: ends
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:     {values: [1, 2]}
  how:   {values: [ok, raise]}
  steps: {value: 2}
workers: {per_device: 1}
"""
WAITING = """
import time
from pathlib import Path

def train(trial):
    for step in trial.steps(2):
        while not Path(__file__).with_name(f"go{step}").exists():
            time.sleep(0.05)
        trial.report(step, {"score": step / 2})

train.metrics = ("score",)
"""


@pytest.fixture(scope="module", autouse=True)
def _nothing_outlives_its_tests() -> Iterator[None]:
    with no_process_left():
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with tb.chromium(webgl=True) as found:
        yield found


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A page with an empty cache; in the end there is a screenshot, and nothing has gone wrong in it."""
    with browser.new_context(viewport={"width": 1600, "height": 1000}) as context:
        context.set_default_timeout(60_000)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
        yield page
        name = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")
        page.screenshot(path=Path(os.environ.get("SWEEP_SCREENSHOTS") or tmp_path) / f"{name}.png")
        assert not wrong


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast", "slow"])
def loader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def study(fashion_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tb.Study:
    text = (REPOSITORY / "studies" / "fashion.yaml").read_text(encoding="utf-8")
    return tb.run(text, *FASHION, folder=tmp_path_factory.mktemp("fashion"))


@pytest.fixture(scope="module")
def address(study: tb.Study, loader: str) -> Iterator[str]:
    with tb.served(study.folder, loader, runs=len(study.trials), last="test/samples") as found:
        yield found


@pytest.fixture
def hparams(page: Page, address: str, study: tb.Study) -> Page:
    tb.open_tab(page, address, "hparams")
    tb.eventually(lambda: tb.numbers(page), [trial["number"] for trial in study.trials])
    return page


# ---------------------------------------------------------------- HPARAMS


def test_the_table_says_what_the_study_says(hparams: Page, study: tb.Study) -> None:
    """A row a trial, swept parameters first, booleans in words, the metrics of `sweep trials` to the digits shown."""
    rows = tb.table(hparams)
    columns = list(rows[0])[2:]  # after the trial's name and a checkbox
    assert columns[:5] == ["lr", "shuffle", "batch_size", "epochs", "train_samples"]
    assert columns[5:8] == ["validation/accuracy", "best/validation/accuracy", "test/accuracy"]
    assert [row["Trial ID"] for row in rows] == study.runs
    for row, trial in zip(rows, study.trials, strict=True):
        assert row["shuffle"] == ("true" if trial["params"]["shuffle"] else "false")
        assert {name: float(row[name]) for name in ("lr", "batch_size", "epochs")} == {
            name: trial["params"][name] for name in ("lr", "batch_size", "epochs")
        }
        best = max(value for _, value in scalars(Path(trial["dir"]))["validation/accuracy"])
        for name, value in (trial["metrics"] | {"best/validation/accuracy": best}).items():
            if name in columns:
                assert float(row[name]) == pytest.approx(value, rel=6e-5), name  # five digits are shown


def test_rows_are_sorted_by_the_metric(hparams: Page, study: tb.Study) -> None:
    """In both directions."""
    up = [trial["number"] for trial in sorted(study.trials, key=lambda trial: float(trial["value"]))]
    menus = tb.query(hparams).locator("paper-dropdown-menu")
    tb.choose(menus.filter(has_text="Sort by"), "validation/accuracy")
    for direction, wanted in (("Descending", up[::-1]), ("Ascending", up)):
        tb.choose(menus.filter(has_text="Direction"), direction)
        tb.eventually(lambda: tb.numbers(hparams), wanted)


@pytest.mark.parametrize(
    ("hparam", "value", "shown"), [("shuffle", False, "true"), ("lr", 0.001, "0.010000")], ids=["shuffle", "lr"]
)
def test_a_value_that_is_not_ticked_takes_its_rows_away(
    hparams: Page, study: tb.Study, hparam: str, value: Any, shown: str
) -> None:
    """And no others; ticked again it brings them back."""
    tb.tick(hparams, shown, of=hparam)
    left = [trial["number"] for trial in study.trials if trial["params"][hparam] == value]
    assert len(left) == 2
    tb.eventually(lambda: tb.numbers(hparams), left)
    tb.tick(hparams, shown, of=hparam)
    tb.eventually(lambda: len(tb.table(hparams)), 4)


def test_rows_can_be_chosen_by_their_end(page: Page, tmp_path: Path, loader: str) -> None:
    """Trials that raised are failures, the others successes."""
    write_objectives(tmp_path)
    ended = tb.run(ENDS, folder=tmp_path, code=1)
    with tb.served(ended.folder, loader, runs=4, last="loss") as address:
        tb.open_tab(page, address, "hparams")
        tb.eventually(lambda: len(tb.table(page)), 4)
        tb.tick(page, "Success")
        tb.eventually(lambda: [row["how"] for row in tb.table(page)], ["raise", "raise"])
        tb.tick(page, "Failure")
        tb.nothing_left(page)
        tb.tick(page, "Success")
        tb.eventually(lambda: [row["how"] for row in tb.table(page)], ["ok", "ok"])


def test_a_row_fills_while_its_trial_runs(page: Page, here: Path, loader: str) -> None:
    """It is there before the first report, with unknown status; its metric follows the reports, its status the end."""
    (here / "mine.py").write_text(WAITING, encoding="utf-8")

    def scores() -> list[str]:
        tb.reload(page)
        return [row["score"] for row in tb.table(page)]

    with Running("run", str(write_study(here, ENDS)), "x.values=[1]", "how.values=[ok]", here=here) as running:
        running.wait_until(lambda: list(here.glob("runs/ends/0000*/events*")))
        with tb.served(here / "runs" / "ends", loader, runs=0, last="score") as address:
            tb.open_tab(page, address, "hparams")
            tb.eventually(scores, [""])
            (here / "go1").touch()
            tb.eventually(scores, ["0.50000"])
            tb.tick(page, "Unknown")
            tb.nothing_left(page)
            (here / "go2").touch()
            tb.eventually(scores, ["1.0000"])
            tb.tick(page, "Success")
            tb.nothing_left(page)


# ---------------------------------------------------------------- the other tabs


def test_runs_can_be_chosen_by_hyperparameter(page: Page, address: str, study: tb.Study) -> None:
    """TIME SERIES: columns of the table of runs, which filter the runs, one within the other."""
    tb.open_tab(page, address, "timeseries")
    for name in ("lr", "shuffle"):
        tb.add_column(page, name)
    trials = zip(study.runs, (trial["params"] for trial in study.trials), strict=True)
    every = [[run, str(params["lr"]), str(params["shuffle"]).lower()] for run, params in trials]
    tb.eventually(lambda: tb.runs_table(page), every)
    tb.filter_runs(page, "shuffle", "true")
    tb.eventually(lambda: tb.runs_table(page), [row for row in every if row[2] == "false"])
    tb.filter_runs(page, "lr", "0.01")
    tb.eventually(lambda: tb.runs_table(page), [row for row in every if row[1:] == ["0.001", "false"]])


def test_the_losses_of_batches_are_curves(page: Page, address: str) -> None:
    """SCALARS: every tenth of 64 batches, of each trial."""
    tb.open_tab(page, address, "scalars")
    cards = tb.matching(page, "batch/loss").locator("tf-scalar-card")
    tb.eventually(lambda: tb.titles(cards), [("batch/loss", "")])
    tb.eventually(lambda: tb.lines(cards), [6] * 4)


def test_training_and_validation_share_a_chart(page: Page, address: str, study: tb.Study) -> None:
    """CUSTOM SCALARS: two lines of each trial, in one chart."""
    tb.open_tab(page, address, "custom_scalars")
    chart = page.locator("tf-custom-scalar-multi-line-chart-card").filter(has=page.get_by_text("loss", exact=True))
    tb.eventually(lambda: tb.lines(chart), [2] * 8)
    chart.locator(".toggle-matches-button").click()
    entries = sorted(f"{what}/loss ({run})" for what in ("train", "validation") for run in study.runs)
    tb.eventually(
        lambda: sorted(text.split(maxsplit=1)[1] for text in chart.locator(".match-list-entry").all_inner_texts()), entries
    )


def test_images_are_drawn(page: Page, address: str, study: tb.Study) -> None:
    """IMAGES: samples of the first trial; the confusion matrix and the worst mistakes of each."""
    tb.open_tab(page, address, "images")
    cards = tb.matching(page, ".").locator("tf-image-loader")
    of_each = [(f"predictions/{tag}", run) for tag in ("confusion", "worst mistakes") for run in study.runs]
    tb.eventually(lambda: tb.titles(cards), sorted([*of_each, ("samples/training", study.runs[0])]))
    drawn = "images => images.filter(image => image.complete && image.naturalWidth > 100).length"
    tb.eventually(lambda: cards.locator("img").evaluate_all(drawn), 9)


def test_the_graph_has_the_layers(page: Page, address: str) -> None:
    """GRAPHS: the network opens into its layers, under their names; the first is convolution, pooling and ReLU in one."""
    tb.open_tab(page, address, "graphs")
    nodes = page.locator("tf-graph-scene g.node")
    page.locator("tf-graph-scene g.node[data-name=Sequential] rect").first.dblclick()
    layers = ["conv1", "conv2", "pool2", "relu2", "flatten", "fc1", "relu3", "fc2", "relu4", "out"]

    def shown() -> list[str]:
        names = " ".join(nodes.evaluate_all("nodes => nodes.map(node => node.dataset.name)"))
        return [name for name in layers if f"[{name}]" in names]

    tb.eventually(shown, layers)


@pytest.mark.parametrize(
    ("tab", "card", "shape", "each"),
    [
        pytest.param("histograms", "tf-histogram-loader", ".outline", 2, id="histograms"),  # one a report
        pytest.param("distributions", "tf-distribution-loader", ".area", 8, id="distributions"),  # between nine quantiles
    ],
)
def test_weights_and_gradients_are_drawn(
    page: Page, address: str, study: tb.Study, tab: str, card: str, shape: str, each: int
) -> None:
    """HISTOGRAMS and DISTRIBUTIONS: one card a trial and layer."""
    tb.open_tab(page, address, tab)
    cards = tb.matching(page, "conv1.weight").locator(card)
    wanted = [(f"{what}/conv1.weight", run) for what in ("gradients", "weights") for run in study.runs]
    tb.eventually(lambda: tb.titles(cards), wanted)
    tb.eventually(lambda: [card.locator(shape).count() for card in cards.all()], [each] * 8)


def test_each_class_has_its_precision_and_recall(page: Page, address: str) -> None:
    """PR CURVES: a card a class, a line a trial."""
    tb.open_tab(page, address, "pr_curves")
    cards = page.locator("tf-pr-curve-card")
    tb.eventually(lambda: tb.titles(cards), sorted((f"precision-recall/{name}", "") for name in CLASSES["fashion_mnist"]))
    tb.eventually(lambda: [len([line for line in tb.lines(card) if line > 20]) for card in cards.all()], [4] * 10)


def test_the_projector_shows_thumbnails_by_class(page: Page, address: str, study: tb.Study) -> None:
    """PROJECTOR: 300 test images as points of 784 dimensions, each drawn as its picture, coloured and found by its class."""
    tb.open_tab(page, address, "hparams")
    page.get_by_role("tab", name="projector").click()  # it is there without a reload
    inside = tb.projector(page)
    with page.expect_response(lambda answer: "sprite_image" in answer.url and "name=pixels" in answer.url) as sprite:
        tb.choose(inside.locator("paper-dropdown-menu").filter(has_text="tensors found"), re.compile("pixels"))
    assert sprite.value.status == 200
    tb.eventually(lambda: inside.locator(".numDataPoints, .dim").all_inner_texts(), ["300", "784"])
    canvas = inside.locator("#scatter canvas").first
    # Dots would have fewer than 1,000 dark pixels, and axes alone fewer than 2,000 coloured ones.
    wait_for(lambda: tb.dark_and_coloured(canvas)[0] > 10_000)
    assert tb.dark_and_coloured(canvas)[1] < 5_000
    tb.choose(inside.locator("#colorby"), re.compile("label"))
    wait_for(lambda: tb.dark_and_coloured(canvas)[1] > 10_000)
    labels = (study.folder / study.runs[0] / "projector" / "pixels" / "labels.tsv").read_text(encoding="utf-8").splitlines()
    legend = inside.locator("vz-projector-legend .item")
    tb.eventually(
        lambda: dict(text.split("\n") for text in legend.all_inner_texts()), {k: str(v) for k, v in Counter(labels).items()}
    )
    inside.locator("#search-box input").fill("Bag")
    inside.get_by_text(f"{labels.count('Bag')} matches.").wait_for()
