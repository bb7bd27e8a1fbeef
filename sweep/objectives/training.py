"""What the training of one setting of `fashion_mnist` and that of several have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sweep.errors import did_you_mean
from sweep.objectives import datasets
from sweep.objectives.images import Split
from sweep.objectives.steps import Trained
from sweep.worker.handle import Trial

_EVALUATION_BATCH = {"cpu": 500, "cuda": 5_000}  # its activations fit into a core's cache; few launches on a GPU
AHEAD = 100  # batches that are copied out of the data set at once
_EMBEDDED = 300  # test images that the projector shows
DEFAULTS: dict[str, Any] = {
    "lr": 0.001,
    "batch_size": 64,
    "shuffle": True,
    "epochs": 5,
    "model": "cnn",
    "optimizer": "adam",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "train_samples": None,
    "precision": "float32",
    "dataset": "fashion_mnist",
    "checkpoint_every": None,
    "seed": None,  # in `trial.seed`
}


def parameters_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial, checked, with defaults for those that it does not have.

    Raises:
        ValueError: one has an unknown name, or no value that it could have.
    """
    if unknown := [name for name in given if name not in DEFAULTS]:
        raise ValueError(f"fashion_mnist has no parameter {unknown[0]!r}; {did_you_mean(unknown[0], DEFAULTS)}")
    p = {**DEFAULTS, **given}
    if p["dataset"] not in datasets.TORCHVISION:
        raise ValueError(f"there is no data set {p['dataset']!r}; {did_you_mean(str(p['dataset']), datasets.TORCHVISION)}")
    for name in ("batch_size", "epochs", "checkpoint_every"):
        missing = p[name] is None and DEFAULTS[name] is None
        if not missing and (not isinstance(p[name], int) or p[name] < 1):
            raise ValueError(f"{name} must be a whole number above 0, got {p[name]!r}")
    return p


@dataclass(kw_only=True)
class Epoch:
    """The progress of an epoch: batches, sum of losses, correct predictions, seconds.

    Each batch's tensors stay on the device until `settle`, so that the CPU does not wait for a GPU.
    """

    batches: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    _added: list[Trained] = field(default_factory=list)

    @classmethod
    def again(cls, done: Mapping[str, Any]) -> Epoch:
        """Return the epoch that `settle` described, or a new one. Old checkpoints have tensors, and the last loss."""
        numbers: dict[str, Any] = {
            name: value.item() if isinstance(value, Tensor) else value for name, value in done.items() if name != "loss"
        }
        return cls(**numbers)

    def add(self, trained: Trained) -> None:
        """Add some batches: their mean losses (batches,), logits (n, 10) and targets (n,)."""
        self._added.append(trained)
        self.batches += len(trained.losses)

    def settle(self) -> dict[str, Any]:
        """Add up the batches, one by one so that an interruption changes no digit; return what `again` needs."""
        if self._added:
            sizes = [len(one.targets) // len(one.losses) for one in self._added for _ in one.losses]
            for loss, size in zip(torch.cat([one.losses for one in self._added]).tolist(), sizes, strict=True):
                self.loss_sum += loss * size
            logits, targets = (torch.cat([getattr(one, name) for one in self._added]) for name in ("logits", "targets"))
            self.correct += int((logits.argmax(1) == targets).sum().item())
            self._added.clear()
        return {"batches": self.batches, "loss_sum": self.loss_sum, "correct": self.correct, "seconds": self.seconds}


def epoch_order(samples: int, shuffle: bool, seed: int, epoch: int) -> Tensor:
    """Return the order of the samples in an epoch; it depends on the trial's seed and the epoch alone."""
    if not shuffle:
        return torch.arange(samples)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def evaluation_batches(data: Split, members: int = 1) -> tuple[Tensor, ...]:
    """Return the places of all samples, divided into batches to evaluate, for this many models at once."""
    device = data.index.device
    size = _EVALUATION_BATCH["cpu"] if device.type == "cpu" else max(1, _EVALUATION_BATCH["cuda"] // members)
    return torch.split(torch.arange(len(data), device=device), size)


def show_data(trial: Trial, model: nn.Module, training: Split, test: Split, classes: Sequence[str]) -> None:
    """Log the model, samples of the training data, and the pixels of some test images."""
    images, labels = training.batch(torch.arange(32))
    trial.panels.samples(images, labels, classes)
    trial.panels.watch(model, images)
    places = test.index[:_EMBEDDED]
    pixels, labels = test.images[places], test.labels[places]
    trial.panels.embedding("pixels", pixels.flatten(1), labels, pixels, classes, of_model=False)


@torch.no_grad()
def show_predictions(trial: Trial, model: nn.Sequential, test: Split, logits: Tensor, classes: Sequence[str], step: int) -> None:
    """Log the predictions for the test images, and the last hidden layer for some of them."""
    trial.panels.predictions(test.images[test.index], test.labels[test.index], logits, classes, step)
    images, labels = test.batch(torch.arange(_EMBEDDED))
    trial.panels.embedding("last hidden layer", model[:-1](images), labels, images, classes)
