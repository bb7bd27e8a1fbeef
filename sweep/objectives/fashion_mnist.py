"""Train a small network on FashionMNIST: training, evaluation, and what TensorBoard shows.

5,000 images, the same number of each class, are held out of the training set for validation. The official test set is
evaluated once, at the end, and selects nothing.

Parameters: `lr` (0.001), `batch_size` (64), `shuffle` (true), `epochs` (5), `model` (`cnn`, `lenet5`, `mlp`), `optimizer`
(`adam`, `adamw`, `sgd`, `rmsprop`), `momentum` (0; sgd and rmsprop), `weight_decay` (0), `train_samples` (all: a prefix,
for quick studies), `precision` (`float32`, `bfloat16`, `tf32`: see `networks`), `dataset` (`fashion_mnist`, `mnist`,
`kmnist`), `checkpoint_every` (batches between two checkpoints inside an epoch; by default there is one at the end of each epoch,
and one when the sweep is stopped). A swept `seed` trains the same setting several times.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.objectives import datasets
from sweep.objectives.images import Split, load, to_float
from sweep.objectives.networks import make_model, make_optimizer, set_precision
from sweep.objectives.steps import Steps
from sweep.objectives.together import train_together
from sweep.objectives.training import AHEAD, Epoch, epoch_order, evaluation_batches, parameters_of, show_data, show_predictions
from sweep.worker.handle import Trial
from sweep.worker.protocol import Progress

_AS_IT_IS = nullcontext()


def train(trial: Trial) -> dict[str, float]:
    """Train one setting; report loss and accuracy of training and validation after each epoch, and of the test at the end."""
    p = parameters_of(trial.params)
    training, validation, test = load(p["dataset"], trial.device)
    samples = min(p["train_samples"] or len(training), len(training))
    precision = set_precision(p["precision"], trial.device)
    model = make_model(p["model"]).to(trial.device)
    optimizer = make_optimizer(model, p)
    done: dict[str, Any] = {}
    if trial.state is not None:  # the trial was interrupted, or goes on from another one
        model.load_state_dict(trial.state["model"])
        # Its options are this trial's: one that goes on from another study's may have another rate.
        optimizer.load_state_dict({**trial.state["optimizer"], "param_groups": optimizer.state_dict()["param_groups"]})
        done = trial.state["epoch"]

    def state(epoch: Epoch | None) -> dict[str, Any]:
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch.settle() if epoch else {}}

    show_data(trial, model, training, test, datasets.CLASSES[p["dataset"]])
    every, per_epoch = p["checkpoint_every"], math.ceil(samples / p["batch_size"])
    steps = steps_of(model, optimizer, p["batch_size"], every, precision)
    for number in trial.steps(p["epochs"]):
        epoch, done = Epoch.again(done), {}
        order = epoch_order(samples, p["shuffle"], trial.seed, number).to(trial.device)
        model.train()
        for losses in train_epoch(steps, training, order, p["batch_size"], epoch):
            first = (number - 1) * per_epoch + epoch.batches - len(losses) + 1
            for batch, loss in enumerate(losses, first):
                trial.panels.batch(batch, {"batch/loss": loss})
            if trial.stop_requested or (every and epoch.batches % every == 0):
                trial.save(state(epoch))
        started = time.perf_counter()
        epoch.settle()
        validation_loss, validation_correct, _ = evaluate(model, validation, precision)
        trial.writer.add_scalar("time/epoch_s", epoch.seconds + time.perf_counter() - started, number)
        trial.report(
            number,
            {
                "validation/accuracy": validation_correct / len(validation),
                "validation/loss": validation_loss,
                "train/loss": epoch.loss_sum / samples,
                "train/accuracy": epoch.correct / samples,
                "train/correct": epoch.correct,
            },
            state(None),
        )
    _, test_correct, logits = evaluate(model, test, precision)
    show_predictions(trial, model, test, logits, datasets.CLASSES[p["dataset"]], p["epochs"])
    return {"test/accuracy": test_correct / len(test), "test/samples": len(test)}


def steps_of(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    every: int | None = None,
    precision: AbstractContextManager[object] = _AS_IT_IS,
) -> Steps:
    """Return the training steps of a model; the arguments are those of `Steps`, and `precision` computes the loss."""
    parameters = list(model.parameters())

    def train(images: Tensor, targets: Tensor) -> Sequence[Tensor]:
        inputs = images if images.is_floating_point() else to_float(images)
        with precision:
            logits = model(inputs)
            loss = F.cross_entropy(logits, targets)
        for parameter in parameters:  # as `zero_grad`, whose profiling takes 1.5 % of a small step
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
        return loss.detach(), logits.detach()

    return Steps(train, batch_size=batch_size, every=every, device=str(parameters[0].device))


def train_epoch(steps: Steps, data: Split, order: Tensor, batch_size: int, epoch: Epoch) -> Iterator[Tensor]:
    """Train on the samples in this order; yield the losses of each batch, or of some. An interrupted epoch continues."""
    for first in range(epoch.batches * batch_size, len(order), AHEAD * batch_size):
        places = data.index[order[first : first + AHEAD * batch_size]]
        images, labels = data.images[places], data.labels[places]
        if steps.replays:
            images = to_float(images)
        started = time.perf_counter()
        for trained in steps.over(images, labels, first // batch_size):
            epoch.add(trained)
            epoch.seconds += time.perf_counter() - started
            yield trained.losses
            started = time.perf_counter()


@torch.no_grad()
def evaluate(model: nn.Module, data: Split, precision: AbstractContextManager[object] = _AS_IT_IS) -> tuple[float, int, Tensor]:
    """Return the mean loss over the samples, the number of correct predictions, and the logits (n, 10)."""
    model.eval()
    loss_sum = torch.zeros((), dtype=torch.float64, device=data.index.device)
    batches = []
    for places in evaluation_batches(data):
        images, labels = data.batch(places)
        with precision:
            batches.append(model(images).float())
        loss_sum += F.cross_entropy(batches[-1], labels, reduction="sum")
    logits = torch.cat(batches)
    correct = (logits.argmax(1) == data.labels[data.index]).sum()
    return loss_sum.item() / len(data), int(correct.item()), logits


def prepare(params: Mapping[str, Any]) -> Iterator[Progress]:
    """Fetch the data set before the first trial starts; yield the progress."""
    yield from datasets.fetch(parameters_of(params)["dataset"], datasets.cache_root())


# What the study must know before a trial runs: see `sweep/docs/own-code.md`.
train.metrics = (  # type: ignore[attr-defined]  # a function has no declared attributes
    *("validation/accuracy", "test/accuracy", "validation/loss", "train/loss", "train/accuracy", "train/correct", "test/samples"),
)
train.prepare = prepare  # type: ignore[attr-defined]  # as above
train.fused = train_together  # type: ignore[attr-defined]  # as above
