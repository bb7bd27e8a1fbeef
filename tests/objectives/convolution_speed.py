"""Training steps per second of CPU time of the CNN with `ConvPoolReLU` and with three layers, on one thread.

python -m tests.objectives.convolution_speed
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.objectives.networks import make_model, make_optimizer

ROUNDS, IMAGES = 15, 6_400
ADAM = {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0}


def rate(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the steps per second of CPU time, which other programs disturb less than the clock's."""
    optimizer, steps = make_optimizer(model, ADAM), IMAGES // len(images)
    started = time.process_time()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
    return steps / (time.process_time() - started)


def main() -> None:
    """Print the medians of rounds in which the two networks take turns."""
    torch.set_num_threads(1)
    for batch in (32, 128):
        images, labels = torch.rand(batch, 1, 28, 28), torch.arange(batch) % 10
        rates: dict[str, list[float]] = {"one layer": [], "three layers": []}
        for _ in range(ROUNDS):
            three = make_model("cnn")
            three.conv1 = nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU())
            rates["one layer"].append(rate(make_model("cnn"), images, labels))
            rates["three layers"].append(rate(three, images, labels))
        print(f"batch {batch}:", ", ".join(f"{name} {statistics.median(found):.0f}" for name, found in rates.items()), flush=True)


if __name__ == "__main__":
    main()
