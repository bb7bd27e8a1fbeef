"""Which tensors a checkpoint gives back exactly.

Plain ones are known to come back as they were. A tensor of an unusual kind (sparse, quantized, with a lazy conjugation, ...) is
written to memory and read back at each checkpoint.
"""

from __future__ import annotations

import io
from typing import Any

import torch

TENSORS = frozenset((torch.Tensor, torch.nn.Parameter))
PLAIN = frozenset((torch.Size, torch.dtype, torch.device))
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
_DTYPES = frozenset((*_FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))


def why_refused(tensor: torch.Tensor) -> str:
    """Return why a checkpoint cannot hold a tensor; empty if it can."""
    plain = (
        tensor.layout is torch.strided
        and tensor.dtype in _DTYPES
        and not (
            tensor.is_meta
            or tensor.is_nested
            or tensor.is_conj()
            or tensor.is_neg()
            or tensor._is_zerotensor()
            or tensor.__dict__
        )
    )
    # Private: nothing public tells.
    if not plain or torch._C._functorch.is_functorch_wrapped_tensor(tensor) or _is_freed(tensor):
        return _why_unusual(tensor)
    return ""


def _is_freed(tensor: torch.Tensor) -> bool:
    """Return whether a tensor's memory is smaller than the tensor, as that of a parameter whose values are on other devices."""
    count = tensor.numel()
    if count and not tensor.is_contiguous():
        count = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return count > 0 and tensor.untyped_storage().nbytes() < int(tensor.storage_offset() + count) * tensor.itemsize


def _why_unusual(tensor: torch.Tensor) -> str:
    """Write a tensor to memory and read it back; return how what comes back is something else."""
    if tensor.is_meta:
        return "a tensor on the device meta, which has no values"
    try:
        memory = io.BytesIO()
        torch.save(tensor, memory)
        memory.seek(0)
        found = torch.load(memory, map_location="cpu", weights_only=True)
        same = type(found) is type(tensor) and _facts(found) == _facts(tensor) and _equal(found, tensor)
        why = "comes back as another one"
    except Exception as error:  # torch may raise anything for a tensor that it cannot store
        same, why = False, f"cannot be read back: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if same:
        return ""
    return f"a tensor ({tensor.dtype}, {tensor.layout}) that {why[:200]}; give a plain one, such as tensor.to_dense()"


def _facts(tensor: torch.Tensor) -> list[Any]:
    """Return what two tensors have in common that are the same, besides their values."""
    facts: list[Any] = [tensor.dtype, tensor.layout, tensor.requires_grad, tensor.is_conj(), tensor.is_neg(), tensor.is_nested]
    facts += [vars(tensor)]
    if not tensor.is_nested:
        facts += [tensor.shape]
        facts += [tensor.stride()] if tensor.layout is torch.strided else []
    if tensor.is_quantized:
        facts += [tensor.qscheme()]
    return facts


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    pairs = list(zip(_parts(one.detach().cpu()), _parts(other.detach().cpu()), strict=True))
    return all(a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bytes(a), _bytes(b)) for a, b in pairs)


def _parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the plain tensors that a tensor consists of."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if not tensor.is_quantized:
        return [tensor.resolve_conj().resolve_neg()]
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [tensor.int_repr(), torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64)]
    return [tensor.int_repr(), tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
