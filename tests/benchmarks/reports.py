"""Measure what a report costs as a trial gets longer: with a state at every step, and without one.

    python -m tests.benchmarks.reports [--counts 1000 10000 100000] [--method grid]

One trial reports as often as the largest count says; the milliseconds are those of the hundred reports up to each count, and of
the first hundred. They must not grow: a checkpoint holds the latest reports only (`sweep.worker.history`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe
from tests.support.command_line import run_sweep
from tests.support.studies import study_text, write_study

_WINDOW = 100
OBJECTIVE = """
import json
import time
from pathlib import Path


def train(trial):
    counts, found, begun = trial.params["counts"], {}, time.perf_counter()
    marks = [int(count) for count in counts.split()]
    for step in trial.steps(marks[-1]):
        trial.report(step, {"score": step / 7}, {"step": step} if trial.params["states"] else None)
        if any(step == mark - WINDOW for mark in marks):
            begun = time.perf_counter()
        if step in marks:
            found[step] = (time.perf_counter() - begun) / WINDOW * 1000
    Path("found").write_text(json.dumps(found))
"""


def milliseconds(counts: list[int], method: str, *, states: bool) -> dict[int, float]:
    """Return the milliseconds of a report after so many reports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.py").write_text(OBJECTIVE.replace("WINDOW", str(_WINDOW)))
        space: dict[str, Any] = {"x": {"min": 0.0, "max": 1.0} if method != "grid" else [1]}
        space |= {"counts": {"value": " ".join(map(str, [_WINDOW, *counts]))}, "states": {"value": states}}
        budget = None if method == "grid" else {"trials": 1}
        write_study(folder, study_text(space, objective="many:train", method=method, budget=budget))
        done = run_sweep("run", "study.yaml", here=folder, timeout=7200)
        assert done.code == 0, done.out[-2000:] + done.err
        return {int(count): value for count, value in json.loads((folder / "found").read_text()).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--method", default="grid")
    options = parser.parse_args()
    print(describe())
    for states in (True, False):
        found = milliseconds(options.counts, options.method, states=states)
        row = ", ".join(f"{value:.2f} ms at {count:,}" for count, value in found.items())
        print(f"a report {'with' if states else 'without'} a state, method {options.method}: {row}", flush=True)


if __name__ == "__main__":
    main()
