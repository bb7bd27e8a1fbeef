"""A CUDA graph without CUDA: the operations of a function are recorded, and done again with the same tensors.

As in a graph, what a Python number decided is decided for good, recording changes nothing, results are always in the same memory,
and operations that would wait for the device, or copy from the CPU, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from sweep.worker import graphed
from sweep.worker.written import Watch, memory_of, tensors_in

# `item` and what makes a tensor of Python's numbers.
_REFUSED = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default}


class _Recorder(Watch):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}\nCompile with TORCH_USE_CUDA_DSA")
        found = super().__torch_dispatch__(func, types, args, kwargs)
        self.calls.append((func, args, kwargs or {}, found))
        return found


def recorded(function: Callable[[], Any]) -> Callable[[], Any]:
    """Stand in for `sweep.worker.graphed.captured`."""
    with _Recorder() as recorder:
        results = function()
    with torch.no_grad():
        for tensor, value in recorder.before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay() -> Any:
        for func, args, kwargs, found in recorder.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tensors_in(found), tensors_in(again), strict=True):
                if memory_of(old) != memory_of(new):  # neither a view nor written in place
                    old.copy_(new)
        return results

    return replay


Replays = Callable[[], list[int]]


def replays_on_cpu(patch: pytest.MonkeyPatch) -> Iterator[Replays]:
    """Yield a function that lets a CPU have graphs from then on, and returns a list that gets an entry for each replay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that sums have one order

    def begin() -> list[int]:
        made: list[int] = []

        def captured(function: Callable[[], Any]) -> Callable[[], Any]:
            replay = recorded(function)

            def noted() -> Any:
                made.append(1)
                return replay()

            return noted

        patch.setattr(graphed, "usable", lambda device: True)
        patch.setattr(graphed, "captured", captured)
        return made

    yield begin
    torch.set_num_threads(threads)
