"""The twelve trials of studies/fashion.yaml against the tutorials' plain loop over the same settings.

    python -m tests.benchmarks.fashion [--epochs 1] [--rounds 1]

The plain loop is what the tutorials teach: a DataLoader with ToTensor for each sample, `.item()` at each step, one trial
after another in one process with torch's own number of threads, scalars and hparams through SummaryWriter. It trains on the
same 55,000 images and evaluates nothing. This project's side is the command itself, from its start to its end:
processes, imports, validation after each epoch, the test set, the run folders. Settings of both sides alternate in
one run, so the ratio holds where the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import nn
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets as torchvision_datasets
from torchvision.transforms import ToTensor

from sweep.objectives import datasets, fashion_mnist
from tests.conftest import REPOSITORY

GRID = list(itertools.product((0.01, 0.001), (32, 64, 128), (True, False)))


class Network(nn.Module):
    """The tutorials' network, pooling after ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 12, 5)
        self.fc1, self.fc2, self.out = nn.Linear(192, 120), nn.Linear(120, 60), nn.Linear(60, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2, 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2, 2).reshape(-1, 192)
        logits: torch.Tensor = self.out(F.relu(self.fc2(F.relu(self.fc1(x)))))
        return logits


def plain(folder: Path, epochs: int) -> float:
    """Train the twelve settings as the tutorials do; return the seconds, imports and data not counted."""
    root = datasets.cache_root()
    whole = torchvision_datasets.FashionMNIST(str(root), train=True, download=False, transform=ToTensor())
    data = Subset(whole, fashion_mnist.load("fashion_mnist", "cpu")[0].index.tolist())
    started = time.perf_counter()
    for lr, batch_size, shuffle in GRID:
        torch.manual_seed(0)
        network = Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        loader = DataLoader(data, batch_size=batch_size, shuffle=shuffle)
        with SummaryWriter(str(folder / f"lr={lr} batch_size={batch_size} shuffle={shuffle}")) as writer:
            for epoch in range(epochs):
                total_loss, total_correct = 0.0, 0
                for images, labels in loader:
                    logits = network(images)
                    loss = F.cross_entropy(logits, labels)
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                    optimizer.step()
                    total_loss += loss.item() * batch_size
                    total_correct += logits.argmax(dim=1).eq(labels).sum().item()
                writer.add_scalar("Loss", total_loss, epoch)
                writer.add_scalar("Accuracy", total_correct / len(data), epoch)
            writer.add_hparams(
                {"lr": lr, "batch_size": batch_size, "shuffle": shuffle},
                {"accuracy": total_correct / len(data), "loss": total_loss},
            )
    return time.perf_counter() - started


def ours(folder: Path, epochs: int) -> float:
    """Run the study by its command; return the seconds."""
    study = REPOSITORY / "studies" / "fashion.yaml"
    started = time.perf_counter()
    command = [sys.executable, "-m", "sweep", "run", str(study), f"epochs.value={epochs}", f"output={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for _ in datasets.fetch("fashion_mnist", datasets.cache_root()):
        pass
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{datetime.now():%Y-%m-%d %H:%M}, {machine}, torch {torch.__version__}")
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            mine = ours(Path(name) / "sweep", options.epochs)
            theirs = plain(Path(name) / "plain", options.epochs)
        rounds.append({"plain_s": round(theirs, 1), "sweep_s": round(mine, 1), "ratio": round(theirs / mine, 2)})
        print(f"round {number + 1}: plain loop {theirs:.1f} s, sweep {mine:.1f} s, ratio {theirs / mine:.2f}", flush=True)
    print(json.dumps({"epochs": options.epochs, "rounds": rounds, "median_ratio": statistics.median(r["ratio"] for r in rounds)}))


if __name__ == "__main__":
    main()
