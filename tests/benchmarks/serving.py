"""Measure what `sweep report --serve` with a page open costs a sweep of 1,000 trials, and how fast the page is.

    python -m tests.benchmarks.serving [--trials 1000] [--rounds 3] [--busy 0.08]

Trials compute for `--busy` seconds on each of two workers, in turn with and without the page. On a machine with two cores that is
the worst case: the browser takes its time from the trials.

- plain_s, served_s: medians of the wall-clock time of the last three quarters of the trials, and overhead, in per cent. In the
  first quarter the server and the browser start, which takes seconds once;
- server_cpu_s, browser_cpu_s: CPU seconds of these, and their share of all cores during the sweep, which is what the overhead
  can be at most, whatever else the machine does;
- refresh_ms: the longest time from an answer of the server until the page shows it, new statistics included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil

from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from tests.benchmarks.machine import describe
from tests.support.browser import chromium, missing
from tests.support.command_line import Running
from tests.support.studies import study_text, write_study

OBJECTIVE = """
import time

def train(trial):
    for step in trial.steps(10):
        until = time.thread_time() + trial.params["busy"] / 10
        while time.thread_time() < until:
            pass
        trial.report(step, {"loss": (trial.params["x"] - 0.3) ** 2 + trial.params["y"] + 1 / step})
"""


@dataclass
class Costs:
    """What a page cost while it was open and the sweep ran."""

    server_cpu_s: float = 0.0
    browser_cpu_s: float = 0.0
    refresh_ms: list[float] = field(default_factory=list)
    read: Callable[[], None] = lambda: None


def _cpu_s(processes: list[psutil.Process]) -> float:
    found = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found += times.user + times.system
    return found


@contextlib.contextmanager
def _page(folder: Path) -> Iterator[Costs]:
    """Serve the study and keep its page open while the block runs."""
    costs = Costs()
    with Running("report", "runs/study", "--serve", "--no-browser", here=folder) as server, chromium(webgl=False) as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        # Each refresh is recorded in the page, so that nobody asks it often.
        page.add_init_script(
            "globalThis.took = []; new MutationObserver(() => globalThis.took.push(+document.body.dataset.refreshMs))"
            ".observe(document, {subtree: true, attributeFilter: ['data-refreshed']});"
        )
        page.goto(server.line("http://").split()[0])
        page.wait_for_selector("body[data-refreshed]")
        mine, serving = psutil.Process(), [psutil.Process(server.process.pid)]

        def browsers() -> list[psutil.Process]:
            return [process for process in mine.children(recursive=True) if process.name().startswith(("chrom", "node"))]

        began = _cpu_s(serving), _cpu_s(browsers())

        def read() -> None:
            costs.server_cpu_s, costs.browser_cpu_s = _cpu_s(serving) - began[0], _cpu_s(browsers()) - began[1]

        costs.read = read
        yield costs
        costs.refresh_ms = [took for took in page.evaluate("globalThis.took") if took]
        server.send(signal.SIGTERM)
        server.end(20)


def measure(trials: int, busy: float, *, page: bool) -> tuple[float, Costs]:
    """Run the sweep; return the seconds of its last three quarters, and what the page cost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "busy.py").write_text(OBJECTIVE)
        text = study_text(
            {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 1.0e-4, "max": 1.0, "log": True}, "busy": busy},
            objective="busy:train",
            metric={"name": "loss", "goal": "minimize"},
            method="random",
            budget={"trials": trials},
            workers={"devices": "cpu", "per_device": 2},
        )
        with Running("run", str(write_study(folder, text)), here=folder) as sweep:
            sweep.line("trial 1 ", 120)
            with _page(folder) if page else contextlib.nullcontext(Costs()) as costs:
                opened = datetime.now().astimezone().isoformat()
                while sweep.running():
                    costs.read()  # the last time just before the end, when the final page is made
                    time.sleep(0.5)
            assert sweep.end() == 0, sweep.out[-2000:]
        records = read_records(StudyFolder(root=folder / "runs" / "study"))
        ends = sorted(datetime.fromisoformat(record.ended or "") for record in records)
        first = ends[trials // 4]
        assert first > datetime.fromisoformat(opened), "the browser needed more than a quarter of the sweep to start"
        return (ends[-1] - first).total_seconds(), costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=float, default=0.08)
    options = parser.parse_args()
    if lacks := missing():
        raise SystemExit(lacks)
    print(describe())
    plain: list[float] = []
    served: list[float] = []
    costs = Costs()
    for number in range(options.rounds):
        for page in (False, True) if number % 2 == 0 else (True, False):
            seconds, cost = measure(options.trials, options.busy, page=page)
            (served if page else plain).append(seconds)
            if page:
                costs.server_cpu_s += cost.server_cpu_s / options.rounds
                costs.browser_cpu_s += cost.browser_cpu_s / options.rounds
                costs.refresh_ms += cost.refresh_ms
            print(f"{'with' if page else 'without'} the page: {seconds:.1f} s", flush=True)
    one, other = statistics.median(plain), statistics.median(served)
    share = 100 / (os.cpu_count() or 1) / other
    found = {
        "plain_s": one,
        "served_s": other,
        "overhead_percent": 100 * (other / one - 1),
        "server_cpu_s": costs.server_cpu_s,
        "server_percent": share * costs.server_cpu_s,
        "browser_cpu_s": costs.browser_cpu_s,
        "browser_percent": share * costs.browser_cpu_s,
        "refreshes": len(costs.refresh_ms),
        "refresh_ms": max(costs.refresh_ms),
    }
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
