"""Several networks of one architecture trained together: their parameters are the rows of one matrix.

A small network leaves most of a GPU idle, and each of its operations costs a launch. Here an operation computes all members at
once: linear layers are products of batches of matrices, and convolutions are grouped, or such products too. A member's row of the
result depends on its own row alone, so what happens to one, even a NaN, changes no bit of the others. The idea is HFTA's (Wang et
al., MLSys 2021).

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
# How convolutions are computed: as one with K groups, or unfolded, as products of K matrices. Which is faster depends on the GPU.
GROUPED, PRODUCTS = "grouped", "products"


class FusedNetwork:
    """Compute K networks of one architecture: a sequence of convolutions, poolings, activations and linear layers.

    Args:
        template: one of them; its parameters are not used.
        members: K.
        convolutions: `GROUPED` or `PRODUCTS`.

    Raises:
        TypeError: the network has a layer that is not known here.
    """

    def __init__(self, template: nn.Sequential, members: int, convolutions: str = GROUPED) -> None:
        self._members, self._convolutions = members, {GROUPED: _grouped, PRODUCTS: _products}[convolutions]
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
            pooled, convolutions = isinstance(layer, ConvPoolReLU), self._convolutions

            def convolve(values: Tensor, own: Sequence[Tensor]) -> Tensor:
                values = convolutions(layer, values, *own)
                return F.relu(F.max_pool2d(values, 2)) if pooled else values

            return convolve
        raise TypeError(f"{type(layer).__name__} is no layer that can be fused")


def _grouped(layer: nn.Conv2d, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (n, K out, h, w) of maps (n, K in, height, width), weights (K, out, in, size, size) and biases (K, out)."""
    flat = weight.flatten(0, 1), bias.flatten()
    return F.conv2d(values, *flat, stride=layer.stride, padding=layer.padding, groups=len(weight))


def _products(layer: nn.Conv2d, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return what `_grouped` does."""
    (members, out), samples, padding = bias.shape, len(values), layer.padding
    assert isinstance(padding, tuple)  # as numbers: no layer here has it as a word
    places = zip(values.shape[2:], padding, layer.kernel_size, layer.stride, strict=True)
    sides = [(side + 2 * pad - size) // step + 1 for side, pad, size, step in places]
    values = values.reshape(samples * members, -1, *values.shape[2:])
    columns = F.unfold(values, layer.kernel_size, padding=padding, stride=layer.stride)  # (n K, in size², h w)
    columns = columns.view(samples, members, *columns.shape[1:]).permute(1, 2, 0, 3).flatten(2)  # (K, in size², n h w)
    maps = torch.baddbmm(bias.unsqueeze(2), weight.flatten(2), columns)
    return maps.view(members, out, samples, *sides).permute(2, 0, 1, 3, 4).flatten(1, 2)


def losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each member's mean cross entropy (K,) of logits (K, n, classes) and labels (K, n)."""
    every = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return every.view(labels.shape).mean(1)
