"""Measure a study of 1,000 trials: how long its report takes to build and to open, and how soon the dashboard has its rows.

    python -m tests.benchmarks.thousand [--rounds 3]

Medians over the rounds, in seconds, and the size of the page in MB:

- report_s: `sweep report`, from its start to its end;
- opening_s: from the page's address in Chromium to its last chart, without the start of Chromium;
- first_rows_s, all_rows_s: from the start of `sweep dashboard` under `ulimit -n 1024` to the first and to all rows of the
  HPARAMS tab over HTTP.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.machine import describe
from tests.support.browser import chromium, missing
from tests.support.command_line import Running, run_sweep
from tests.support.studies import study_text, write_study
from tests.support.tensorboards import TensorBoard

SPACE = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 1.0e-4, "max": 1.0, "log": True}, "steps": 20}
STUDY = study_text(
    SPACE,
    objective="sweep.objectives.toy:train",
    metric={"name": "loss", "goal": "minimize"},
    method="random",
    budget={"trials": 1000},
    workers=None,
)
_FILES = 1024


def opening(page_file: Path) -> float:
    """Return the seconds until every chart of the page is drawn, without the start of the browser."""
    with chromium(webgl=False) as browser:
        page = browser.new_page()
        page.goto("about:blank")
        started = time.perf_counter()
        page.goto(page_file.as_uri())
        page.wait_for_selector("body[data-drawn]")
        return time.perf_counter() - started


def first_rows(folder: Path) -> tuple[float, float]:
    """Return the seconds from the command to the first and to all rows of the HPARAMS tab."""
    started = time.perf_counter()
    with Running("dashboard", "runs/study", "--no-browser", here=folder, open_files=_FILES) as running:
        board = TensorBoard(running.line("#hparams"))
        first = None
        while True:
            found = len(board.rows())
            if found and first is None:
                first = time.perf_counter() - started
            if found == 1000:
                assert first is not None
                every = time.perf_counter() - started
                running.send(signal.SIGTERM)
                running.end(20)
                return first, every
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_study(folder, STUDY)
        assert run_sweep("run", str(path), here=folder, timeout=900).code == 0
        page = folder / "runs" / "study" / "report.html"
        built, opened, first, every = [], [], [], []
        for _ in range(options.rounds):
            started = time.perf_counter()
            assert run_sweep("report", "runs/study", here=folder).code == 0
            built.append(time.perf_counter() - started)
            if not missing():
                opened.append(opening(page))
            some, whole = first_rows(folder)
            first.append(some)
            every.append(whole)
        figures = {"report_s": built, "opening_s": opened, "first_rows_s": first, "all_rows_s": every}
        print(f"the page: {page.stat().st_size / 1e6:.2f} MB; {missing() or 'it was opened'}")
        print(json.dumps({kind: round(statistics.median(values), 2) for kind, values in figures.items() if values}))


if __name__ == "__main__":
    main()
