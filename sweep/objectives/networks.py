"""The networks, optimizers and precisions of `sweep.objectives.fashion_mnist`, by name."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sweep.errors import did_you_mean
from sweep.objectives.convolution import ConvPoolReLU

CLASSES = 10
PRECISIONS = ("float32", "bfloat16", "tf32")


def make_model(name: str) -> nn.Sequential:
    """Return an untrained network for images (n, 1, 28, 28) and 10 classes: `cnn` (the tutorials'), `lenet5` or `mlp`.

    Each is in the memory format that is faster on a CPU. The last layer gives the logits. TensorBoard shows the layers' names.
    Pooling comes before ReLU: the same function as after it, on a quarter of the numbers.
    """
    if name == "cnn":
        return _named(
            ("conv1", ConvPoolReLU(1, 6, 5)),
            *(("conv2", nn.Conv2d(6, 12, 5)), ("pool2", nn.MaxPool2d(2)), ("relu2", nn.ReLU()), ("flatten", nn.Flatten())),
            *(("fc1", nn.Linear(192, 120)), ("relu3", nn.ReLU()), ("fc2", nn.Linear(120, 60)), ("relu4", nn.ReLU())),
            ("out", nn.Linear(60, CLASSES)),
        )
    if name == "lenet5":  # LeCun et al. 1998, with a plain linear output
        lenet5 = _named(
            *(("conv1", nn.Conv2d(1, 6, 5, padding=2)), ("tanh1", nn.Tanh()), ("pool1", nn.AvgPool2d(2))),
            *(("conv2", nn.Conv2d(6, 16, 5)), ("tanh2", nn.Tanh()), ("pool2", nn.AvgPool2d(2)), ("flatten", nn.Flatten())),
            *(("fc1", nn.Linear(400, 120)), ("tanh3", nn.Tanh()), ("fc2", nn.Linear(120, 84)), ("tanh4", nn.Tanh())),
            ("out", nn.Linear(84, CLASSES)),
        )
        return lenet5.to(memory_format=torch.channels_last)
    if name == "mlp":
        hidden = ("flatten", nn.Flatten()), ("fc1", nn.Linear(784, 128)), ("relu1", nn.ReLU())
        return _named(*hidden, ("out", nn.Linear(128, CLASSES)))
    raise ValueError(f"there is no model {name!r}; {did_you_mean(name, ['cnn', 'lenet5', 'mlp'])}")


def _named(*layers: tuple[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def make_optimizer(model: nn.Module, p: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimizer that the parameters name, with its `lr`, `weight_decay` and, if it has one, `momentum`.

    Fused if torch supports it (all but RMSprop): one pass over all parameters instead of a dozen small operations for each.
    """
    common: dict[str, Any] = {"lr": p["lr"], "weight_decay": p["weight_decay"]}
    # On a GPU all of its state is there, so that its steps can be recorded as a CUDA graph.
    capturable = next(model.parameters()).is_cuda
    match p["optimizer"]:
        case "adam":
            return torch.optim.Adam(model.parameters(), fused=True, capturable=capturable, **common)
        case "adamw":
            return torch.optim.AdamW(model.parameters(), fused=True, capturable=capturable, **common)
        case "sgd":
            return torch.optim.SGD(model.parameters(), fused=True, momentum=p["momentum"], **common)
        case "rmsprop":
            return torch.optim.RMSprop(model.parameters(), momentum=p["momentum"], capturable=capturable, **common)
    known = ["adam", "adamw", "sgd", "rmsprop"]
    raise ValueError(f"there is no optimizer {p['optimizer']!r}; {did_you_mean(str(p['optimizer']), known)}")


def set_precision(name: str, device: str) -> contextlib.AbstractContextManager[object]:
    """Set the precision of this process, and return the context in which to compute a model and its loss.

    - `float32`: full precision. torch's default lets cuDNN's convolutions use TensorFloat-32 (10 bits of mantissa).
    - `tf32`: matrix products and convolutions on a GPU in TensorFloat-32, sums in float32.
    - `bfloat16`: torch's autocast; parameters, their gradients and the optimizer stay float32, and so does the loss.

    See https://docs.pytorch.org/docs/stable/notes/cuda.html and https://docs.pytorch.org/docs/stable/amp.html.

    Args:
        name: one of the three.
        device: `cpu` or `cuda`.

    Raises:
        ValueError: there is no such precision, or the device does not support it.
    """
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; {did_you_mean(str(name), PRECISIONS)}")
    if name == "tf32" and device == "cpu":
        raise ValueError("precision tf32 needs an NVIDIA GPU, and this trial computes on the CPU; use float32 or bfloat16")
    # Not the newer `fp32_precision`: where both are set, `torch.backends.cudnn.flags` and much of torch itself raise.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    return torch.autocast(torch.device(device).type, torch.bfloat16) if name == "bfloat16" else contextlib.nullcontext()
