"""What counts of an array or a tensor, as text: its type and shape, and the values, of which a large one has many."""

from __future__ import annotations

import sys
from typing import Any

from sweep.study.code.digest import digest_of

_SAMPLE = 1 << 16  # that many numbers of an array are looked at


def array_text(value: Any) -> str:
    """Return what counts of a NumPy object."""
    if not hasattr(value, "tobytes") or getattr(value.dtype, "hasobject", True):
        return type_name(value)
    step = max(1, value.size // _SAMPLE)
    return f"{type_name(value)} {value.dtype} {value.shape} {digest_of(value.reshape(-1)[::step].tobytes())}"


def tensor_text(value: Any) -> str | None:
    """Return what counts of a tensor, None for anything else: the values of a parameter are drawn anew in each process."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    text = f"{type_name(value)} {value.dtype} {tuple(value.shape)}"
    if isinstance(value, torch.nn.Parameter) or value.layout is not torch.strided or value.device.type == "meta":
        return text
    step = max(1, value.numel() // _SAMPLE)
    try:
        return f"{text} {digest_of(repr(value.detach().reshape(-1)[::step].tolist()))}"
    except (RuntimeError, NotImplementedError):  # a kind of tensor whose values cannot be listed
        return text


def type_name(value: object) -> str:
    """Return the name of an object's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
