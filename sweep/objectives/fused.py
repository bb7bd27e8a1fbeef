"""Several networks of one architecture trained together: their parameters are the rows of one matrix.

A small network leaves most of a GPU idle, and each of its operations costs a launch. Here an operation computes all members at
once: convolutions are grouped, and linear layers are products of batches of matrices. A member's row of the result depends on its
own row alone, so what happens to one, even a NaN, changes no bit of the others. The idea is HFTA's (Wang et al., MLSys 2021).

`P` below is the number of parameters of one network, `K` that of the members, `n` that of the samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.objectives.convolution import ConvPoolReLU

# What a layer without parameters does is the same for a map of every member.
_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.MaxPool2d, nn.AvgPool2d)
_Layer = Callable[[Tensor, Sequence[Tensor]], Tensor]


class FusedNetwork:
    """Compute K networks of one architecture: a sequence of convolutions, poolings, activations and linear layers.

    Args:
        template: one of them; its parameters are not used.
        members: K.

    Raises:
        TypeError: the network has a layer that is not known here.
    """

    def __init__(self, template: nn.Sequential, members: int) -> None:
        self._members = members
        self._shapes = [parameter.shape for parameter in template.parameters()]
        self._sizes = [shape.numel() for shape in self._shapes]
        self._layers = [self._fused(layer) for layer in template]
        self._counts = [len(list(layer.parameters())) for layer in template]

    def __call__(self, rows: Tensor, images: Tensor) -> Tensor:
        """Return the logits (K, n, classes) of images (K, n, 1, height, width), or of (n, 1, height, width) for every member."""
        if images.dim() == 4:  # one group's convolution would read them once, K groups read them once each
            images = images.unsqueeze(0).expand(self._members, *images.shape)
        values = images.transpose(0, 1).flatten(1, 2)  # (n, K, height, width)
        # One split has one kernel as its gradient; a slice for each parameter would have one each.
        parameters = iter(torch.split(rows, self._sizes, dim=1))
        shapes = iter(self._shapes)
        for layer, count in zip(self._layers, self._counts, strict=True):
            own = [next(parameters).view(self._members, *next(shapes)) for _ in range(count)]
            values = layer(values, own)
        return values

    def _fused(self, layer: nn.Module) -> _Layer:
        members = self._members
        if isinstance(layer, _ELEMENTWISE):
            return lambda values, own: layer(values)
        if isinstance(layer, nn.Flatten):  # from (n, K channels, height, width) to (K, n, features)
            return lambda values, own: values.view(len(values), members, -1).transpose(0, 1)
        if isinstance(layer, nn.Linear):
            return lambda values, own: torch.baddbmm(own[1].unsqueeze(1), values, own[0].transpose(1, 2))
        if isinstance(layer, nn.Conv2d):
            pooled, padding, stride = isinstance(layer, ConvPoolReLU), layer.padding, layer.stride

            def convolve(values: Tensor, own: Sequence[Tensor]) -> Tensor:
                weight, bias = own[0].flatten(0, 1), own[1].flatten()
                values = F.conv2d(values, weight, bias, stride=stride, padding=padding, groups=members)
                return F.relu(F.max_pool2d(values, 2)) if pooled else values

            return convolve
        raise TypeError(f"{type(layer).__name__} is no layer that can be fused")


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each member's mean cross entropy (K,) of logits (K, n, classes) and labels (K, n)."""
    every = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return every.view(labels.shape).mean(1)
