"""The precision of a training: float32, bfloat16, or TensorFloat-32 on an NVIDIA GPU."""

from __future__ import annotations

import contextlib

import torch

from sweep.errors import did_you_mean

PRECISIONS = ("float32", "bfloat16", "tf32")


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
    products = "tf32" if name == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = products
    torch.backends.cudnn.conv.fp32_precision = products  # type: ignore[attr-defined]  # made at import
    return torch.autocast(device, torch.bfloat16) if name == "bfloat16" else contextlib.nullcontext()
