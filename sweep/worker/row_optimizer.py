"""torch's optimizers for several trainings at once, whose parameters are the rows of one matrix.

`K` is the number of trainings, `P` that of the parameters of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class RowOptimizer:
    """One of torch's optimizers over the rows of a matrix, each with its own rate, weight decay and momentum.

    The formulas, options and state are those of `torch.optim` with their defaults.

    Args:
        kind: `adam`, `adamw`, `sgd` or `rmsprop`.
        members: the parameters of each: `lr`, `weight_decay`, `momentum`.
        rows: the parameters (K, P), which `step` changes in place.
    """

    def __init__(self, kind: str, members: Sequence[Mapping[str, Any]], rows: Tensor) -> None:
        self._rows, self._update = rows, _UPDATES[kind]
        self._state = {name: torch.zeros_like(rows) for name in _STATES[kind]}
        self._masks: dict[tuple[bool, ...], Tensor] = {}
        self._steps = torch.zeros(len(members), 1, dtype=torch.float64, device=rows.device)
        self._lr, self._decay, self._momentum = (
            torch.tensor([[float(one[name])] for one in members], dtype=rows.dtype, device=rows.device)
            for name in ("lr", "weight_decay", "momentum")
        )

    @torch.no_grad()
    def step(self, gradient: Tensor, members: Sequence[bool] | None = None) -> None:
        """Change each member's row by its gradient, a row of (K, P); those that are not among `members` stay as they are."""
        kept = () if members is None or all(members) else [(one, one.clone()) for one in self._tensors]
        self._steps += 1
        self._update(self, gradient)
        if kept:
            changed = self._mask(tuple(members or ()))
            for now, before in kept:
                now.copy_(torch.where(changed, now, before))

    @property
    def _tensors(self) -> list[Tensor]:
        return [self._rows, self._steps, *self._state.values()]

    def _mask(self, members: tuple[bool, ...]) -> Tensor:
        if members not in self._masks:  # once: a copy to the device cannot be recorded as a part of a CUDA graph
            self._masks[members] = torch.tensor([[one] for one in members], device=self._rows.device)
        return self._masks[members]

    def read(self, member: int, optimizer: torch.optim.Optimizer) -> None:
        """Take a member's state from an optimizer of its own; one that has made no step has none."""
        [group] = optimizer.param_groups
        for name, matrix in self._state.items():
            parts = [optimizer.state[parameter].get(name) for parameter in group["params"]]
            if all(part is not None for part in parts):
                matrix[member] = torch.cat([part.flatten() for part in parts])
        steps = [optimizer.state[parameter].get("step") for parameter in group["params"]]
        self._steps[member] = float(steps[0]) if steps and steps[0] is not None else 0.0

    def write(self, member: int, optimizer: torch.optim.Optimizer) -> None:
        """Give a member's state to an optimizer of its own, as if it had made the steps."""
        [group] = optimizer.param_groups
        names = [name for name in self._state if name != "momentum_buffer" or group["momentum"]]
        start = 0
        for parameter in group["params"]:
            own = optimizer.state[parameter] = {}
            if not isinstance(optimizer, torch.optim.SGD):
                own["step"] = self._steps[member, 0].to(torch.float32, copy=True)
            for name in names:
                part = self._state[name][member, start : start + parameter.numel()].view(parameter.shape)
                own[name] = torch.empty_like(parameter).copy_(part)  # in the parameter's own memory format
            start += parameter.numel()

    def _adam(self, gradient: Tensor) -> None:
        self._move_by_moments(gradient.add(self._rows * self._decay))

    def _adamw(self, gradient: Tensor) -> None:
        self._rows.mul_(1 - self._lr * self._decay)
        self._move_by_moments(gradient)

    def _move_by_moments(self, gradient: Tensor) -> None:
        mean, square = self._state["exp_avg"], self._state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        of_mean, of_square = (1 - beta**self._steps for beta in _BETAS)
        spread = square.sqrt().div_(of_square.sqrt().to(square.dtype)).add_(_EPS)
        self._rows.sub_(mean.div(spread).mul_(self._lr / of_mean.to(mean.dtype)))

    def _sgd(self, gradient: Tensor) -> None:
        buffer = self._state["momentum_buffer"]
        buffer.mul_(self._momentum).add_(gradient.add(self._rows * self._decay))
        self._rows.sub_(buffer * self._lr)

    def _rmsprop(self, gradient: Tensor) -> None:
        gradient = gradient.add(self._rows * self._decay)
        square, buffer = self._state["square_avg"], self._state["momentum_buffer"]
        square.mul_(_ALPHA).addcmul_(gradient, gradient, value=1 - _ALPHA)
        buffer.mul_(self._momentum).add_(gradient.div_(square.sqrt().add_(_EPS)))
        self._rows.sub_(buffer * self._lr)


# Of torch.optim's optimizers: the constants, and the state that `state_dict` has beside the number of steps.
_BETAS, _ALPHA, _EPS = (0.9, 0.999), 0.99, 1e-8
_STATES = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
    "rmsprop": ("square_avg", "momentum_buffer"),
}
_UPDATES: dict[str, Callable[[RowOptimizer, Tensor], None]] = {name: vars(RowOptimizer)[f"_{name}"] for name in _STATES}
