"""Measure the milliseconds per trial of 500 trivial trials: this project, Ray Tune, Optuna with joblib, Hydra with joblib.

    python -m tests.benchmarks.peers [--trials 500] [--workers 2] [--rounds 3]

The objective returns a float at once, so only the orchestration is measured: planning, handing out, storing. Every side searches
at random with the same number of worker processes, as one command in a process and a folder of its own:

- sweep: `sweep run`, which also leaves an event file, a record and a log for each trial, and a report at the end;
- Ray Tune: `Tuner.fit` with `reuse_actors=True`, no dashboard, no output on the terminal, one CPU per trial;
- Optuna: `joblib.Parallel` over processes that each call `study.optimize` on one storage, as its documentation shows:
  a journal file, and SQLite;
- Hydra: `--multirun` with the joblib launcher over the same number of values of x: a folder with settings and a log for each.

Ray Tune and Optuna on SQLite cost several times as much as sweep. A journal file costs less on an idle machine (1.5 ms against
3.8 where this was written: lines of text against a folder, three files and SQLite rows), and more on a busy disk, since each line
is synced.

There are two figures, medians of the rounds, in which the sides take turns: "whole" is the command from its start to its end,
with imports and the start of workers; "trials" is from the first trial's start to the last one's, which the objective records.
A peer that is not installed has a line that says so: `pip install '.[bench]'`. `compare` prints this table too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.worker.versions import version
from tests.benchmarks.machine import describe, not_installed

OBJECTIVE = """
import time

def train(trial):
    with open("../starts", "a") as file:
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


def tick(starts: str) -> None:
    """Record when a trial started: one short line, which the system appends whole."""
    with Path(starts).open("a") as file:
        file.write(f"{time.time()}\n")


def ray_tune(folder: Path, trials: int, workers: int) -> None:
    import ray
    from ray import tune

    starts = str(folder / "starts")

    def train(config: dict[str, Any]) -> dict[str, float]:
        with open(starts, "a") as file:  # noqa: PTH123  # Ray sends this function alone: it names no module of ours
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
        tick(str(folder / "starts"))
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
    text = OBJECTIVE.replace("../starts", str(folder / "starts"))
    (folder / "studies" / "trivial.py").write_text(text)
    path = folder / "studies" / "trivial.yaml"
    path.write_text(STUDY.format(trials=trials, workers=workers))
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", "sweep", "run", str(path)])  # noqa: S606  # the command is the side


def hydra_joblib(folder: Path, trials: int, workers: int) -> None:
    import hydra
    from hydra.core.config_store import ConfigStore

    # By its module's name: a function of __main__ would be sent to the workers by value, with all that it uses.
    from tests.benchmarks.peers import hydra_trial

    ConfigStore.instance().store(name="trivial", node={"x": 0, "starts": str(folder / "starts")})
    own = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", f"hydra.sweep.dir={folder}/multirun"]
    sys.argv[1:] = ["--multirun", *own, f"x={','.join(str(random.random()) for _ in range(trials))}"]
    hydra.main(version_base="1.3", config_path=None, config_name="trivial")(hydra_trial)()


def hydra_trial(given: Any) -> float:
    tick(given.starts)
    return float(given.x)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side: the distribution that it needs, and what runs it in a folder."""

    package: str
    run: Callable[[Path, int, int], None]


SIDES = {
    "sweep": Side(package="sweep", run=sweep),
    "Ray Tune": Side(package="ray", run=ray_tune),
    "Optuna, journal": Side(package="optuna", run=lambda *what: optuna_joblib(*what, sqlite=False)),
    "Optuna, SQLite": Side(package="optuna", run=lambda *what: optuna_joblib(*what, sqlite=True)),
    "Hydra, joblib": Side(package="hydra-joblib-launcher", run=hydra_joblib),
}
PACKAGES = tuple(dict.fromkeys(side.package for side in SIDES.values()))


def measure(side: str, trials: int, workers: int) -> tuple[float, float]:
    """Run one side once; return the milliseconds per trial of the whole command, and of its trials alone."""
    with tempfile.TemporaryDirectory() as name:
        words = [sys.executable, "-m", "tests.benchmarks.peers", "--side", side, "--folder", name]
        began = time.perf_counter()
        done = subprocess.run(
            [*words, "--trials", str(trials), "--workers", str(workers)], capture_output=True, text=True, check=False
        )
        whole = time.perf_counter() - began
        assert done.returncode == 0, f"{side}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        ticks = sorted(map(float, (Path(name) / "starts").read_text().split()))
        assert len(ticks) == trials, f"{side}: {len(ticks)} of {trials} trials"
    return whole / trials * 1000, (ticks[-1] - ticks[0]) / (trials - 1) * 1000


def overhead(trials: int, workers: int, rounds: int, packages: Collection[str] = PACKAGES) -> dict[str, dict[str, float]]:
    """Measure the sides of these packages, print their table and return the medians."""
    print(f"{trials} trivial trials, {workers} workers, medians of {rounds} rounds\n", flush=True)
    sides = {name: side for name, side in SIDES.items() if side.package in packages}
    there = [name for name, side in sides.items() if version(side.package)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in there}
    for _ in range(rounds):
        for name in random.sample(there, len(there)):
            found[name].append(measure(name, trials, workers))
    print(f"{'ms per trial':<16} {'version':<9} {'whole':>8} {'trials':>8}")
    medians = {}
    for name, side in sides.items():
        if name not in found:
            print(not_installed(name))
            continue
        whole, alone = (statistics.median(column) for column in zip(*found[name], strict=True))
        medians[name] = {"whole_ms": round(whole, 2), "trials_ms": round(alone, 2)}
        print(f"{name:<16} {version(side.package):<9} {whole:>8.1f} {alone:>8.1f}", flush=True)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        SIDES[options.side].run(options.folder, options.trials, options.workers)
        return
    print(describe())
    medians = overhead(options.trials, options.workers, options.rounds)
    print(json.dumps({"trials": options.trials, "workers": options.workers, "medians": medians}))


if __name__ == "__main__":
    main()
