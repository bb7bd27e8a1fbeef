"""The report: one page with the same numbers as the commands, which loads nothing and which no name or value can break."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweep.report import facts
from sweep.report.axes import shown_range
from sweep.report.facts import Facts, gather
from sweep.storage.folder import StudyFolder
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.reading import records, scalars
from tests.support.studies import trial_record, write_objectives, write_study

STUDY = """
name: told
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  seed:  {values: [0, 1]}
  x:     {values: [1, 2, 4]}
  how:   {values: [ok, raise]}
  steps: {value: 3}
stop_after_failures: 100
workers: {per_device: 1}
"""


@pytest.fixture
def study(here: Path) -> Path:
    write_objectives(here)
    return write_study(here, STUDY)


def facts_of(folder: Path) -> Facts:
    at = StudyFolder(root=folder.resolve())
    return gather(Snapshot.take(stored_study(at), at))


def embedded(page: str) -> Any:
    """Return the data that the charts are drawn from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found
    return json.loads(found[1])


def chart(page: str, name: str) -> Any:
    """Return the description of a chart."""
    [found] = [chart for chart in embedded(page)["charts"] if chart["name"] == name]
    return found


def words(page: str) -> str:
    """Return what a page says, without its scripts and tags."""
    return re.sub(r"\s+", " ", re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


@pytest.mark.slow
def test_the_page_says_what_the_commands_say(cli: Cli, study: Path, here: Path) -> None:
    """The same numbers in `sweep trials` as JSON and CSV, in the event files, and in the page that a run leaves behind."""
    done = cli("run", str(study))
    assert done.code == 1
    assert "read the report:     runs/told/report.html" in done.out
    folder = here / "runs" / "told"
    page = (folder / "report.html").read_text()
    told = cli("trials", str(study), "--format", "json").json
    rows = list(csv.DictReader(io.StringIO(cli("trials", str(study), "--format", "csv").out)))
    drawn = {trial["n"]: trial for trial in embedded(page)["trials"]}
    curves = dict(item for series in chart(page, "curves")["series"] for item in series["data"])
    assert len(told) == len(rows) == len(drawn) == 12
    for trial, row in zip(told, rows, strict=True):
        assert drawn[trial["number"]]["value"] == trial["value"] == float(row["score"])
        assert drawn[trial["number"]]["state"] == trial["state"] == row["state"]
        points = scalars(Path(trial["dir"]))["score"]
        assert points == [pytest.approx((step, value), rel=1e-5) for step, value in curves[trial["number"]]]
        assert points[-1][1] == pytest.approx(trial["value"])
    best = cli("best", str(study), "--format", "json").json[0]
    assert chart(page, "curves")["series"][1]["data"][0][0] == best["number"]
    assert f"{best['value']:.4f}" in words(page)


@pytest.mark.slow
def test_failures_are_grouped_by_cause(cli: Cli, study: Path, here: Path) -> None:
    """One line for equal messages, whatever numbers they contain."""
    cli("run", str(study))
    [failure] = facts_of(here / "runs" / "told").failures
    assert failure.cause == "exception"
    assert failure.numbers == (1, 3, 5, 7, 9, 11)
    assert "RuntimeError" in failure.text
    page = words((here / "runs" / "told" / "report.html").read_text())
    assert "6 exception RuntimeError" in page


@pytest.mark.slow
def test_the_timeline_knows_every_attempt(cli: Cli, study: Path, here: Path) -> None:
    """A trial whose worker died was in a slot twice; a slot never has two trials at a time."""
    done = cli("run", str(study), "objective=mine:shows", "how.value=ok", "parameters.kill_at={values: [2]}", "steps.value=3")
    assert done.code == 0, done.err
    facts = facts_of(here / "runs" / "told")
    assert sorted({(item.number, item.how) for item in facts.busy}) == sorted(
        [(number, how) for number in range(6) for how in ("complete", "died")]
    )
    by_slot: dict[int, list[tuple[float, float]]] = {}
    for item in facts.busy:
        assert item.ended >= item.began
        by_slot.setdefault(item.slot, []).append((item.began, item.ended))
    for spans in by_slot.values():
        spans.sort()
        assert all(one[1] <= other[0] + 0.01 for one, other in itertools.pairwise(spans))
    assert 0 < (facts.busy_share or 0) <= 1


@pytest.mark.slow
def test_the_best_settings_metrics_have_intervals(cli: Cli, study: Path, here: Path) -> None:
    """The model's over the seeds; Wilson's for an accuracy of one training, of which it says that it is about this network."""
    assert cli("run", str(study), "how.value=ok").code == 0
    facts = facts_of(here / "runs" / "told")
    assert facts.answer.repeated
    assert facts.answer.settings[0].params == {"x": 4}
    assert facts.answer.metrics[0].name == "score"
    assert all(item.low is None or item.low <= item.value <= (item.high or 0) for item in facts.answer.metrics)
    single = cli("run", str(study), "name=single", "objective=mine:accurate", "how.value=ok", "seed.value=0")
    assert single.code == 0, single.err
    [item] = [item for item in facts_of(here / "runs" / "single").answer.metrics if item.name == "test/accuracy"]
    assert (item.value, item.samples) == (0.5, 100)
    assert (item.low, item.high) == pytest.approx((0.4038, 0.5962), abs=5e-5)
    assert "0.4038 to 0.5962 (95 %, this trained network, from 100 samples)" in words(
        (here / "runs" / "single" / "report.html").read_text()
    )


def test_nothing_in_a_study_can_spoil_the_page(cli: Cli, study: Path, here: Path) -> None:
    """Values and errors are always text. The page may run its own two scripts and load nothing."""
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    done = cli(
        "run", str(study), f"x.values=[{json.dumps(hostile)}]", "how.values=[raise]", "seed.value=0", "objective=mine:says"
    )
    assert done.code == 1, done.err
    page = (here / "runs" / "told" / "report.html").read_text()
    assert hostile not in page
    assert page.count("<script") == 3
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert hostile in embedded(page)["trials"][0]["text"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src 'sha256-")
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="', own)


@pytest.mark.slow
def test_a_report_can_be_asked_for_at_any_time(cli: Cli, study: Path, here: Path) -> None:
    """Before a trial is complete and to another file, but not before the study exists."""
    missing = cli("report", str(study))
    assert missing.code == 2
    assert "[no-study]" in missing.err
    assert cli("run", str(study), "how.values=[raise]").code == 1
    done = cli("report", str(study), "--out", "elsewhere/page.html")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["report   elsewhere/page.html"]
    assert "No trial is complete yet" in (here / "elsewhere" / "page.html").read_text()


@pytest.mark.slow
def test_a_report_that_cannot_be_written_costs_no_run(cli: Cli, study: Path, here: Path) -> None:
    """The run prints a warning and its exit code stays; the command fails with a message."""
    (here / "runs" / "told").mkdir(parents=True)
    (here / "runs" / "told" / "report.html").mkdir()
    (here / "runs" / "told" / "lock").touch()
    done = cli("run", str(study), "how.value=ok")
    assert done.code == 0
    assert "the report could not be written" in done.err
    asked = cli("report", str(study))
    assert asked.code == 1
    assert "[report-not-written]" in asked.err


@pytest.mark.parametrize("form", [pytest.param("png", marks=pytest.mark.slow), "svg"])
def test_the_charts_are_written_as_pictures(cli: Cli, study: Path, here: Path, form: str) -> None:
    """For a paper: one file for each chart that has data."""
    assert cli("run", str(study), "how.value=ok", "x.values=[1, 2, 3]").code == 0
    done = cli("report", str(study), "--figures", "pictures", "--figure-format", form)
    assert done.code == 0, done.err
    names = {"importances", "effect_seed", "effect_x", "history", "parallel", "curves", "timeline"}
    assert {path.name for path in (here / "pictures").iterdir()} == {f"{name}.{form}" for name in names}
    start = b"\x89PNG" if form == "png" else b"<?xml"
    assert all(path.read_bytes().startswith(start) for path in (here / "pictures").iterdir())


@pytest.mark.slow
def test_one_training_of_each_setting_is_not_called_certain(cli: Cli, study: Path, here: Path) -> None:
    """With one training the page says that chance is unknown, and how to measure it."""
    assert cli("run", str(study), "how.value=ok", "seed.value=0").code == 0
    page = words((here / "runs" / "told" / "report.html").read_text())
    assert "Each setting was trained once, so a difference may be chance" in page
    assert "name=told-settled" in page
    assert "repeats=" in page


@pytest.mark.slow
def test_a_study_without_its_environment_still_has_a_report(cli: Cli, study: Path, here: Path) -> None:
    """Files can be lost when a folder is copied."""
    assert cli("run", str(study), "how.value=ok").code == 0
    folder = here / "runs" / "told"
    (folder / "environment.json").unlink()
    for record in records(folder):
        shutil.rmtree(folder / record.folder)
    assert cli("report", str(folder)).code == 0


@pytest.mark.slow
def test_values_beyond_all_bounds_do_not_end_a_run_badly(cli: Cli, study: Path, here: Path) -> None:
    """They are finite, but their squares and differences overflow."""
    done = cli("run", str(study), "objective=mine:huge", "how.value=ok", "x.values=[1, 2, 3]")
    assert done.code == 0, done.err
    assert "read the report" in done.out
    assert cli("status", str(study)).code == cli("best", str(study)).code == 0


@pytest.mark.slow
def test_values_that_read_alike_are_told_apart(cli: Cli, study: Path, here: Path) -> None:
    """A number and its text, null and the word have different places, and are written as in the file."""
    values = """parameters.x={values: [1, "1", null, "null"]}"""
    assert cli("run", str(study), "objective=mine:by_kind", "how.value=ok", values).code == 0
    axis = facts_of(here / "runs" / "told").axes[1]
    assert axis.categories == ["1", "'1'", "null", "'null'"]
    assert [axis.place(value) for value in (1, "1", None, "null", True)] == [0, 1, 2, 3, None]


@pytest.mark.slow
def test_pauses_between_runs_are_cut_out_of_the_timeline(cli: Cli, study: Path, here: Path) -> None:
    """A study that was stopped overnight was not idle in that time."""
    assert cli("run", str(study), "how.value=ok").code == 0
    at = StudyFolder(root=here / "runs" / "told")
    snapshot = Snapshot.take(stored_study(at), at)
    early = snapshot.records[0]
    day_before = [dataclasses.replace(span, started=yesterday(span.started), ended=yesterday(span.ended)) for span in early.spans]
    moved = dataclasses.replace(snapshot, records=[dataclasses.replace(early, spans=tuple(day_before)), *snapshot.records[1:]])
    assert max(item.ended for item in gather(moved).busy) < 60


def yesterday(text: str) -> str:
    return (datetime.fromisoformat(text) - timedelta(days=1)).isoformat()


@pytest.mark.slow
def test_long_curves_are_thinned(cli: Cli, study: Path, here: Path) -> None:
    """To 100 points, including both ends."""
    assert cli("run", str(study), "how.value=ok", "steps.value=1000", "x.values=[1]", "seed.values=[0]").code == 0
    points = facts_of(here / "runs" / "told").curves[0]
    assert len(points) == 100
    assert (points[0][0], points[-1][0]) == (1, 1000)


@pytest.mark.parametrize(
    ("values", "sign", "shown"),
    [
        ([0.88, 0.87, 0.86], 1, (0.86, 0.88)),
        ([*([0.5 + i / 100 for i in range(30)]), -1e9], 1, (0.25, 0.8)),  # one that diverged does not determine the range
        ([*([0.5 + i / 100 for i in range(30)]), 1e9], -1, (0.5, 1.05)),
        ([7.0, 7.0], 1, (6.65, 7.35)),
        ([0.0], -1, (-0.5, 0.5)),
        ([123456789.0, 0.3, 0.4], 1, (0, 150000000)),
        ([1e308, -1e308, 3.0], 1, (-1e308, 1e308)),
    ],
)
def test_an_axis_shows_the_good_and_most_of_the_bad(values: list[float], sign: int, shown: tuple[float, float]) -> None:
    """From the best value to that of the best 90 %, and as much again."""
    found = shown_range(values, sign)
    assert found is not None
    assert found == pytest.approx(shown, abs=0.06 * (shown[1] - shown[0]))
    assert found[0] <= (max(values) if sign > 0 else min(values)) <= found[1]


# ---------------------------------------------------------------- the terminal


@pytest.mark.slow
def test_the_terminal_shows_curves_and_importances(cli: Cli, study: Path) -> None:
    """`best` and `status` draw them with characters that the encoding of the output has, and without colour into a pipe."""
    assert cli("run", str(study), "how.value=ok").code == 0
    for verb in ("best", "status"):
        drawn = cli(verb, str(study), env={"PYTHONIOENCODING": "utf-8"})
        assert re.search("█[▁▂▃▄▅▆▇]+  ", drawn.out), drawn.out
        assert re.search(r"^x +█+ +\d+%  \(\d+% to \d+%\)", drawn.out, flags=re.MULTILINE), drawn.out
        plain = cli(verb, str(study), env={"PYTHONIOENCODING": "ascii"})
        assert plain.out.isascii()
        assert re.search(r"^x +#+ ", plain.out, flags=re.MULTILINE)
        assert "\x1b" not in drawn.out + plain.out


@pytest.mark.slow
def test_curves_give_way_on_a_narrow_terminal(cli: Cli, study: Path) -> None:
    """Every other cell stays complete."""
    assert cli("run", str(study), "how.value=ok").code == 0
    narrow = cli("best", str(study), env={"COLUMNS": "48", "PYTHONIOENCODING": "utf-8"})
    assert narrow.code == 0
    assert "score" in narrow.out


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shape torch.Size([32, 64]) from, torch.Size([64])", "shape torch.Size([1, 2, 3]) from, torch.Size([8])"),
        ("cannot be multiplied (32x64 and 128x10) (exit code 1)", "cannot be multiplied (8x4 and 1x1) (exit code 1)"),
        ("No such file: '/a/b/c.csv'", "No such file: '/d/c.csv'"),
        ("<Foo object at 0x7ffdeadbeef> on cuda:0", "<Foo object at 0x12> on cuda:3"),
        ("score is nan at step 3: the", "score is -inf at step 1e10: the"),
        ("unknown optimizer 'sgd'", "unknown optimizer 'adam'"),
    ],
)
def test_failures_are_grouped_without_their_parameters(one: str, other: str) -> None:
    """Numbers, shapes, paths, addresses and the trial's own values differ; the words do not."""
    records = [
        trial_record(number, TrialState.FAILED, error=error, cause="exception", params={"optimizer": optimizer})
        for number, (error, optimizer) in enumerate([(one, "sgd"), (other, "adam"), ("something else", "sgd")])
    ]
    assert [failure.numbers for failure in facts._failures(records)] == [(0, 1), (2,)]
