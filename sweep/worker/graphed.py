"""A function that is replayed on a GPU as a CUDA graph: all kernels that it starts, by one launch.

A training step of a small network is about 45 kernels of a few microseconds, and starting each from Python takes longer than the
kernel. A graph that was recorded once starts them all (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). What it
records are kernels and addresses: whatever a Python number has decided stays so. Hence:

- The first calls are made as they are, as CUDA wants it. In one of them is noted which tensors the function changes, and which
  optimizers and modules it uses.
- A graph is used only if its first replay gives every bit that the function gives from the same state.
- Other options of these optimizers (a schedule) and another mode of these modules record another graph.
- Other shapes, and a function that cannot be recorded, are called as they are; then the log says why.

No graph has been recorded on a GPU yet: the tests replay recorded operations on a CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode  # torch has no public name for it
from torch.utils._pytree import tree_leaves, tree_map

from sweep.worker.randomness import random_states, restore_random_states

_WARM_UP = 3  # calls
_MOST = 20  # graphs: then something changes with every few calls


def usable(device: str) -> bool:
    """Return whether a device has CUDA graphs."""
    return torch.device(device).type == "cuda"


def captured(function: Callable[[], Any]) -> Callable[[], Any]:
    """Record what a function does on the GPU, without doing it; return what does it, and returns the same tensors each time."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use CUDA meanwhile
        results = function()

    def replay() -> Any:
        graph.replay()
        return results

    return replay


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    """Note what memory is changed in this context, unless a tensor that is made in it has it.

    Attributes:
        before: all bytes of that memory as a tensor, and what they were, by its address.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: set[int] = set()
        self._kept: list[Any] = []  # so that no memory is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation."""
        kwargs = kwargs or {}
        for tensor in _written(func, args, kwargs):
            if (memory := memory_of(tensor)) not in self._made and memory not in self.before:
                whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
                self.before[memory] = whole, whole.clone()
        found = func(*args, **kwargs)
        # What has the memory of an argument is a view of it, or was written in place.
        self._made |= {*map(memory_of, tensors_in(found))} - {*map(memory_of, tensors_in((args, kwargs)))}
        self._kept.append(found)
        return found


class Graphed:
    """A function of tensors that is replayed as a CUDA graph.

    Args:
        function: takes tensors; returns tensors, also in a list, tuple or dict. It may change others in place.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls = self._recorded = 0
        self._changed: list[Tensor] = []
        self._optimizers: dict[int, torch.optim.Optimizer] = {}
        self._modules: dict[int, nn.Module] = {}
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Any] | None = None
        self._options: object = None  # that the graph was recorded with
        self._gradients: list[tuple[Tensor, Tensor | None]] = []  # where it leaves them

    def __call__(self, *given: Tensor) -> Any:
        """Return what the function returns."""
        if self._calls < _WARM_UP:
            return self._warm_up(given)
        if self._recorded > _MOST or (self._inputs and _shapes(given) != _shapes(self._inputs)):
            return self._function(*given)
        if self._replay is None or self._options != self._now():
            return self._compared(given)
        for own, new in zip(self._inputs, given, strict=True):
            own.copy_(new)
        return self._replayed(self._replay)

    def _warm_up(self, given: Sequence[Tensor]) -> Any:
        if not all(isinstance(one, Tensor) for one in given):
            raise TypeError("what trial.graphed returns takes tensors: a number would be the same in each replay")
        self._calls += 1
        with contextlib.ExitStack() as watching:
            if last := self._calls == _WARM_UP:
                watching.enter_context(self._noted())
                watch = watching.enter_context(Watch())
            results = _on_side_stream(self._function, given)
        if last:
            self._changed = [memory for memory, _ in watch.before.values()]
        return results

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Note the optimizers and modules that are used in this context."""

        def steps(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            self._optimizers[id(optimizer)] = optimizer

        def calls(module: nn.Module, *_: Any) -> None:
            self._modules[id(module)] = module

        hooks = register_optimizer_step_pre_hook(steps), register_module_forward_pre_hook(calls)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _now(self) -> object:
        """Return what a recorded graph depends on."""
        groups = [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]
        options = [tree_map(_known, {name: value for name, value in group.items() if name != "params"}) for group in groups]
        return options, [module.training for module in self._modules.values()]

    def _compared(self, given: Sequence[Tensor]) -> Any:
        """Call the function, record it, and replay it from the same state; use the graph if all bits are the same."""
        self._inputs, self._options = [one.detach().clone() for one in given], self._now()
        before, random_before = _copies(self._changed), random_states()
        expected = _on_side_stream(self._function, self._inputs)
        after, random_after = _copies(self._changed), random_states()
        self._restore(before, random_before)
        try:
            replay = captured(lambda: self._function(*self._inputs))
            self._gradients = [(one, one.grad) for one in self._parameters()]
            self._restore(before, random_before)
            found = self._replayed(replay)
            pairs = zip([*tensors_in(found), *self._changed], [*tensors_in(expected), *after], strict=True)
            why = "" if all(map(_equal, *zip(*pairs, strict=True))) else "its first replay gave other bits"
        except RuntimeError as error:  # CUDA's, an operation that cannot be recorded, too little memory
            why = str(error).partition("\n")[0]
        if not why:
            self._recorded += 1
            if self._recorded > _MOST:
                why = f"an option of its optimizer, or a module's mode, changes again and again ({_MOST} graphs)"
        if why:
            print(f"training without a CUDA graph: {why}", flush=True)
            self._recorded, self._replay = _MOST + 1, None
            self._restore(after, random_after)
            return expected
        self._replay = replay
        return found

    def _replayed(self, replay: Callable[[], Any]) -> Any:
        """Replay a graph; return copies of its results, since the next replay overwrites them."""
        results = tree_map(lambda one: one.clone() if isinstance(one, Tensor) else one, replay())
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return results

    def _parameters(self) -> list[Tensor]:
        groups = (group for optimizer in self._optimizers.values() for group in optimizer.param_groups)
        return [parameter for group in groups for parameter in group["params"]]

    @torch.no_grad()
    def _restore(self, values: Sequence[Tensor], states: Mapping[str, Any]) -> None:
        for one, value in zip(self._changed, values, strict=True):
            one.copy_(value)
        restore_random_states(states)


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in lists, tuples and dicts."""
    return [one for one in tree_leaves(tree) if isinstance(one, Tensor)]


def memory_of(tensor: Tensor) -> int:
    """Return the address of the memory of which a tensor is a part."""
    return tensor.untyped_storage().data_ptr()


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the arguments that an operation writes, according to its declaration; batch normalisation does not declare them."""
    found: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        declared = argument.alias_info is not None and argument.alias_info.is_write
        if declared or argument.name in ("running_mean", "running_var"):
            found += tensors_in(args[place] if place < len(args) else kwargs.get(argument.name))
    return found


def _on_side_stream(function: Callable[..., Any], given: Sequence[Tensor]) -> Any:
    """Call a function as torch's documentation wants it before it is recorded."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return function(*given)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # as above
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results = function(*given)
    torch.cuda.current_stream().wait_stream(stream)
    return results


def _known(value: Any) -> Any:
    return id(value) if isinstance(value, Tensor) else value  # its memory is read in each replay


def _shapes(tensors: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    return [(one.shape, one.dtype, one.device) for one in tensors]


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [one.detach().clone() for one in tensors]


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether all bits are equal; a NaN equals itself."""
    return torch.equal(one.detach().reshape(-1).view(torch.uint8), other.detach().reshape(-1).view(torch.uint8))
