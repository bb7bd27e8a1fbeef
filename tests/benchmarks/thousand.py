"""A study of 1,000 trials, seen: the report, its opening in Chromium, and the dashboard's first rows under `ulimit -n 1024`.

python -m tests.benchmarks.thousand [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.benchmarks.machine import describe
from tests.conftest import write_study
from tests.support.browser import chromium, missing

STUDY = """
name: thousand
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: random
parameters:
  x:     {min: 0.0, max: 1.0}
  y:     {min: 1.0e-4, max: 1.0, log: true}
  steps: {value: 20}
budget: {trials: 1000}
"""
_FILES = 1024


def opening(page_file: Path) -> float:
    """Return the seconds until every chart of the page is drawn, the browser's own start not counted."""
    with chromium(webgl=False) as browser:
        page = browser.new_page()
        page.goto("about:blank")
        started = time.perf_counter()
        page.goto(page_file.as_uri())
        page.wait_for_selector("body[data-drawn]")
        return time.perf_counter() - started


def first_rows(study: Path) -> tuple[float, float]:
    """Return the seconds from the command to the first and to all rows of the HPARAMS tab over HTTP."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweep", "dashboard", str(study), "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES)),  # noqa: PLW1509  # no thread runs here
    )
    assert process.stdout is not None
    try:
        address = next(line.partition("#")[0] for line in process.stdout if "#hparams" in line)
        first = None
        while True:
            found = rows(address)
            if found and first is None:
                first = time.perf_counter() - started
            if found == 1000:
                assert first is not None
                return first, time.perf_counter() - started
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(20)


def rows(address: str) -> int:
    body = {
        "allowedStatuses": [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")],
        "colParams": [],
        "sliceSize": 2000,
        "startIndex": 0,
    }
    where = f"{address}data/plugin/hparams/session_groups"
    request = urllib.request.Request(where, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310  # an address of our own making
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # as above
            return len(json.load(answer).get("sessionGroups", []))
    except urllib.error.HTTPError:
        return 0  # not loaded yet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, "-m", "sweep"]
        path = write_study(folder, STUDY)
        subprocess.run([*words, "run", str(path)], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        study = folder / "runs" / "thousand"
        made, opened, first, every = [], [], [], []
        for _ in range(options.rounds):
            started = time.perf_counter()
            subprocess.run([*words, "report", str(study)], check=True, stdout=subprocess.DEVNULL)
            made.append(time.perf_counter() - started)
            if not missing():
                opened.append(opening(study / "report.html"))
            some, whole = first_rows(study)
            first.append(some)
            every.append(whole)
        figures = {"report_s": made, "opening_s": opened, "first_rows_s": first, "all_rows_s": every}
        print(f"the page has {(study / 'report.html').stat().st_size / 1e6:.2f} MB; {missing() or 'it was opened'}")
        print(json.dumps({kind: round(statistics.median(values), 2) for kind, values in figures.items() if values}))


if __name__ == "__main__":
    main()
