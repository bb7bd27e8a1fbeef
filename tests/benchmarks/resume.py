"""Measure what an interruption costs: seconds from Ctrl-C to exit and from `sweep run` to the first batch, ms of a checkpoint.

    python -m tests.benchmarks.resume [--rounds 5]

The study is the built-in one (full FashionMNIST, batch size 64) with one worker for each core. The first batch after a resume
is the first one that any worker has trained; the benchmark's own objective wraps the built-in one and writes the time of it to
a file. The cost of a checkpoint is the time in the attempt's `save`, which checkpoints and counts the records before it,
divided by the time of the trials of the same run.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.machine import describe
from tests.support.command_line import Running, run_sweep
from tests.support.studies import study_text, write_study

OBJECTIVE = """
import time
from pathlib import Path

from sweep.worker.attempt import Attempt
from sweep.objectives import fashion_mnist

spent = []
save, train_epoch = Attempt.save, fashion_mnist.train_epoch


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
    Attempt.save, fashion_mnist.train_epoch = timed_save, noted_epoch
    started = time.perf_counter()
    result = fashion_mnist.train(trial)
    with Path("spent").open("a") as file:
        file.write(f"{sum(spent)} {time.perf_counter() - started} {len(spent)}\\n")
    spent.clear()
    return result


train.prepare = fashion_mnist.prepare
train.metrics = fashion_mnist.train.metrics
"""


def interrupted(rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from Ctrl-C to exit, and from `sweep run` to the first batch, of each round."""
    stops, starts = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name), epochs=100)
        for _ in range(rounds + 1):
            (folder / "first").unlink(missing_ok=True)
            began = time.time()
            with Running("run", "study.yaml", here=folder) as running:
                running.wait_until(lambda: (folder / "first").exists() and (folder / "first").read_text())
                starts.append(float((folder / "first").read_text().split()[0]) - began)
                time.sleep(2.5)
                began = time.time()
                running.send(signal.SIGINT)
                assert running.end() == 130, running.out
                stops.append(time.time() - began)
    return stops, starts[1:]  # the first start is no resume


def checkpoint_share() -> tuple[float, float]:
    """Return the milliseconds of a checkpoint, and its share of the time of a trial that has one at each epoch."""
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name), epochs=3)
        assert run_sweep("run", "study.yaml", here=folder, timeout=900).code == 0
        rows = [[float(word) for word in line.split()] for line in (folder / "spent").read_text().splitlines()]
    saving, whole, count = (sum(column) for column in zip(*rows, strict=True))
    return saving / count * 1000, saving / whole


def _folder(folder: Path, epochs: int) -> Path:
    (folder / "timed.py").write_text(OBJECTIVE)
    metric = {"name": "validation/accuracy", "goal": "maximize"}
    space = {"lr": [0.001, 0.0005], "epochs": epochs}
    write_study(folder, study_text(space, objective="timed:train", metric=metric, workers=None))
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
