"""A function that is replayed on a GPU as a CUDA graph: all kernels that it starts, by one launch.

A training step of a small network is about 45 kernels of a few microseconds, and starting each from Python takes longer than the
kernel. A graph that was recorded once starts them all (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). What it
records are kernels and addresses: whatever Python has decided stays so. Hence:

- The first calls are made as they are, as CUDA wants it. The next one is made, recorded, and replayed from the state before it.
  The graph is used only if every result, changed tensor, gradient and random number generator is then the same, to the bit.
- Which tensors a call changes, and which optimizers and modules it uses, is noted while it is made.
- Other options of these optimizers (a schedule), another mode of these modules, and parameters that are frozen or not any more
  lead to another graph.
- Other shapes than those of the first call are called as they are. So is what cannot be recorded, and the log says why.

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
from torch.utils._pytree import tree_map

from sweep.worker.randomness import random_states, restore_random_states
from sweep.worker.written import Watch, memory_of, tensors_in

_WARM_UP = 3  # calls
_MOST = 20  # graphs: then something changes with every few calls


def usable(device: str) -> bool:
    """Return whether a device has CUDA graphs."""
    return torch.device(device).type == "cuda"


def captured(function: Callable[[], Any]) -> Callable[[], Any]:
    """Record what a function does on the GPU, without doing it; return what does it, and returns the same tensors each time."""
    graph = torch.cuda.CUDAGraph()
    # The outer context: where the end of a recording raises, the inner one leaves its stream as the current one.
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function()  # other threads may use CUDA meanwhile

    def replay() -> Any:
        graph.replay()
        return results

    return replay


class Graphed:
    """A function of tensors that is replayed as a CUDA graph.

    Args:
        function: takes tensors; returns tensors, also in a list, tuple or dict. It may change others in place.
        device: where all of them are.
    """

    def __init__(self, function: Callable[..., Any], device: str) -> None:
        self._function, self._device = function, torch.device(device).type
        self._calls = self._recorded = 0
        self._given_up = False
        self._shapes: list[tuple[Any, ...]] = []
        self._optimizers: dict[int, torch.optim.Optimizer] = {}
        self._modules: dict[int, nn.Module] = {}
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Any] | None = None
        self._options: object = None  # that the graph was recorded with
        self._begins: object = None  # the gradients that were there then
        self._into: set[int | None] = set()  # the memory of those to which it adds
        self._gradients: list[tuple[Tensor, Tensor | None]] = []  # where it leaves them

    def __call__(self, *given: Tensor) -> Any:
        """Return what the function returns."""
        if self._calls == 0:
            self._look_at(given)
        if self._given_up or _shapes(given) != self._shapes:
            return self._function(*given)
        self._calls += 1
        if self._calls < _WARM_UP:
            return _on_side_stream(self._function, given)
        if self._calls == _WARM_UP:
            with self._noted():
                return _on_side_stream(self._function, given)
        if self._replay is None or (self._options, self._begins) != (self._now(), self._pattern()):
            return self._compared(given)
        with torch.no_grad():
            for own, new in zip(self._inputs, given, strict=True):
                own.copy_(new)
        return self._replayed(self._replay)

    def _look_at(self, given: Sequence[Tensor]) -> None:
        if not all(isinstance(one, Tensor) for one in given):
            raise TypeError("what trial.graphed returns takes tensors: a number would be the same in each replay")
        self._shapes = _shapes(given)
        if any(one.device.type != self._device for one in given):
            self._give_up("an input is not on the GPU")
        elif any(one.requires_grad for one in given):
            self._give_up("an input requires a gradient")

    def _give_up(self, why: str) -> None:
        print(f"training without a CUDA graph: {why}", flush=True)
        self._given_up, self._replay = True, None

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
        options = [tree_map(self._known, {name: value for name, value in group.items() if name != "params"}) for group in groups]
        states = (state for optimizer in self._optimizers.values() for state in optimizer.state.values())
        counts = [{name: value for name, value in state.items() if not isinstance(value, Tensor)} for state in states]
        return (
            options,
            counts,
            [module.training for module in self._modules.values()],
            [one.requires_grad for one in self._parameters()],
        )

    def _pattern(self) -> list[bool | int | None]:
        """Return which gradients there are; of those to which the graph adds, also their memory."""
        found = ((one.grad is None, None if one.grad is None else memory_of(one.grad)) for one in self._parameters())
        return [memory if memory in self._into else none for none, memory in found]

    def _known(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # The memory of one on the GPU is read in each replay; torch reads one on the CPU as a number.
        return id(value) if value.device.type == self._device else value.tolist()

    def _parameters(self) -> list[Tensor]:
        groups = (group for optimizer in self._optimizers.values() for group in optimizer.param_groups)
        of_optimizers = (parameter for group in groups for parameter in group["params"])
        of_modules = (parameter for module in self._modules.values() for parameter in module.parameters(recurse=False))
        return list({id(parameter): parameter for parameter in (*of_optimizers, *of_modules)}.values())

    def _compared(self, given: Sequence[Tensor]) -> Any:
        """Call the function, record it, and replay it from the same state; use the graph if nothing differs in a bit."""
        self._inputs = [one.detach().clone() for one in given]
        self._options, random_before = self._now(), random_states()
        gradients = [(one, one.grad) for one in self._parameters()]
        with self._noted(), Watch() as watch:
            expected = _on_side_stream(self._function, self._inputs)
        after = _State([memory for memory, _ in watch.before.values()], self._parameters())
        self._into = {memory for _, one in gradients if one is not None and (memory := memory_of(one)) in watch.before}
        if why := watch.trouble or self._refused(expected):
            self._give_up(why)
            return expected
        try:
            before = [value for _, value in watch.before.values()]
            after.copy()
            after.restore(before, random_before, gradients)
            self._begins = self._pattern()
            torch.clear_autocast_cache()  # what it holds would be used, and not be a part of the graph
            replay = captured(lambda: self._function(*self._inputs))
            torch.clear_autocast_cache()
            self._gradients = [(one, one.grad) for one in self._parameters()]
            after.restore(before, random_before)
            found = self._replayed(replay)
            why = after.differs(expected, found)
        except RuntimeError as error:  # CUDA's, an operation that cannot be recorded, too little memory
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            why = str(first).partition("\n")[0]
        self._recorded += 1
        if not why and self._recorded > _MOST:
            why = f"an option of its optimizer, or a module's mode, changes again and again ({_MOST} graphs)"
        if why:
            after.restore()
            self._give_up(why)
            return expected
        self._replay = replay
        return found

    def _refused(self, results: Any) -> str:
        """Return why a function cannot be replayed that has returned this."""
        if any(one.requires_grad for one in tensors_in(results)):
            return "a result requires a gradient: the whole step must be in the function, and its results detached"
        if self._options != self._now():
            return "it changes an option or a number of its optimizer, or the mode of a module, in Python"
        return ""

    def _replayed(self, replay: Callable[[], Any]) -> Any:
        """Replay a graph; return copies of its results, since the next replay overwrites them."""
        results = tree_map(lambda one: one.clone() if isinstance(one, Tensor) else one, replay())
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return results


class _State:
    """What a call has changed: memory, gradients and random number generators.

    Args:
        memory: tensors of bytes.
        parameters: whose gradients count.
    """

    def __init__(self, memory: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        self._memory, self._random = memory, random_states()
        self._gradients = [(one, one.grad) for one in parameters]
        self._values: list[Tensor] | None = None

    def copy(self) -> None:
        """Copy the memory; without this `restore` leaves it as it is."""
        self._values = [one.clone() for one in self._memory]

    @torch.no_grad()
    def restore(
        self,
        values: Sequence[Tensor] | None = None,
        random: Mapping[str, Any] | None = None,
        gradients: Sequence[tuple[Tensor, Tensor | None]] | None = None,
    ) -> None:
        """Set the memory, generators and gradients to what is given, or else to what they were after the call."""
        known = self._values if values is None else values
        for one, value in zip(self._memory, known, strict=True) if known is not None else ():
            one.copy_(value)
        restore_random_states(random or self._random)
        for parameter, gradient in self._gradients if gradients is None else gradients:
            parameter.grad = gradient

    def differs(self, expected: Any, found: Any) -> str:
        """Return what differs now from the state after the call, or in the results; an empty text if nothing does."""
        pairs = list(zip([*tensors_in(found), *self._memory], [*tensors_in(expected), *(self._values or ())], strict=True))
        for parameter, gradient in self._gradients:
            if (parameter.grad is None) != (gradient is None):
                return "its first replay gave other gradients"
            if parameter.grad is not None and gradient is not None:
                pairs.append((parameter.grad, gradient))
        if not all(_equal(one, other) for one, other in pairs):
            return "its first replay gave other bits"
        same = _as_bytes(random_states()) == _as_bytes(self._random)
        return "" if same else "it draws random numbers that a replay does not draw, such as Python's or NumPy's"


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


def _shapes(tensors: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    return [(one.shape, one.dtype, one.device) for one in tensors]


def _as_bytes(states: Mapping[str, Any]) -> Any:
    return tree_map(lambda one: one.numpy().tobytes() if isinstance(one, Tensor) else one, states)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether all bits are equal; a NaN equals itself."""
    return torch.equal(one.detach().reshape(-1).view(torch.uint8), other.detach().reshape(-1).view(torch.uint8))
