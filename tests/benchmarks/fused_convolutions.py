"""Compare the two ways to compute the convolutions of networks that are trained together: milliseconds of a training step.

    python -m tests.benchmarks.fused_convolutions [--device cuda] [--seconds 1]

One thread; without graphs, so that on a GPU the launches count too, which are fewer in a study's graphs.
"""

from __future__ import annotations

import argparse
import itertools
import time

import torch

from sweep.objectives.fused import GROUPED, PRODUCTS, FusedNetwork, losses_of
from sweep.objectives.networks import make_model
from sweep.worker.member_rows import rows_of
from tests.benchmarks.machine import describe


def milliseconds(model: str, members: int, batch_size: int, convolutions: str, device: str, seconds: float) -> float:
    """Return the mean of as many steps as fit into some seconds; the first is not counted."""
    networks = [make_model(model).to(device) for _ in range(members)]
    rows = rows_of(networks).detach().requires_grad_()
    network = FusedNetwork(networks[0], members, convolutions)
    images = torch.rand(members, batch_size, 1, 28, 28, device=device)
    labels = torch.randint(0, 10, (members, batch_size), device=device)

    def step() -> None:
        [gradient] = torch.autograd.grad(losses_of(network(rows, images), labels).sum(), rows)
        gradient[0, 0].item()  # waits for a GPU

    step()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        step()
        steps += 1
    return (time.perf_counter() - started) / steps * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    print(describe())
    torch.set_num_threads(1)
    for model, members, batch_size in itertools.product(("cnn", "lenet5"), (2, 4, 8), (32, 128)):
        taken = [milliseconds(model, members, batch_size, way, options.device, options.seconds) for way in (GROUPED, PRODUCTS)]
        print(f"{members} x {model}, batches of {batch_size}: {GROUPED} {taken[0]:.3g} ms, {PRODUCTS} {taken[1]:.3g} ms")


if __name__ == "__main__":
    main()
