"""The models and optimizers of trials that are trained together: as rows of one matrix, and as those of trials alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweep.worker.row_optimizer import RowOptimizer


def rows_of(models: Sequence[nn.Module]) -> Tensor:
    """Return the parameters (K, P) of K models of one architecture."""
    return torch.stack([torch.cat([parameter.detach().flatten() for parameter in one.parameters()]) for one in models])


class MemberRows:
    """The members' parameters (K, P) as a matrix, with an optimizer over its rows.

    Args:
        models, optimizers: each member's own.
        kind, settings: see `RowOptimizer`.
        states: what each member resumes from, as `states` returned it; None for one that starts.

    Attributes:
        models: with the parameters as of the last `part`.
        matrix: the parameters as they are now.
        optimizer: changes the matrix.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        kind: str,
        settings: Sequence[Mapping[str, Any]],
        states: Sequence[Mapping[str, Any] | None],
    ) -> None:
        self.models, self._optimizers = models, optimizers
        members = list(zip(models, optimizers, states, strict=True))
        for model, own, state in members:
            if state is not None:
                model.load_state_dict(state["model"])
                # With its own rates: those of the trial that it goes on from may be others.
                own.load_state_dict({**state["optimizer"], "param_groups": own.state_dict()["param_groups"]})
        self.matrix = rows_of(models)
        self.optimizer = RowOptimizer(kind, settings, self.matrix)
        for place, (_, own, state) in enumerate(members):
            if state is not None:
                self.optimizer.read(place, own)

    @torch.no_grad()
    def part(self, gradient: Tensor | None = None) -> None:
        """Copy the rows, and those of a gradient if it is given, into the members' models and optimizers."""
        for place, (model, own) in enumerate(zip(self.models, self._optimizers, strict=True)):
            start = 0
            for parameter in model.parameters():
                end = start + parameter.numel()
                parameter.copy_(self.matrix[place, start:end].view(parameter.shape))
                if gradient is not None:
                    parameter.grad = gradient[place, start:end].view(parameter.shape)
                start = end
            self.optimizer.write(place, own)

    def states(self) -> list[dict[str, Any]]:
        """Return what each member's checkpoint needs, the same as that of a trial alone; `part` comes before."""
        both = zip(self.models, self._optimizers, strict=True)
        return [{"model": model.state_dict(), "optimizer": own.state_dict()} for model, own in both]
