"""Measure the Ray engine against this machine's own workers, in one run; its nodes are on this machine and share no folder.

    python -m tests.benchmarks.cluster [--trials 200] [--reports 200] [--rounds 3] [--only trial report]

The row `tune` needs Ray Tune: `pip install '.[bench]'`.

All of these, or only some (`--only`):

- trial: ms of a trial that only reports 5 times, on 2 slots;
- report: ms of a report with a checkpoint of 1 MB, seen from the trial;
- study: seconds of twelve trials of 10 steps of 0.2 s on 2 slots, from the first trial's start to the last one's end;
- start: seconds from the command to the first trial's start;
- tune: ms a trial of 500 that report once, on 4 slots of a node, of Ray Tune with reused actors and of this program;
- join: seconds from the start of a node, and from its joining, to its first trial's start;
- lost: seconds from the kill of a node until the session says so: of all its processes, of its raylet alone, and with all of them
  suspended as by a cut network;
- busy: 64 slots with trials that sleep for 5 s each: the share of the time that they are busy, the runner's CPU and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.machine import describe
from tests.benchmarks.timer import idle_share
from tests.support.clusters import QUIET, Cluster, Node, cluster
from tests.support.command_line import Running
from tests.support.reading import records
from tests.support.studies import study_text, write_study

OBJECTIVE = """
import time

def empty(trial):
    print("BEGAN", time.time(), flush=True)
    if trial.number < 64 and "until" in trial.params:  # until every slot has a worker
        time.sleep(max(0.0, trial.params["until"] - time.time()))
    for step in trial.steps(trial.params.get("steps", 5)):
        time.sleep(trial.params.get("sleep", 0.0))
        trial.report(step, {"score": trial.params["x"] / step})
    print("ENDED", time.time(), flush=True)
"""
REPORTS = """
import json, time, torch

def reports(trial):
    weights, spent = torch.rand(250_000), []
    for step in trial.steps(trial.params["count"]):
        began = time.perf_counter()
        trial.report(step, {"score": step}, {"weights": weights})
        spent.append((time.perf_counter() - began) * 1000)
    print("SPENT", json.dumps(spent), flush=True)
"""
_TUNE = """
import sys, time
import ray
from ray import tune

def train(config):
    tune.report({"score": config["x"]})
    with open(ends, "a") as file:
        file.write(f"{time.time()}\\n")

address, folder, ends, trials = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
ray.init(address=address, log_to_driver=False)
tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space={"x": tune.grid_search([*range(trials)])},
    tune_config=tune.TuneConfig(metric="score", mode="max", reuse_actors=True),
    run_config=tune.RunConfig(storage_path=folder, name="trivial", verbose=0),
).fit()
"""
_SLOTS = 64
_FEW_SLOTS, _MANY_TRIALS = 4, 500
Row = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A session that has ended: its start, its trials' logs, how many workers were lost, what the runner's process used."""

    began: float
    logs: list[str]
    lost: int = 0
    cpu_share: float = 0.0
    peak_mb: float = 0.0

    def marks(self, name: str) -> list[float]:
        """Return the time at which each trial printed this for the last time, in the order of the trials."""
        return [[float(line.split()[1]) for line in log.splitlines() if line.startswith(name)][-1] for log in self.logs]

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Return each trial's start and end."""
        return list(zip(self.marks("BEGAN"), self.marks("ENDED"), strict=True))


@contextmanager
def started(folder: Path, engine: list[str], parameters: dict[str, Any], objective: str) -> Iterator[Running]:
    (folder / "measured.py").write_text(REPORTS if objective == "reports" else OBJECTIVE)
    write_study(folder, study_text(parameters, objective=f"measured:{objective}", workers={"devices": "cpu"}))
    with Running("run", "study.yaml", *engine, here=folder) as running:
        yield running


def run(base: Path, engine: list[str], parameters: dict[str, Any], objective: str = "empty", *, watched: bool = False) -> Ran:
    """Run a study in a new folder in this one, which the nodes do not see."""
    with tempfile.TemporaryDirectory(dir=base) as name:
        folder, began = Path(name), time.time()
        with started(folder, engine, parameters, objective) as running:
            process = psutil.Process(running.process.pid)
            peak, used, since, first = 0.0, 0.0, 0.0, 0.0
            while running.running():
                time.sleep(0.25)
                if watched and running.running():
                    peak = max(peak, process.memory_info().rss / 1e6)
                    times = process.cpu_times()
                    used = times.user + times.system
                    if not since and any(" started " in line for line in running.lines):
                        since, first = time.time(), used
            share = (used - first) / (time.time() - since) if watched and since else 0.0
            assert running.end(600) == 0, running.out
        logs = [
            (folder / "runs" / "study" / record.folder / "log.txt").read_text() for record in records(folder / "runs" / "study")
        ]
        lost = sum("is gone" in line for line in running.lines)
        return Ran(began=began, logs=logs, lost=lost, cpu_share=share, peak_mb=peak)


def per_trial_ms(ends: list[float], slots: int) -> float:
    """Return the ms a trial from when every slot has had one."""
    ends = sorted(ends)
    return (ends[-1] - ends[slots - 1]) / (len(ends) - slots) * 1000


def report_ms(ran: Ran) -> float:
    [line] = [line for line in ran.logs[0].splitlines() if line.startswith("SPENT")]
    return float(statistics.median(json.loads(line.removeprefix("SPENT "))[5:]))


def both(name: str, bar: str, far: list[str], rounds: int, measured: Callable[[list[str]], float], digits: int = 1) -> Row:
    """Return the medians of both engines, measured in turn."""
    found = [(measured(["workers.per_device=2"]), measured(far)) for _ in range(rounds)]
    here, there = (statistics.median(values) for values in zip(*found, strict=True))
    return name, f"{here:.{digits}f}", f"{there:.{digits}f} ({there - here:+.{digits}f})", bar


def tune_ends(address: str, trials: int) -> list[float]:
    """Return when each trial of Ray Tune's ended."""
    with tempfile.TemporaryDirectory() as name:
        script, ends = Path(name, "trivial.py"), Path(name, "ends")
        script.write_text(_TUNE)
        words = [sys.executable, str(script), address, name, str(ends), str(trials)]
        subprocess.run(words, check=True, env=os.environ | QUIET, stdout=subprocess.DEVNULL)
        return [float(line) for line in ends.read_text().split()]


def joining(nodes: Cluster, folder: Path, hidden: list[Path]) -> list[Row]:
    """Measure how soon a node that joins trains, and how soon one that is lost is noticed."""
    rows: list[Row] = []
    engine = ["workers.engine=ray", f"workers.address={nodes.address}"]
    parameters = {"x": list(range(40)), "steps": 2000, "sleep": 0.05}

    def join(running: Running) -> tuple[Node, float, float]:
        lines = len(running.lines)
        began = time.time()
        node = nodes.add(1, hidden=hidden)
        joined = time.time()
        running.wait_until(lambda: any(" started " in line for line in running.lines[lines:]), 90)
        return node, time.time() - began, time.time() - joined

    with started(folder, engine, parameters, "empty") as running:
        running.line("no node", 60)
        node, all_of_it, since = join(running)
        rows.append(("a node that joins trains, s", "", f"{since:.1f} (with its own start {all_of_it:.1f})", "<= 20"))
        for how in ("all its processes killed", "its raylet killed", "all its processes suspended"):
            lines, began = len(running.lines), time.time()
            frozen = node.processes()
            for process in frozen if "suspended" in how else []:
                process.suspend()
            if "raylet" in how:
                for process in node.named("raylet"):
                    process.kill()
            elif "killed" in how:
                node.kill()
            running.wait_until(lambda lines=lines: any("is gone" in line for line in running.lines[lines:]), 150)  # type: ignore[misc]
            rows.append((f"a node is lost: {how}, s", "", f"{time.time() - began:.1f}", "<= 15"))
            node.kill()
            node = join(running)[0]
        node.end()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start-s", type=float, default=300, help="how long the 64 workers take to start")
    names = ["trial", "report", "study", "start", "tune", "join", "lost", "busy"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    wanted, rounds = set(options.only), options.rounds
    space: dict[str, Any]
    print(describe(["ray"]))
    rows: list[Row] = [("what", "this machine", "Ray", "asked for")]
    with cluster() as nodes, tempfile.TemporaryDirectory(prefix="sweep-bench-") as name:
        base = Path(name)
        hidden = [base]
        far = ["workers.engine=ray", f"workers.address={nodes.address}", "workers.per_device=2"]
        if wanted & {"join", "lost"}:
            rows += joining(nodes, base, hidden)
        if wanted - {"tune", "join", "lost", "busy"}:
            node = nodes.add(2, hidden=hidden)
            if "trial" in wanted:
                space = {"x": list(range(options.trials))}
                rows.append(
                    both(
                        "ms a trial of 5 reports",
                        "+ <= 20",
                        far,
                        rounds,
                        lambda e: per_trial_ms(run(base, e, space).marks("ENDED"), 2),
                    )
                )
            if "report" in wanted:
                space = {"x": [1], "count": options.reports}
                rows.append(
                    both("ms a report with 1 MB", "+ <= 5", far, rounds, lambda e: report_ms(run(base, e, space, "reports")))
                )
            if "study" in wanted:
                space = {"x": list(range(12)), "steps": 10, "sleep": 0.2}

                def whole(engine: list[str]) -> float:
                    ran = run(base, engine, space)
                    return max(ran.marks("ENDED")) - min(ran.marks("BEGAN"))

                rows.append(both("s of 12 trials of 2 s", "+ <= 5 %", far, rounds, whole, 2))
            if "start" in wanted:
                space = {"x": [1]}

                def start(engine: list[str]) -> float:
                    ran = run(base, engine, space)
                    return min(ran.marks("BEGAN")) - ran.began

                rows.append(both("s to the first trial", "+ <= 15", far, rounds, start))
            node.end()
        if "tune" in wanted:
            node = nodes.add(_FEW_SLOTS, hidden=hidden)
            found = []
            for _ in range(rounds):
                theirs = per_trial_ms(tune_ends(nodes.address, _MANY_TRIALS), _FEW_SLOTS)
                ran = run(base, [*far[:2]], {"x": list(range(_MANY_TRIALS)), "steps": 1})
                found.append((theirs, per_trial_ms(ran.marks("ENDED"), _FEW_SLOTS)))
            node.end()
            theirs, ours = (statistics.median(values) for values in zip(*found, strict=True))
            rows.append((f"ms a trial, {_FEW_SLOTS} slots: Ray Tune; Ray", f"{theirs:.1f}", f"{ours:.1f}", "less"))
        if "busy" in wanted:
            node = nodes.add(_SLOTS, hidden=hidden)
            far[-1] = f"workers.per_device={_SLOTS}"
            space = {"x": list(range(_SLOTS * 6)), "steps": 1, "sleep": 5.0, "until": time.time() + options.start_s}
            ran = run(base, far, space, watched=True)
            node.end()
            began = sorted(ran.marks("BEGAN"))[_SLOTS - 1]  # from when on every slot has a worker
            spans = [(max(begin, began), end) for begin, end in ran.spans if end > began]
            busy = f"{(1 - idle_share(spans, _SLOTS)) * 100:.1f} %; {ran.cpu_share:.2f}, {ran.peak_mb:.0f}; lost {ran.lost}"
            rows.append((f"{_SLOTS} slots: busy; runner's cores, MB", "", busy, ">= 95 %; < 1, < 300"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
