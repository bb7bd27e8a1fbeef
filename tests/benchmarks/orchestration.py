"""Measure the orchestration of a trial, in ms: 200 trials of an objective that only reports 5 times, on 2 workers.

    python -m tests.benchmarks.orchestration [--trials 200] [--workers 2] [--rounds 3]

The time from the end of the first trials to the end of the last one, divided by the number of trials; the first `workers` trials
are left out, since workers start with them. It includes everything: planning, the pipe, SQLite, and the run folder with
its event file, trial.json and log.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from sweep.runner.session import run_study
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from tests.benchmarks.machine import describe
from tests.support.observing import Silent
from tests.support.studies import study_text, write_study

OBJECTIVE = """
def train(trial):
    for step in trial.steps(5):
        trial.report(step, {"score": trial.params["x"] / step})
"""


def measure(trials: int, workers: int) -> float:
    """Run one study and return the milliseconds per trial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(OBJECTIVE)
        space = {"x": {"min": 1, "max": trials + workers}}
        text = study_text(space, objective="empty:train", workers={"devices": "cpu", "per_device": workers})
        study, observer = read_study(write_study(folder, text)), Silent()
        outcome = run_study(study, StudyFolder(root=folder / "runs" / "study"), folder / "study.yaml", observer)
        assert outcome.exit_code == 0, outcome
        ended = [moment for moment, change, _ in observer.seen if change == "ended"]
        return (ended[-1] - ended[workers - 1]) / (len(ended) - workers) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe())
    found = [measure(options.trials, options.workers) for _ in range(options.rounds)]
    print(f"{options.trials} trials of 5 reports, {options.workers} workers, {options.rounds} rounds")
    print(f"ms per trial: median {statistics.median(found):.1f}, {' '.join(f'{value:.1f}' for value in found)}")


if __name__ == "__main__":
    main()
