"""What the orchestration itself costs: an empty objective that reports 5 times, 200 trials, 2 workers, once they are warm.

    python -m tests.benchmarks.orchestration [--trials 200] [--workers 2] [--rounds 3]

The figure is the time from the first trial's start to the last one's end, divided by the number of trials; the first
`workers` trials are left out, since they start with the workers. It holds everything: planning, the pipe, SQLite, the
run folder with its event file, trial.json and log.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import textwrap
from pathlib import Path

from sweep.runner.session import run_study
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from tests.benchmarks.machine import describe
from tests.support.observing import Silent

OBJECTIVE = """
def train(trial):
    for step in trial.steps(5):
        trial.report(step, {"score": trial.params["x"] / step})
"""
STUDY = """
objective: empty:train
metric: {{name: score, goal: maximize}}
method: grid
parameters:
  x: {{min: 1, max: {trials}}}
workers: {{devices: cpu, per_device: {workers}}}
"""


def measure(trials: int, workers: int) -> float:
    """Run one study and return the milliseconds a trial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(OBJECTIVE)
        (folder / "study.yaml").write_text(textwrap.dedent(STUDY.format(trials=trials + workers, workers=workers)))
        study, observer = read_study(folder / "study.yaml"), Silent()
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
    print(f"ms a trial: median {statistics.median(found):.1f}, {' '.join(f'{value:.1f}' for value in found)}")


if __name__ == "__main__":
    main()
