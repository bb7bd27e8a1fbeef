"""What going on costs: Ctrl-C to exit, resume to the first step, and a checkpoint's share of an epoch.

    python -m tests.benchmarks.resume [--rounds 5]

The study is the built-in one (full FashionMNIST, batch 64) with one worker for each core. "To the first step" ends when the
first worker has trained its first batch after the resume, told by a file that the objective's batch loop would not write
itself: the benchmark's own objective wraps the built-in one. A checkpoint's cost is the time inside `trial.report` that
`sweep.worker.checkpoint.save` and the counting of records before it take, against the time of the epoch, both in one run.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from tests.benchmarks.machine import describe

OBJECTIVE = """
import time
from pathlib import Path

from sweep.worker.attempt import _Attempt
from sweep.objectives import fashion_mnist

spent = []
save, train_epoch = _Attempt.save, fashion_mnist.train_epoch


def timed_save(self, position, state):
    started = time.perf_counter()
    save(self, position, state)
    spent.append(time.perf_counter() - started)


def noted_epoch(*args):
    for number, batches in enumerate(train_epoch(*args)):
        if number == 0:
            with Path("first").open("a") as file:
                file.write(f"{time.time()}\\n")
        yield batches


def train(trial):
    _Attempt.save, fashion_mnist.train_epoch = timed_save, noted_epoch
    started = time.perf_counter()
    result = fashion_mnist.train(trial)
    with Path("spent").open("a") as file:
        file.write(f"{sum(spent)} {time.perf_counter() - started} {len(spent)}\\n")
    spent.clear()
    return result


train.prepare = fashion_mnist.prepare
train.metrics = fashion_mnist.train.metrics
"""
STUDY = """
objective: timed:train
metric: {name: validation/accuracy, goal: maximize}
method: grid
parameters:
  lr:     {values: [0.001, 0.0005]}
  epochs: {value: %d}
"""


def interrupted(rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from Ctrl-C to exit, and from resume to the first batch, of each round."""
    stops, starts = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name), epochs=100)
        for _ in range(rounds + 1):
            (folder / "first").unlink(missing_ok=True)
            began = time.time()
            command = [sys.executable, "-m", "sweep", "run", "study.yaml"]
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
            while not (folder / "first").exists() or not (folder / "first").read_text():
                time.sleep(0.01)
            starts.append(float((folder / "first").read_text().split()[0]) - began)
            time.sleep(2.5)
            began = time.time()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            stops.append(time.time() - began)
    return stops, starts[1:]  # the first start is no resume


def checkpoint_share() -> tuple[float, float]:
    """Return a checkpoint's milliseconds, and its share of the time that a trial takes with one at each epoch."""
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name), epochs=3)
        subprocess.run([sys.executable, "-m", "sweep", "run", "study.yaml"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        rows = [[float(word) for word in line.split()] for line in (folder / "spent").read_text().splitlines()]
    saving, whole, count = (sum(column) for column in zip(*rows, strict=True))
    return saving / count * 1000, saving / whole


def _folder(folder: Path, epochs: int) -> Path:
    (folder / "timed.py").write_text(OBJECTIVE)
    (folder / "study.yaml").write_text(textwrap.dedent(STUDY % epochs))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe())
    stops, starts = interrupted(options.rounds)
    print(f"Ctrl-C to exit:        median {statistics.median(stops):.2f} s, longest {max(stops):.2f} s of {len(stops)}")
    print(f"resume to first batch: median {statistics.median(starts):.2f} s, longest {max(starts):.2f} s of {len(starts)}")
    milliseconds, share = checkpoint_share()
    print(
        f"a checkpoint:          {milliseconds:.1f} ms, {share:.2%} of a trial with one at each epoch (batch 64, 55,000 images)"
    )


if __name__ == "__main__":
    main()
