"""This project's training function, whose starts and ends are recorded: as objective of `sweep run`, and called by a peer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.tensorboard import SummaryWriter

from sweep.objectives import fashion_mnist
from sweep.worker.handle import Trial
from tests.benchmarks import timer
from tests.benchmarks.terms import Terms, tag


@functools.wraps(fashion_mnist.train)  # with its `prepare` and `metrics`, so that the study is the shipped one
def train(trial: Trial) -> dict[str, float]:
    """Train as the built-in objective does; record start and end."""
    timer.start(trial.params)
    result = fashion_mnist.train(trial)
    timer.end(trial.params, trial.metrics["train/accuracy"])
    return result


def train_for(setting: dict[str, Any], terms: Terms, send: Callable[[dict[str, float]], None]) -> dict[str, float]:
    """Train one setting for a peer, on one thread as our workers do, and send it the metrics of each epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(terms.folder) / "runs" / tag(setting)
    params = setting | {"epochs": terms.epochs, "train_samples": terms.samples}
    with SummaryWriter(str(folder)) as writer:
        # All that the objective uses of a trial, and nothing of what makes it resumable.
        bare = BareTrial(params=params, device=terms.device, folder=folder, writer=writer, send=send)
        return train(cast(Trial, bare))


class NoPanels:
    """Show nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class BareTrial:
    """The trial handle of the objective when a peer runs it."""

    def __init__(
        self,
        *,
        params: dict[str, Any],
        device: str,
        folder: Path,
        writer: SummaryWriter,
        send: Callable[[dict[str, float]], None],
    ) -> None:
        self.params, self.device, self.dir, self.writer = params, device, folder, writer
        self.seed, self.state, self.stop_requested = 0, None, False
        self.panels = NoPanels()
        self.metrics: dict[str, float] = {}
        self._send = send

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over the steps 1 to `total`."""
        yield from range(1, total + 1)

    def report(self, step: int, metrics: Mapping[str, float], state: Mapping[str, Any] | None = None) -> None:
        """Write the metrics as scalars and send them."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.metrics.update(metrics)
        self._send(dict(metrics))

    def save(self, state: Mapping[str, Any]) -> None:
        """Make no checkpoint."""
