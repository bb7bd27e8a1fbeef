"""Train batch after batch; on a GPU ten batches by one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweep.worker import graphed

# Trains with the inputs and targets of a batch; returns the loss, the logits and whatever else, all detached.
TrainBatch = Callable[[Tensor, Tensor], Sequence[Tensor]]
BATCHES = 10  # of a graph


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What some batches gave: losses (batches, ...), and the logits and targets of their samples."""

    losses: Tensor
    logits: Tensor
    targets: Tensor


class Steps:
    """Make training steps.

    Args:
        train: makes one. On a GPU it may do only what can be recorded as a CUDA graph.
        batch_size: in samples.
        every: a checkpoint follows after each of these batches, so that no graph may pass it; None for no such checkpoint.
        device: where it computes.
        dim: the dimension of the samples in inputs, logits and targets.

    Attributes:
        replays: whether batches are trained by graphs; then the inputs are ready for the model, else as the data set has them.
        others: what `train` has returned for the last batch, beside the loss and the logits.
    """

    def __init__(
        self,
        train: TrainBatch,
        *,
        batch_size: int,
        every: int | None,
        device: str,
        dim: int = 0,
    ) -> None:
        self._train, self._batch_size, self._dim = train, batch_size, dim
        self._together = max(count for count in range(1, BATCHES + 1) if (every or BATCHES) % count == 0)
        self._graph = graphed.Graphed(_several(train, batch_size, dim), device) if graphed.usable(device) else None
        self.replays = self._graph is not None
        self.others: Sequence[Tensor] = ()

    def over(self, inputs: Tensor, targets: Tensor, done: int) -> Iterator[Trained]:
        """Train on samples, in their order; yield what each batch gave, or some of them.

        Args:
            inputs, targets: of the samples; the last batch may be smaller.
            done: the number of batches of the epoch before them.
        """
        samples, size = targets.shape[self._dim], self._batch_size
        start = 0
        while start < samples:
            fits = done % self._together == 0 and samples - start >= self._together * size
            graph = self._graph if fits else None
            width = min(size * (self._together if graph else 1), samples - start)
            batch = inputs.narrow(self._dim, start, width), targets.narrow(self._dim, start, width)
            if graph is None:
                loss, logits, *self.others = self._train(*batch)
                losses = loss.unsqueeze(0)
            else:
                losses, logits, *self.others = graph(*batch)
            yield Trained(losses=losses, logits=logits, targets=batch[1])
            start, done = start + width, done + (self._together if graph else 1)


def _several(train: TrainBatch, batch_size: int, dim: int) -> TrainBatch:
    """Return a function that trains several batches at once, one after the other.

    It refers to no `Steps`, which refers to it: so a trial's tensors are freed at its end, without the garbage collector.
    """

    def train_several(inputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        parts = (torch.split(one, batch_size, dim) for one in (inputs, targets))
        found = [train(*batch) for batch in zip(*parts, strict=True)]
        losses, logits, *_ = zip(*found, strict=True)
        return torch.stack(losses), torch.cat(logits, dim), *found[-1][2:]

    return train_several
