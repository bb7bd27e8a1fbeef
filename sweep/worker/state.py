"""What a state may hold: only what a checkpoint gives back exactly, which is checked before anything is written.

A checkpoint is read without running any code in it, so no class of the user's can be in it. Exact builtin types and plain tensors
are known to come back as they were. A tensor of an unusual kind (sparse, quantized, with a lazy conjugation, ...) is written to
memory and read back at each checkpoint; if that fails or gives something else, the state is refused.
"""

from __future__ import annotations

import collections
import io
from typing import Any

import torch

from sweep.study.plain import shown

_PLAIN = frozenset((type(None), bool, float, complex, str, bytes, bytearray, torch.Size, torch.dtype, torch.device))
_KEYS = frozenset((type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device))
_DEEPEST = 100
_LONGEST_PATH = 300
_MOST_BITS = 2000  # torch reads an int of at most 255 bytes
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
_DTYPES = frozenset((*_FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))
_ALLOWED = "a checkpoint holds tensors, numbers, strings, and lists, tuples, sets and dicts of them"


class _Refused(Exception):
    """A value cannot be in a state; `path` says where, from the inside out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.path: list[str] = []


def checked(state: Any) -> dict[str, Any]:
    """Return a state as a dict.

    Raises:
        TypeError: it holds something that a checkpoint could not give back; the message names the place and the type.
    """
    if isinstance(state, collections.abc.Mapping):
        try:
            found = dict(state)
        except Exception as error:  # whatever a class of the user's raises
            raise TypeError(f"the state cannot be read: {type(error).__name__}: {shown(error)}") from error
        check(found)
        return found
    raise TypeError(f'a state is a dict, such as {{"model": model.state_dict()}}, got {type(state).__name__}: {shown(state)}')


def check(value: object, where: str = "state") -> None:
    """Check that a checkpoint gives a value back as it is.

    Raises:
        TypeError: as `checked`.
    """
    try:
        _check(value, 0, set(), set())
    except _Refused as refused:
        path = "".join(reversed(refused.path))
        path = path if len(path) <= _LONGEST_PATH else f"{path[: _LONGEST_PATH // 2]}...{path[-_LONGEST_PATH // 2 :]}"
        raise TypeError(f"{where}{path} is {refused}") from None
    except RuntimeError as error:  # another thread changes a dict meanwhile
        raise TypeError(f"{where} cannot be read: {error}") from error


def _check(value: Any, depth: int, known: set[int], outer: set[int]) -> None:
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is int:
        if value.bit_length() > _MOST_BITS:
            raise _Refused(f"an int of {value.bit_length()} bits; {_MOST_BITS} is the most that a checkpoint holds")
    elif kind is torch.Tensor or kind is torch.nn.Parameter:
        _check_tensor(value)
        if value.__dict__:
            _check(value.__dict__, depth + 1, known, outer)
    elif kind in (dict, list, tuple, set, collections.OrderedDict, collections.Counter):
        place = id(value)
        if place in known:
            return
        if place in outer:
            raise _Refused(f"a {kind.__name__} that contains itself")
        if depth == _DEEPEST:
            raise _Refused(f"nested more than {_DEEPEST} deep")
        outer.add(place)
        _check_items(value, kind, depth + 1, known, outer)
        outer.discard(place)
        known.add(place)
    else:
        raise _Refused(
            f"a {kind.__module__}.{kind.__qualname__}; {_ALLOWED} (a NumPy value becomes one with .item() or torch.from_numpy)"
        )


def _check_items(value: Any, kind: type, depth: int, known: set[int], outer: set[int]) -> None:
    at: Any = None
    try:
        if kind in (list, tuple):
            for place, item in enumerate(value):
                at = place
                _check(item, depth, known, outer)
            return
        for key in value:
            at = key
            _check_key(key, kind)
        for key, item in () if kind is set else value.items():
            at = key
            _check(item, depth, known, outer)
        if kind in (collections.OrderedDict, collections.Counter) and value.__dict__:  # as `_metadata` of a state_dict
            at = "its attributes"
            if kind is collections.Counter:
                raise _Refused("a Counter with attributes of its own, which torch does not store")
            _check(value.__dict__, depth, known, outer)
    except _Refused as refused:
        refused.path.append(f"[{shown(at)}]")
        raise


def _check_key(key: Any, kind: type) -> None:
    if type(key) is tuple:
        for part in key:
            _check_key(part, kind)
    elif type(key) not in _KEYS:
        raise _Refused(f"in a {kind.__name__} with a {type(key).__name__} as its key; a key is a string or a number")
    elif type(key) is int:
        _check(key, 0, set(), set())


def _check_tensor(tensor: torch.Tensor) -> None:
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
        _check_unusual(tensor)


def _is_freed(tensor: torch.Tensor) -> bool:
    """Return whether a tensor's memory is smaller than the tensor, as that of a parameter whose values are on other devices."""
    count = tensor.numel()
    if count and not tensor.is_contiguous():
        count = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return count > 0 and tensor.untyped_storage().nbytes() < int(tensor.storage_offset() + count) * tensor.itemsize


def _check_unusual(tensor: torch.Tensor) -> None:
    """Write a tensor to memory and read it back.

    Raises:
        _Refused: what comes back is something else.
    """
    if tensor.is_meta:
        raise _Refused("a tensor on the device meta, which has no values")
    try:
        memory = io.BytesIO()
        torch.save(tensor, memory)
        memory.seek(0)
        found = torch.load(memory, map_location="cpu", weights_only=True)
        same = type(found) is type(tensor) and _facts(found) == _facts(tensor) and _equal(found, tensor)
        why = "comes back as another one"
    except Exception as error:  # torch may raise anything for a tensor that it cannot store
        same, why = False, f"cannot be read back: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if not same:
        raise _Refused(
            f"a tensor ({tensor.dtype}, {tensor.layout}) that {why[:200]}; give a plain one, such as tensor.to_dense()"
        )


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
