"""Train several trials of your own model together: `ensemble` makes one model with a dimension for its members.

    def train_together(group):
        members = ensemble(make_model, loss, group)
        for epoch in group.steps(20):
            for x, y in batches:
                losses = members.step(x, y)
            group.report(epoch, [{"loss": loss} for loss in losses], members.states())

    train_together.varies = ("lr", "seed")
    train.fused = train_together  # beside train(trial), which trains one alone

By `torch.func` (https://docs.pytorch.org/tutorials/intermediate/ensembling.html) every operation computes all members at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from sweep.worker.endings import CannotFuse
from sweep.worker.group import Group, Member
from sweep.worker.member_rows import MemberRows
from sweep.worker.row_optimizer import RowOptimizer

__all__ = ["CannotFuse", "Ensemble", "Group", "Member", "RowOptimizer", "ensemble"]

Loss = Callable[..., Tensor]
_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
_SETTINGS = ("lr", "weight_decay", "momentum")


def ensemble(
    make_model: Callable[[Mapping[str, Any]], nn.Module],
    loss: Loss,
    group: Group,
    *,
    optimizer: str = "adam",
    own_batches: bool = False,
) -> Ensemble:
    """Make the models of a group, each with its own seed, and what trains them together, from their checkpoints if there are any.

    Args:
        make_model: returns the model of a trial with these parameters; all have the same shape.
        loss: `loss(model, *batch)`, where `model` is called like a module; returns a number.
        group: what `train.fused` got.
        optimizer: `adam`, `adamw`, `sgd` or `rmsprop` with torch's defaults; `lr`, `weight_decay` and `momentum` are those of the
            parameters of each member.
        own_batches: a batch has a first dimension for the members; by default all get the same batch.

    Raises:
        CannotFuse: the model cannot be trained so; the message says why, and each trial is then trained alone.
    """
    models = []
    for place, member in enumerate(group.members):
        group.seed(place)
        models.append(make_model(member.params).to(group.device))
    _check(models)
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"there is no optimizer {optimizer!r}; known: {', '.join(_OPTIMIZERS)}")
    usual = _OPTIMIZERS[optimizer]([torch.zeros(1)]).defaults  # type: ignore[call-arg]  # of each class
    settings = [{name: member.params.get(name, usual.get(name, 0.0)) for name in _SETTINGS} for member in group.members]
    return Ensemble(models, loss, group, optimizer, settings, own_batches=own_batches)


class Ensemble:
    """The models of a group.

    Attributes:
        models: each member's, with its parameters as of the last `states`.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        loss: Loss,
        group: Group,
        optimizer: str,
        settings: Sequence[Mapping[str, float]],
        *,
        own_batches: bool,
    ) -> None:
        self.models, self._group = models, group
        self._loss = loss
        makes = _OPTIMIZERS[optimizer]
        used = ("lr", "weight_decay", "momentum") if optimizer in ("sgd", "rmsprop") else ("lr", "weight_decay")
        optimizers = [
            makes(model.parameters(), **{name: one[name] for name in used})  # type: ignore[arg-type]  # of its class
            for model, one in zip(models, settings, strict=True)
        ]
        self._own = MemberRows(models, optimizers, optimizer, settings, group.states)
        self._shapes = {name: parameter.shape for name, parameter in models[0].named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        buffers = [dict(model.named_buffers()) for model in models]
        self._buffers = {name: torch.stack([one[name] for one in buffers]) for name in buffers[0]}
        self._dims = 0 if own_batches else None
        self._checked = False

    def step(self, *batch: Tensor) -> list[float]:
        """Train the members that are alive with one batch; return each member's loss.

        Raises:
            CannotFuse: the loss or the model does what `torch.func.vmap` cannot do.
        """
        if not self._checked:
            own = batch if self._dims is None else [part[0] for part in batch]
            _check_buffers(self.models[0], self._loss, own)
            self._checked = True
        self._mode(training=True)
        gradients, losses = self._over_members(grad_and_value(self._loss_of_row), batch)
        self._own.optimizer.step(gradients, self._group.alive)
        return [float(one) for one in losses.tolist()]

    @torch.no_grad()
    def evaluate(self, function: Callable[..., Tensor], *batch: Tensor) -> Tensor:
        """Return what `function(model, *batch)` returns for each member (K, ...), with the models in evaluation mode."""
        self._mode(training=False)
        found: Tensor = self._over_members(lambda row, buffers, *given: function(self._called(row, buffers), *given), batch)
        return found

    def states(self) -> list[dict[str, Any]]:
        """Return what each member's checkpoint needs: `model` and `optimizer`, the same as those of a trial alone."""
        self._own.part()
        return self._own.states()

    def _mode(self, *, training: bool) -> None:
        self.models[0].train(training)

    def _over_members(self, function: Callable[..., Any], batch: Sequence[Tensor]) -> Any:
        dims = (0, 0, *(self._dims for _ in batch))
        try:
            return vmap(function, in_dims=dims, randomness="different")(self._own.matrix, self._buffers, *batch)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            reason = str(error).partition("\n")[0]
            raise CannotFuse(f"the model or its loss cannot be computed for several members at once: {reason}") from error

    def _loss_of_row(self, row: Tensor, buffers: Mapping[str, Tensor], *batch: Tensor) -> Tensor:
        return self._loss(self._called(row, buffers), *batch)

    def _called(self, row: Tensor, buffers: Mapping[str, Tensor]) -> Callable[..., Any]:
        parts = zip(self._shapes.items(), torch.split(row, self._sizes), strict=True)
        own = {name: part.view(shape) for (name, shape), part in parts} | dict(buffers)
        return lambda *given, **named: functional_call(self.models[0], own, given, named)


def _check(models: Sequence[nn.Module]) -> None:
    first = models[0]
    for name, module in first.named_modules():
        if getattr(module, "track_running_stats", False) and getattr(module, "running_mean", None) is not None:
            what = f"{name or 'the model'} ({type(module).__name__}) keeps running statistics, which each batch changes"
            raise CannotFuse(f"{what}; use GroupNorm, or track_running_stats=False")
    if frozen := [name for name, one in first.named_parameters() if not one.requires_grad]:
        raise CannotFuse(f"{frozen[0]} is frozen (requires_grad=False): register it as a buffer")
    for other in models[1:]:
        if [(name, one.shape) for name, one in other.named_parameters()] != [
            (name, one.shape) for name, one in first.named_parameters()
        ]:
            raise CannotFuse("the members' models have different shapes: a parameter that changes them may not be in varies")
        if _described(other) != _described(first):  # all are computed by the code of the first one
            raise CannotFuse("the members' models have different layers: a parameter that changes them may not be in varies")


def _described(model: nn.Module) -> list[tuple[str, type, str]]:
    return [(name, type(module), module.extra_repr()) for name, module in model.named_modules()]


def _check_buffers(model: nn.Module, loss: Loss, batch: Sequence[Tensor]) -> None:
    """Check that a training step leaves the model's buffers as they are: all members are computed by one model."""
    if not any(True for _ in model.buffers()):
        return
    copied = copy.deepcopy(model).train()
    before = {name: buffer.clone() for name, buffer in copied.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng():
        loss(copied, *batch)
    for name, buffer in copied.named_buffers():
        if not torch.equal(before[name], buffer):
            raise CannotFuse(f"{name} is a buffer that each batch changes, such as a running mean; the members would share it")
