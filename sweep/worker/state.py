"""What a state may hold: only what a checkpoint gives back exactly, which is checked before anything is written.

A checkpoint is read without running any code in it, so no class of the user's can be in it. Exact builtin types are known to come
back as they were; `sweep.worker.tensors` judges tensors.
"""

from __future__ import annotations

import collections
from typing import Any

from sweep.study.plain import shown
from sweep.worker import torch_use

_PLAIN = frozenset((type(None), bool, float, complex, str, bytes, bytearray))
_KEYS = frozenset((type(None), bool, int, float, complex, str, bytes))
_DEEPEST = 100
_LONGEST_PATH = 300
_MOST_BITS = 2000  # torch reads an int of at most 255 bytes
_ALLOWED = "a checkpoint holds tensors, numbers, strings, and lists, tuples, sets and dicts of them"
_NUMPY = "a NumPy value becomes one with .item(), .tolist() or torch.from_numpy"


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
        _check_torchs(value, depth, known, outer)


def _check_torchs(value: Any, depth: int, known: set[int], outer: set[int]) -> None:
    """Check a value that is of no builtin type."""
    kind = type(value)
    if torch_use.loaded():
        from sweep.worker import tensors

        if kind in tensors.PLAIN:
            return
        if kind in tensors.TENSORS:
            if why := tensors.why_refused(value):
                raise _Refused(why)
            if value.__dict__:
                _check(value.__dict__, depth + 1, known, outer)
            return
    raise _Refused(f"a {kind.__module__}.{kind.__qualname__}; {_ALLOWED} ({_NUMPY})")


def _is_torchs_key(key: Any) -> bool:
    if not torch_use.loaded():
        return False
    from sweep.worker import tensors

    return type(key) in tensors.PLAIN


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
    elif type(key) not in _KEYS and not _is_torchs_key(key):
        raise _Refused(f"in a {kind.__name__} with a {type(key).__name__} as its key; a key is a string or a number")
    elif type(key) is int:
        _check(key, 0, set(), set())
