"""The parts of a process's state that belong to torch: see `process_state`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules import module as modules

from sweep.worker import cuda, replaced
from sweep.worker.interpreter_state import State

# Pairs of `torch._C._get_NAME` and `_set_NAME` that are no flags of the process.
_NO_FLAGS = {"thread_name", "torch_function_state", "tracing_state", "graph_exec_group", "dispatch_mode"}
_PRECISIONS = tuple((backend, kind) for backend in ("cuda", "mkldnn") for kind in ("all", "matmul", "conv", "rnn"))
_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
_SMALLEST = sys.float_info.min


def parts() -> Iterator[State]:
    """Yield each part's name, how it is read, and how it is put back (None if it cannot be)."""
    c: Any = torch._C
    yield "torch: gradient mode", torch.is_grad_enabled, torch._C._set_grad_enabled
    yield "torch: inference mode", torch.is_inference_mode_enabled, None
    yield "torch: default dtype", torch.get_default_dtype, torch.set_default_dtype
    yield "torch: default tensor type", torch._C._get_default_device, None
    yield "torch: default device", lambda: _stack(c._len_torch_function_stack, c._get_function_stack_at), _set_default_device
    yield "torch: a mode", lambda: _stack(c._len_torch_dispatch_stack, c._get_dispatch_stack_at), None
    yield "torch: threads", torch.get_num_threads, torch.set_num_threads
    yield "torch: threads between operations", torch.get_num_interop_threads, None
    yield "torch: deterministic algorithms", _deterministic, _set_deterministic
    yield _flags()
    yield "torch: precision", lambda: [c._get_fp32_precision_getter(*one) for one in _PRECISIONS], _set_precisions
    yield "torch: denormal numbers", lambda: _SMALLEST / 2 > 0, lambda kept: torch.set_flush_denormal(not kept)
    yield "torch: anomaly mode", lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()), _set_anomaly
    yield "torch: autocast", _autocast, _set_autocast
    yield "torch: hooks of saved tensors", lambda: c._autograd._top_saved_tensors_default_hooks(True), None
    hooks = _hooks()
    yield "torch: hooks of all modules", lambda: [dict(each) for each in hooks], lambda before: _set_hooks(hooks, before)
    yield "torch: print options", lambda: dict(vars(_print_options())), lambda values: vars(_print_options()).update(values)
    yield "torch: sharing", torch.multiprocessing.get_sharing_strategy, torch.multiprocessing.set_sharing_strategy
    yield "torch: process group", _process_group, None
    yield "torch: current GPU", _current_gpu, torch.cuda.set_device
    yield "torch: compiled functions", _forget_compiled, None
    yield "torch: how batches are made", lambda: dict(_collate()), _set_collate
    yield "torch: order of products", lambda: _einsum().strategy, lambda strategy: setattr(_einsum(), "strategy", strategy)
    yield (
        "torch: scripts",
        lambda: torch.jit._state._enabled.enabled,
        lambda on: setattr(torch.jit._state._enabled, "enabled", on),
    )
    yield "torch: threads of gradients", c._is_multithreading_enabled, c._set_multithreading_enabled
    yield "torch: checks of sparse tensors", c._check_sparse_tensor_invariants, c._set_check_sparse_tensor_invariants
    yield "torch: replaced functions", *replaced.functions(replaced.OF_TORCH)


def _stack(length: Callable[[], int], at: Callable[[int], Any]) -> tuple[Any, ...]:
    return tuple(at(i) for i in range(length()))


def _set_default_device(before: tuple[Any, ...]) -> None:
    if not before:
        torch.set_default_device(None)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _flags() -> State:
    """Return the state of all flags that torch's own library can get and set: backends, precision, determinism."""
    pairs = []
    for name in dir(torch._C):
        if name.startswith("_get_") and name.removeprefix("_get_") not in _NO_FLAGS:
            pairs.append((name, name.replace("_get_", "_set_", 1)))
    pairs += [(f"_get_{kind}_sdp_enabled", f"_set_sdp_use_{kind}") for kind in _ATTENTION]
    found = []
    for getter, setter in pairs:
        if hasattr(torch._C, getter) and hasattr(torch._C, setter):
            get, set_ = getattr(torch._C, getter), getattr(torch._C, setter)
            with contextlib.suppress(RuntimeError, TypeError):  # not in this build
                found.append((get, set_, get()))

    def restore(_: object) -> None:
        for get, set_, before in found:
            if _text(get) != str(before):
                set_(*before) if isinstance(before, tuple) else set_(before)

    plain = [get for get, _, before in found if type(before) is bool]
    other = [get for get, _, before in found if type(before) is not bool]
    return "torch: flags", lambda: [*(get() for get in plain), *map(_text, other)], restore


def _text(get: Callable[[], Any]) -> str:
    try:
        return str(get())  # some are enumerations of C++, which have no identity
    except RuntimeError as error:  # set in two ways that exclude each other
        return type(error).__name__


def _set_precisions(before: list[str]) -> None:
    for (backend, kind), precision in zip(_PRECISIONS, before, strict=True):
        torch._C._set_fp32_precision_setter(backend, kind, precision)


def _set_anomaly(before: tuple[bool, bool]) -> None:
    torch.set_anomaly_enabled(*before)


def _autocast() -> list[Any]:
    devices = ("cpu", "cuda")
    return [
        torch.is_autocast_cache_enabled(),
        *(torch.is_autocast_enabled(device) for device in devices),
        *(torch.get_autocast_dtype(device) for device in devices),
    ]


def _set_autocast(before: list[Any]) -> None:
    cache, *others = before
    torch.set_autocast_cache_enabled(cache)
    for number, device in enumerate(("cpu", "cuda")):
        torch.set_autocast_enabled(device, others[number])
        torch.set_autocast_dtype(device, others[2 + number])
    torch.clear_autocast_cache()


def _hooks() -> list[dict[Any, Any]]:
    """Return the dicts of hooks that are called for every module and every optimizer."""
    owners = (modules, sys.modules["torch.optim.optimizer"])
    return [v for owner in owners for k, v in vars(owner).items() if k.startswith("_global_") and isinstance(v, dict)]


def _set_hooks(hooks: list[dict[Any, Any]], before: list[dict[Any, Any]]) -> None:
    for each, known in zip(hooks, before, strict=True):
        each.clear()
        each.update(known)


def _print_options() -> Any:
    return torch._tensor_str.PRINT_OPTS


def _collate() -> dict[Any, Any]:
    return torch.utils.data._utils.collate.default_collate_fn_map


def _set_collate(before: dict[Any, Any]) -> None:
    _collate().clear()
    _collate().update(before)


def _einsum() -> Any:
    return torch.backends.opt_einsum


def _process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _current_gpu() -> int:
    # The first one until it is asked for another: that a trial has initialised CUDA is no difference.
    return torch.cuda.current_device() if cuda.in_use() else 0


def _forget_compiled() -> None:
    """Forget what torch compiled, if it did: after one trial's shapes, it would compile otherwise for the next."""
    if "torch._dynamo.convert_frame" in sys.modules:
        torch._dynamo.reset()
