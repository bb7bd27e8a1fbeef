"""What changes inside an object when it is used: random numbers, the position of an iterator, the training of a model."""

from __future__ import annotations

import collections.abc
import io
import itertools
import random
import sys
import warnings
from collections.abc import Callable
from types import GeneratorType
from typing import Any

_SIMPLE = (bool, int, float, str)
_SMALL = 8192  # bytes of an array that are compared: a larger one is data


def state_of(value: Any) -> Callable[[], Any] | None:
    """Return a function that returns what changes inside an object; None where that is nothing, or data."""
    if isinstance(value, random.Random):
        return value.getstate
    if isinstance(value, itertools.count):
        return lambda: repr(value)
    if isinstance(value, bytearray) and len(value) <= _SMALL:
        return lambda: bytes(value)
    if isinstance(value, io.IOBase):
        return lambda: value.tell() if not value.closed and value.readable() and value.seekable() else None
    if type(value).__module__ in ("builtins", "itertools") and isinstance(value, collections.abc.Iterator):
        return lambda: _position(value)
    return _of_numpy(value) or _of_torch(value)


def _of_numpy(value: Any) -> Callable[[], Any] | None:
    numpy = sys.modules.get("numpy")
    if not numpy or not type(value).__module__.startswith("numpy"):
        return None
    if isinstance(value, numpy.random.Generator):
        bits = value.bit_generator
        return lambda: (repr(bits.state), getattr(bits.seed_seq, "n_children_spawned", 0))
    if isinstance(value, numpy.random.BitGenerator):
        return lambda: repr(value.state)
    if isinstance(value, numpy.random.RandomState):
        return lambda: repr(value.get_state())
    if isinstance(value, numpy.random.SeedSequence):
        return lambda: value.n_children_spawned
    if isinstance(value, numpy.ndarray) and value.nbytes <= _SMALL and not value.dtype.hasobject:
        array: Any = value
        return lambda: bytes(array.data.tobytes())
    return None


def _of_torch(value: Any) -> Callable[[], Any] | None:
    torch = sys.modules.get("torch")
    if not torch:
        return None
    if isinstance(value, torch.Generator):
        return lambda: value.get_state().tolist()
    if isinstance(value, torch.Tensor):
        return lambda: _tensor(value)
    if isinstance(value, torch.nn.Module):
        return lambda: [
            *map(_tensor, value.state_dict(keep_vars=True).values()),
            *([one for one in vars(module).values() if type(one) in _SIMPLE] for module in value.modules()),
        ]
    if isinstance(value, torch.optim.Optimizer):
        return lambda: [
            len(value.state),
            *([one for one in group.values() if type(one) in _SIMPLE] for group in value.param_groups),
        ]
    if isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        return lambda: value.last_epoch
    if isinstance(value, torch.utils.data.DataLoader):
        return None if value.generator is None else lambda: value.generator.get_state().tolist()
    if isinstance(value, torch.utils.data.dataloader._BaseDataLoaderIter):
        return lambda: value._num_yielded
    return None


def _tensor(value: Any) -> tuple[Any, ...]:
    if not hasattr(value, "_version"):  # the extra state of a module
        return ()
    return value._version, value.requires_grad, value.grad is None


def _position(value: Any) -> Any:
    """Return where an iterator is, as far as it can say, without moving it."""
    if isinstance(value, GeneratorType):
        return value.gi_frame and value.gi_frame.f_lasti
    if not isinstance(value, collections.abc.Iterator):
        return value if type(value) in _SIMPLE else len(value) if isinstance(value, list) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.14 has no copies of what is in `itertools`
            reduced: Any = value.__reduce__()
    except (TypeError, ValueError):
        return None
    flat = [one for part in reduced[1:] for one in (part if isinstance(part, tuple) else (part,))]
    return [_position(one) for one in flat]
