"""Milliseconds for each of 500 trivial trials: this project, Ray Tune, and Optuna with joblib's processes.

    python -m tests.benchmarks.peers [--trials 500] [--workers 2] [--rounds 3]

The objective returns a float at once, so what is measured is the orchestration alone: planning, handing out, storing. Random
search everywhere, the same number of worker processes, and each side is one command in a process and a folder of its own:

- sweep: `sweep run`, which also leaves an event file, a record and a log for each trial, and a report at the end;
- Ray Tune: `Tuner.fit` with `reuse_actors=True`, no dashboard, no output on the terminal, one CPU a trial;
- Optuna: `joblib.Parallel` over processes that each call `study.optimize` on one storage, as its documentation shows:
  a journal file, and SQLite.

Ray Tune and Optuna on SQLite cost several times as much. A journal file costs less on an idle machine (1.5 ms against 3.8 where
this was written: lines of text against a folder, three files and SQLite rows), and more on a busy disk: each line is synced.

Two figures each, medians of the rounds, in which the sides take turns: "whole" is the command from its start to its end,
imports and the start of workers too; "trials" is from the first trial's start to the last one's, by the objective's
own clock. A peer that is not installed is said to be missing: `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.conftest import write_study

OBJECTIVE = """
import time

def train(trial):
    with open("../clock", "a") as file:
        file.write(f"{time.time()}\\n")
    return trial.params["x"]
"""
STUDY = """
name: trivial
objective: trivial:train
metric: {{name: score, goal: maximize}}
method: random
parameters:
  x: {{min: 0.0, max: 1.0}}
budget: {{trials: {trials}}}
workers: {{devices: cpu, per_device: {workers}}}
"""


def tick(clock: str) -> None:
    """Note when a trial started: one short line, which the system appends whole."""
    with Path(clock).open("a") as file:
        file.write(f"{time.time()}\n")


def ray_tune(folder: Path, trials: int, workers: int) -> None:
    import ray
    from ray import tune

    clock = str(folder / "clock")

    def train(config: dict[str, Any]) -> dict[str, float]:
        with open(clock, "a") as file:  # noqa: PTH123  # Ray sends this function alone: it names no module of ours
            file.write(f"{time.time()}\n")
        return {"score": config["x"]}

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, metric="score", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), name="trivial", verbose=0),
    ).fit()
    ray.shutdown()


def optuna_joblib(folder: Path, trials: int, workers: int, *, sqlite: bool) -> None:
    import joblib
    import optuna

    optuna.create_study(storage=_storage(folder, sqlite=sqlite), study_name="trivial", direction="maximize")
    shares = [trials // workers + (place < trials % workers) for place in range(workers)]
    joblib.Parallel(n_jobs=workers)(joblib.delayed(_optimize)(folder, share, sqlite) for share in shares)


def _optimize(folder: Path, trials: int, sqlite: bool) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        tick(str(folder / "clock"))
        return float(trial.suggest_float("x", 0, 1))

    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name="trivial", storage=_storage(folder, sqlite=sqlite), sampler=sampler)
    study.optimize(objective, n_trials=trials)


def _storage(folder: Path, *, sqlite: bool) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if sqlite:
        return f"sqlite:///{folder}/trivial.db"
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def sweep(folder: Path, trials: int, workers: int) -> None:
    (folder / "studies").mkdir()
    text = OBJECTIVE.replace("../clock", str(folder / "clock"))
    (folder / "studies" / "trivial.py").write_text(text)
    path = write_study(folder / "studies", STUDY.format(trials=trials, workers=workers))
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", "sweep", "run", str(path)])  # noqa: S606  # the command is the side


SIDES: dict[str, tuple[str, Callable[[Path, int, int], None]]] = {
    "sweep": ("torch", sweep),
    "Ray Tune": ("ray", ray_tune),
    "Optuna, journal": ("optuna", lambda *what: optuna_joblib(*what, sqlite=False)),
    "Optuna, SQLite": ("optuna", lambda *what: optuna_joblib(*what, sqlite=True)),
}


def measure(side: str, trials: int, workers: int) -> tuple[float, float]:
    """Run one side once; return the milliseconds a trial of the whole command, and of its trials alone."""
    with tempfile.TemporaryDirectory() as name:
        words = [sys.executable, "-m", "tests.benchmarks.peers", "--side", side, "--folder", name]
        began = time.perf_counter()
        done = subprocess.run(
            [*words, "--trials", str(trials), "--workers", str(workers)], capture_output=True, text=True, check=False
        )
        whole = time.perf_counter() - began
        assert done.returncode == 0, f"{side}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        ticks = sorted(map(float, (Path(name) / "clock").read_text().split()))
        assert len(ticks) == trials, f"{side}: {len(ticks)} of {trials} trials"
    return whole / trials * 1000, (ticks[-1] - ticks[0]) / (trials - 1) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        SIDES[options.side][1](options.folder, options.trials, options.workers)
        return
    machine = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    model = re.search(r"Model name:\s*(.*)", machine)
    print(
        f"{datetime.now():%Y-%m-%d %H:%M}, {model[1] if model else '?'}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    print(f"{options.trials} trivial trials, {options.workers} workers, medians of {options.rounds} rounds\n")
    there = [side for side, (package, _) in SIDES.items() if importlib.util.find_spec(package)]
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in there}
    for _ in range(options.rounds):
        for side in random.sample(there, len(there)):
            found[side].append(measure(side, options.trials, options.workers))
    print(f"{'ms a trial':<16} {'version':<9} {'whole':>8} {'trials':>8}")
    medians = {}
    for side, (package, _) in SIDES.items():
        if side not in found:
            print(f"{side:<16} not installed: pip install '.[bench]'")
            continue
        whole, trials = (statistics.median(column) for column in zip(*found[side], strict=True))
        medians[side] = {"whole_ms": round(whole, 2), "trials_ms": round(trials, 2)}
        version = importlib.metadata.version("sweep" if side == "sweep" else package)
        print(f"{side:<16} {version:<9} {whole:>8.1f} {trials:>8.1f}")
    print(json.dumps({"trials": options.trials, "workers": options.workers, "medians": medians}))


if __name__ == "__main__":
    main()
