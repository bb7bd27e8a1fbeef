"""Measure whether a trial costs as much at the end of 10,000 trials as at the beginning, in ms, and the runner's memory, in MB.

    python -m tests.benchmarks.ten_thousand [--trials 10000] [--workers 2] [--methods random grid] [--profile FILE]

`sweep run` on a random study and on a grid whose objective returns a float at once. For each study: the milliseconds from one
trial's end to the next one's, over the first 500, the last 500 and all trials; the seconds of the whole command; the highest
memory of the runner's process, the report at its end included; the seconds of the verbs that only read. A figure that has a bar
is compared with it. The time of TPE's `ask` among this many trials is its own, whatever the orchestration: it is printed apart.
`--profile` runs everything in one process, without workers, under cProfile; read it with `python -m pstats FILE`.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweep.search.planner import Planner
from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.study.record import planned_record
from sweep.study.trial import TrialState
from tests.benchmarks.machine import describe
from tests.support.command_line import run_sweep
from tests.support.studies import study_spec, study_text, write_study

OBJECTIVE = """
def train(trial):
    return trial.params["x"] * 0.5
"""
DOMAINS: dict[str, dict[str, float]] = {"random": {"min": 0.0, "max": 1.0}, "grid": {"min": 1}}
SPAN = 500
READING = {"status": 2.0, "best": 2.0, "plan": 2.0, "trials": None}
RATIO_BAR, MEMORY_BAR_MB, TRIAL_BAR_MS = 1.5, 500, 15


def run(folder: Path, method: str, trials: int, workers: int, profile: str | None) -> None:
    (folder / "trivial.py").write_text(OBJECTIVE)
    space = {"x": {"max": trials} | DOMAINS[method]}
    slots = {"devices": "cpu", "per_device": workers}
    keys = {"name": "many", "objective": "trivial:train", "method": method, "workers": slots}
    path = write_study(folder, study_text(space, **keys, budget={"trials": trials}))
    words = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-m", "sweep", "run", str(path)]
    began = time.perf_counter()
    process = subprocess.Popen([*words, *(["--inline"] if profile else [])], cwd=folder, stdout=subprocess.DEVNULL)
    highest = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, TypeError):  # it has just ended
            highest = max(highest, _peak_kb(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0, process.returncode
    whole = time.perf_counter() - began
    ends = sorted(datetime.fromisoformat(r.ended or "").timestamp() for r in read_records(StudyFolder(root=folder / "runs/many")))
    assert len(ends) == trials
    span = min(SPAN, trials // 4)
    first, last = (ends[span] - ends[0]) / span * 1000, (ends[-1] - ends[-1 - span]) / span * 1000
    every = (ends[-1] - ends[0]) / (trials - 1) * 1000
    print(f"\n{method}, {trials:,} trials, {workers} workers{', in one process under cProfile' if profile else ''}")
    _line(f"ms per trial, first {span}", first)
    _line(f"ms per trial, last {span}", last)
    _line("last / first", last / first, RATIO_BAR)
    _line("ms per trial, all", every, TRIAL_BAR_MS)
    _line("s, the whole command", whole)
    _line("MB, the runner's peak", highest / 1024, MEMORY_BAR_MB)


def read(folder: Path) -> None:
    for verb, bar in READING.items():
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            assert run_sweep(verb, "runs/many", here=folder).code == 0
            seconds.append(time.perf_counter() - began)
        _line(f"s, sweep {verb}", statistics.median(seconds), bar)


def tpe(trials: int, asks: int = 20) -> Iterator[tuple[int, float]]:
    """Yield numbers of known trials, each with the milliseconds of an `ask` of TPE among them."""
    space: dict[str, Any] = {"x": {"min": 0.0, "max": 1.0}}
    for known in sorted({min(trials, count) for count in (100, 1000, trials)}):
        study = study_spec(space, method="random", budget={"trials": 2 * trials})
        drawn, records = Planner(study), []
        for _ in range(known):
            asked = drawn.ask()
            assert asked is not None
            drawn.tell(asked[0], TrialState.COMPLETE, 0.0)
            records.append(planned_record(study, *asked))
        done = [replace(r, state=TrialState.COMPLETE, value=float(str(r.params["x"]))) for r in records]
        planner = Planner(study_spec(space, method="tpe", budget={"trials": 2 * trials}), done)
        began = time.perf_counter()
        for _ in range(asks):
            asked = planner.ask()
            assert asked is not None
            planner.tell(asked[0], TrialState.COMPLETE, 0.5)
        yield known, (time.perf_counter() - began) / asks * 1000


def _peak_kb(pid: int) -> int:
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def _line(what: str, value: float, bar: float | None = None) -> None:
    verdict = "" if bar is None else f"   bar {bar:g}: {'held' if value <= bar else 'MISSED'}"
    print(f"  {what:<28} {value:>9.2f}{verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=list(DOMAINS), choices=list(DOMAINS))
    parser.add_argument("--profile", metavar="FILE", help="where to write the profile of the last study")
    options = parser.parse_args()
    print(describe())
    for method in options.methods:
        with tempfile.TemporaryDirectory() as name:
            run(Path(name), method, options.trials, options.workers, options.profile and str(Path(options.profile).absolute()))
            read(Path(name))
    print("\nTPE's own cost, in memory")
    for known, cost in tpe(options.trials):
        _line(f"ms per ask among {known:,}", cost)


if __name__ == "__main__":
    main()
