"""Measure a training step of the built-in objective on a device: microseconds, equal bits, and several processes side by side.

    python -m tests.benchmarks.device_steps [--device cuda] [--processes 1 2 4 8 12] [--members 2 4 8]

- µs a step for each batch size of studies/fashion.yaml, without panels and evaluation;
- with and without deterministic cuDNN kernels: whether two trainings have equal weights, and what it costs;
- steps a second of several processes on the device at a time, each with batches of 32: what sharing a GPU can gain at most;
- steps a second of several members that are trained together in one process (`workers.fuse`), and on a GPU also with the step
  captured as a CUDA graph.

`--device cpu` tries it without a GPU. It has not run on one yet.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sweep.objectives.fashion_mnist import steps_of, train_epoch
from sweep.objectives.fused import FusedNetwork, losses_of
from sweep.objectives.images import load
from sweep.objectives.networks import make_model, make_optimizer, set_precision
from sweep.objectives.training import Epoch, epoch_order
from sweep.worker.graphed import Graphed
from sweep.worker.member_rows import rows_of
from sweep.worker.row_optimizer import RowOptimizer
from tests.benchmarks.machine import describe

_PARAMETERS = {"lr": 1e-3, "weight_decay": 0.0, "momentum": 0.0, "optimizer": "adam"}
_BATCHES = (32, 64, 128)
_ALONE_BATCH = 32


def trained(device: str, batch: int, steps: int) -> Tensor:
    """Train from the same weights for some steps of one epoch; return the weights, on the CPU."""
    torch.manual_seed(0)
    training, *_ = load("fashion_mnist", device)
    model = make_model("cnn").to(device)
    order = epoch_order(len(training), True, 0, 1).to(device)
    epoch = Epoch()
    for _ in train_epoch(steps_of(model, make_optimizer(model, _PARAMETERS), batch), training, order, batch, epoch):
        if epoch.batches >= steps:
            break
    epoch.settle()  # which waits for the device
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).cpu()


def microseconds(run: Callable[[int], object], steps: int) -> float:
    """Return the time of a step; what only the first ones do is done before."""
    run(max(2, steps // 20))
    started = time.perf_counter()
    run(steps)
    return (time.perf_counter() - started) / steps * 1e6


def together(device: str, processes: int, seconds: float) -> float:
    """Return the steps a second of some processes that train at the same time."""
    words = [sys.executable, "-m", __spec__.name, "--device", device, "--alone", str(seconds)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(float(process.communicate()[0]) for process in running)


def member_step(device: str, members: int, batch: int) -> Callable[[], Tensor]:
    """Return a function that trains several members with one batch each, always the same one."""
    torch.manual_seed(0)
    models = [make_model("cnn").to(device) for _ in range(members)]
    network = FusedNetwork(models[0], members)
    rows = rows_of(models).requires_grad_()
    optimizer = RowOptimizer("adam", [_PARAMETERS] * members, rows.detach())
    images, labels = load("fashion_mnist", device)[0].batch(torch.arange(members * batch, device=device))
    inputs, targets = images.view(members, batch, 1, 28, 28), labels.view(members, batch)

    def step() -> Tensor:
        losses = losses_of(network(rows, inputs), targets)
        [gradient] = torch.autograd.grad(losses.sum(), rows)
        optimizer.step(gradient)
        return losses.detach()

    return step


def rate(device: str, step: Callable[[], object], seconds: float) -> float:
    """Return how often a step is made in a second."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    for _ in range(5):
        step()
    wait()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(20):
            step()
        wait()  # type: ignore[no-untyped-call]  # as above
        done += 20
    return done / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8, 12])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, help="timed; default: 400, on a CPU 40")
    parser.add_argument("--alone", type=float, help=argparse.SUPPRESS)  # seconds, as one of several processes
    options = parser.parse_args()
    device, steps = options.device, options.steps or (400 if options.device == "cuda" else 40)
    set_precision("float32", device)
    torch.set_num_threads(1)  # as in a worker
    if options.alone:
        trained(device, _ALONE_BATCH, 50)
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < options.alone:
            trained(device, _ALONE_BATCH, steps)
            done += steps
        print(done / (time.perf_counter() - started))
        return
    print(describe(("torch",)))
    for batch in _BATCHES:
        print(f"batch {batch}: {microseconds(functools.partial(trained, device, batch), steps):.0f} µs a step")
    for deterministic in (False, True):
        torch.backends.cudnn.deterministic = deterministic
        equal = torch.equal(trained(device, 64, steps), trained(device, 64, steps))
        cost = microseconds(functools.partial(trained, device, 64), steps)
        kernels = "deterministic" if deterministic else "any"
        print(f"{kernels} kernels: {steps} steps twice are {'equal' if equal else 'NOT equal'} bit for bit, {cost:.0f} µs a step")
    for processes in options.processes:
        print(f"{processes} processes: {together(device, processes, 5.0):.0f} steps a second together", flush=True)
    for members in options.members:
        each = rate(device, member_step(device, members, _ALONE_BATCH), 3.0) * members
        text = f"{members} members: {each:.0f} steps a second together"
        if device == "cuda":
            graph = Graphed(member_step(device, members, _ALONE_BATCH), device)
            text += f", {rate(device, graph, 3.0) * members:.0f} as a CUDA graph"
        print(text, flush=True)


if __name__ == "__main__":
    main()
