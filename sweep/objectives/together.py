"""Train several settings of `fashion_mnist` at once, as one network with a dimension for its members.

The members have the same network, optimizer, data and batch size; `train_together.varies` may differ. Each has its own order of
the samples, curve and checkpoint, which is the same as that of a member that is trained alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sweep.objectives import datasets
from sweep.objectives.fastest import fastest
from sweep.objectives.fused import GROUPED, PRODUCTS, FusedNetwork, losses_of
from sweep.objectives.images import Split, load, to_float
from sweep.objectives.networks import make_model, make_optimizer, set_precision
from sweep.objectives.steps import BATCHES, Steps, Trained
from sweep.objectives.training import (
    AHEAD,
    Epoch,
    epoch_order,
    evaluation_batches,
    parameters_of,
    show_data,
    show_predictions,
)
from sweep.worker.group import Group
from sweep.worker.member_rows import MemberRows

# Where it is measured how convolutions are computed. On a CPU grouped ones always win: by 1.2 to 2.8 times, as
# `python -m tests.benchmarks.fused_convolutions` shows.
_MEASURED_ON = ("cuda",)


@dataclass(kw_only=True)
class _Batches:
    """The progress of the members in an epoch; what a batch gave stays on the device until `settle`."""

    epochs: list[Epoch]
    seconds: float = 0.0
    _added: list[tuple[tuple[bool, ...], Trained]] = field(default_factory=list)

    def add(self, members: tuple[bool, ...], trained: Trained) -> None:
        """Add some batches of these members: losses (batches, K), logits (K, n, classes) and targets (K, n)."""
        self._added.append((members, trained))
        for epoch, here in zip(self.epochs, members, strict=True):
            epoch.batches += here * len(trained.losses)

    def settle(self) -> list[dict[str, Any]]:
        """Add up the batches as `Epoch.settle` does; return each member's part of its state."""
        if self._added:
            losses = torch.cat([trained.losses for _, trained in self._added]).tolist()
            correct = torch.stack([(one.logits.argmax(2) == one.targets).sum(1) for _, one in self._added]).tolist()
            batch_losses = iter(losses)
            for (members, trained), right in zip(self._added, correct, strict=True):
                count = len(trained.losses)
                own = list(itertools.islice(batch_losses, count))
                for place, epoch in enumerate(self.epochs):
                    if members[place]:
                        for loss in own:
                            epoch.loss_sum += loss[place] * (trained.targets.shape[1] // count)
                        epoch.correct += right[place]
            self._added.clear()
        for epoch in self.epochs:
            epoch.seconds += self.seconds
        self.seconds = 0.0
        return [epoch.settle() for epoch in self.epochs]


class _Members:
    """The networks and optimizers of a group, as rows, and as those of members that are trained alone."""

    def __init__(self, group: Group, settings: Sequence[Mapping[str, Any]], precision: AbstractContextManager[object]) -> None:
        self.models: list[nn.Sequential] = []
        for place, one in enumerate(settings):
            group.seed(place)
            self.models.append(make_model(one["model"]).to(group.device))
        optimizers = [make_optimizer(model, one) for model, one in zip(self.models, settings, strict=True)]
        states = group.states
        self.done = [{} if state is None else dict(state["epoch"]) for state in states]
        self._own = MemberRows(self.models, optimizers, settings[0]["optimizer"], settings, states)
        self.rows = self._own.matrix.detach().requires_grad_()  # the same numbers
        begun = [state for state in states if state is not None]
        self._convolutions = GROUPED
        if begun:
            self._convolutions = begun[0].get("convolutions", GROUPED)
        elif self.rows.device.type in _MEASURED_ON and any(isinstance(layer, nn.Conv2d) for layer in self.models[0]):
            self._convolutions = _fastest_convolutions(self.models[0], self.rows, settings[0], precision)
        self.network = FusedNetwork(self.models[0], len(group), self._convolutions)
        self._steps: tuple[Sequence[bool], Steps] | None = None

    def steps(self, here: Sequence[bool], p: Mapping[str, Any], precision: AbstractContextManager[object]) -> Steps:
        """Return the training steps of these members; the same object as long as they are the same members."""
        if self._steps is None or self._steps[0] != here:
            self._steps = here, self._steps_of(here, p, precision)
        return self._steps[1]

    def _steps_of(self, here: Sequence[bool], p: Mapping[str, Any], precision: AbstractContextManager[object]) -> Steps:
        network, rows, optimizer = self.network, self.rows, self._own.optimizer  # not `self`, which has the steps

        def train(inputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
            losses, logits, gradient = _gradient(network, rows, inputs, targets, precision)
            optimizer.step(gradient, here)
            return losses, logits, gradient

        device = str(rows.device)
        return Steps(train, batch_size=p["batch_size"], every=p["checkpoint_every"], device=device, dim=1)

    def part(self) -> None:
        """Copy the rows, and the gradients of the last batch, into the networks and optimizers."""
        [gradient] = (self._steps[1].others if self._steps else ()) or [torch.zeros_like(self.rows)]
        self._own.part(gradient)

    def states(self, epochs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the state of each member's checkpoint; `part` comes before."""
        own = {} if self._convolutions == GROUPED else {"convolutions": self._convolutions}
        return [{**state, "epoch": epoch, **own} for state, epoch in zip(self._own.states(), epochs, strict=True)]


def _gradient(
    network: FusedNetwork, rows: Tensor, inputs: Tensor, targets: Tensor, precision: AbstractContextManager[object]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the members' losses (K,) and logits (K, n, classes) for a batch, and the gradient to their rows."""
    with precision:
        logits = network(rows, inputs)
        losses = losses_of(logits, targets)
    # The sum's gradient to a loss is 1, even beside a NaN: each row has its own.
    [gradient] = torch.autograd.grad(losses.sum(), rows)
    return losses.detach(), logits.detach(), gradient


def _fastest_convolutions(
    template: nn.Sequential, rows: Tensor, p: Mapping[str, Any], precision: AbstractContextManager[object]
) -> str:
    """Return how a group's convolutions are to be computed: by the time of ten batches, recorded as a graph if that can be."""
    size, batch_size, device = len(rows), p["batch_size"], str(rows.device)
    samples = BATCHES * batch_size
    images = torch.zeros(size, samples, 1, 28, 28, device=device)
    targets = torch.zeros(size, samples, dtype=torch.int64, device=device)

    def way(convolutions: str) -> Callable[[], object]:
        network = FusedNetwork(template, size, convolutions)
        steps = Steps(
            lambda inputs, targets: _gradient(network, rows, inputs, targets, precision),
            batch_size=batch_size,
            every=None,
            device=device,
            dim=1,
        )
        return lambda: [*steps.over(images, targets, 0)]

    what = f"convolutions of {size} x {p['model']}, batches of {batch_size}, {p['precision']}"
    return fastest(what, {name: way(name) for name in (GROUPED, PRODUCTS)}, device, datasets.cache_root() / "measured")


def train_together(group: Group) -> list[dict[str, float]]:
    """Train the members of a group, as `fashion_mnist.train` trains one."""
    settings = [parameters_of(member.params) for member in group.members]
    p = settings[0]
    training, validation, test = load(p["dataset"], group.device)
    samples = min(p["train_samples"] or len(training), len(training))
    precision = set_precision(p["precision"], group.device)
    members = _Members(group, settings, precision)
    for member, model in zip(group.members, members.models, strict=True):
        if member.trial is not None:
            show_data(member.trial, model, training, test, datasets.CLASSES[p["dataset"]])
    every, per_epoch = p["checkpoint_every"], math.ceil(samples / p["batch_size"])
    for number in group.steps(p["epochs"]):
        batches = _Batches(epochs=[Epoch.again(done) for done in members.done])
        members.done = [{} if alive else done for alive, done in zip(group.alive, members.done, strict=True)]
        orders = [
            epoch_order(samples, one["shuffle"], member.seed, number) for one, member in zip(settings, group.members, strict=True)
        ]
        order = torch.stack(orders).to(group.device)
        for count, losses, here in _train_epoch(group, members, training, order, p, batches, precision):
            first = (number - 1) * per_epoch + count - len(losses) + 1
            for place, member in enumerate(group.members):
                if member.trial is not None and here[place] and group.alive[place]:  # saving may have ended it
                    for batch, loss in enumerate(losses[:, place], first):
                        member.trial.panels.batch(batch, {"batch/loss": loss})
            if group.stop_requested or (every and count % every == 0):
                members.part()
                group.save(members.states(batches.settle()))
        started = time.perf_counter()
        batches.settle()
        members.part()
        means, correct, _ = _evaluate(members, validation, precision)
        seconds = time.perf_counter() - started
        for place, member in enumerate(group.members):
            if member.trial is not None and group.alive[place]:
                member.trial.writer.add_scalar("time/epoch_s", batches.epochs[place].seconds + seconds, number)
        group.report(
            number,
            [
                {
                    "validation/accuracy": correct[place] / len(validation),
                    "validation/loss": means[place],
                    "train/loss": epoch.loss_sum / samples,
                    "train/accuracy": epoch.correct / samples,
                    "train/correct": epoch.correct,
                }
                for place, epoch in enumerate(batches.epochs)
            ],
            members.states([{} for _ in group.members]),
        )
    _, correct, logits = _evaluate(members, test, precision)
    for place, member in enumerate(group.members):
        if member.trial is not None and group.alive[place]:
            classes = datasets.CLASSES[p["dataset"]]
            show_predictions(member.trial, members.models[place], test, logits[place], classes, p["epochs"])
    return [{"test/accuracy": one / len(test), "test/samples": len(test)} for one in correct]


def _train_epoch(
    group: Group,
    members: _Members,
    data: Split,
    order: Tensor,
    p: Mapping[str, Any],
    batches: _Batches,
    precision: AbstractContextManager[object],
) -> Iterator[tuple[int, Tensor, tuple[bool, ...]]]:
    """Train on the samples in the members' orders (K, n); yield the number of batches, the last losses (batches, K), and whose.

    An interrupted epoch continues. A member that was further than others waits until they are there, as it is.
    """
    size, batch_size = len(group), p["batch_size"]
    begun = [epoch.batches for epoch in batches.epochs]
    count = min(begin for begin, alive in zip(begun, group.alive, strict=True) if alive)
    while count * batch_size < order.shape[1]:
        here = tuple(alive and count >= begin for alive, begin in zip(group.alive, begun, strict=True))
        # Until the next member is there, and not more than the memory should hold.
        until = min([begin for begin in begun if begin > count] + [count + AHEAD])
        places = data.index[order[:, count * batch_size : until * batch_size]]
        images = to_float(data.images[places].flatten(0, 1)).view(size, -1, 1, 28, 28)
        started = time.perf_counter()
        for trained in members.steps(here, p, precision).over(images, data.labels[places], count):
            batches.add(here, trained)
            batches.seconds += time.perf_counter() - started
            count += len(trained.losses)
            yield count, trained.losses, here
            started = time.perf_counter()


@torch.no_grad()
def _evaluate(members: _Members, data: Split, precision: AbstractContextManager[object]) -> tuple[list[float], list[int], Tensor]:
    """Return each member's mean loss over the samples, its number of correct predictions, and the logits (K, n, 10)."""
    size = len(members.models)
    loss_sums = torch.zeros(size, dtype=torch.float64, device=data.index.device)
    found = []
    for places in evaluation_batches(data, size):
        images, labels = data.batch(places)
        with precision:
            found.append(members.network(members.rows, images).float())
        loss_sums += losses_of(found[-1], labels.expand(size, -1)) * len(places)
    logits = torch.cat(found, 1)
    correct = (logits.argmax(2) == data.labels[data.index]).sum(1)
    return (loss_sums / len(data)).tolist(), correct.tolist(), logits


# What may differ between the members.
train_together.varies = ("lr", "weight_decay", "momentum", "shuffle", "seed")  # type: ignore[attr-defined]  # a function has none
