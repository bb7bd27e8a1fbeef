"""What memory a function of torch's writes, noted while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # torch has no public name for it
from torch.utils._pytree import tree_leaves


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    """Note what memory is changed in this context, unless a tensor that is made in it has it.

    Attributes:
        before: all bytes of that memory as a tensor, and what they were, by its address.
        trouble: why something could not be noted; empty if all was.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.trouble = ""
        self._made: set[int | None] = set()  # new memory only: what is freed here is used again by what is made here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation."""
        kwargs = kwargs or {}
        for tensor in _written(func, args, kwargs):
            self._note(tensor)
        found = func(*args, **kwargs)
        # What has the memory of an argument is a view of it, or was written in place.
        self._made |= {*map(memory_of, tensors_in(found))} - {*map(memory_of, tensors_in((args, kwargs)))}
        return found

    def _note(self, tensor: Tensor) -> None:
        memory = memory_of(tensor)
        if memory is None:
            self.trouble = "it changes a tensor that has no memory of its own, such as a sparse one"
        elif memory not in self._made and memory not in self.before:
            try:
                whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
                self.before[memory] = whole, whole.clone()
            except torch.OutOfMemoryError:
                self.trouble = "there is too little memory for a copy of what it changes"


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in lists, tuples and dicts."""
    return [one for one in tree_leaves(tree) if isinstance(one, Tensor)]


def memory_of(tensor: Tensor) -> int | None:
    """Return the address of the memory of which a tensor is a part; None if it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except NotImplementedError:  # a sparse one
        return None


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the arguments that an operation writes, according to its declaration; batch normalisation does not declare them."""
    found: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        declared = argument.alias_info is not None and argument.alias_info.is_write
        if declared or argument.name in ("running_mean", "running_var"):
            found += tensors_in(args[place] if place < len(args) else kwargs.get(argument.name))
    return found
