"""The random number generators of a worker's process: seeding them, reading their states and restoring them.

CUDA is never initialised here, and not asked for on a CPU. What is to happen to its generators before it is initialised waits in
torch's own queue, in which a seed and a restored state replace each other as they would on generators that exist.
"""

from __future__ import annotations

import functools
import os
import random
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweep.worker import cuda, torch_use

if TYPE_CHECKING:
    from torch import Tensor

# CUDA's states that are to be restored when it is initialised: until then they are what a checkpoint must have.
_waiting: list[Sequence[Tensor]] = []
# The last seed and its device, for a torch that is imported later.
_seeded: list[tuple[int, str]] = []


def seed_all(seed: int, device: str) -> None:
    """Seed Python's, NumPy's and torch's generators; torch's at the end of its import, if that is later.

    Args:
        seed: the same for all of them.
        device: what the trial computes on; on a CPU nothing asks the driver for GPUs. Inline they are visible all the same.
    """
    random.seed(seed)
    _waiting.clear()
    _seeded[:] = [(seed, device)]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if torch_use.loaded():
        seed_torch()


def seed_torch() -> None:
    """Seed torch's generators as `seed_all` does; nothing happens if it was not called."""
    import torch

    for seed, device in _seeded:
        # Without an accelerator, `torch.manual_seed` only remembers its callers, for when there is one: a tenth of a millisecond.
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
        every_device = device != "cpu" or not hidden or cuda.in_use() or _other_accelerator()
        (torch.manual_seed if every_device else torch.default_generator.manual_seed)(seed)
        if cuda.in_use():
            torch.cuda.reset_peak_memory_stats()


def random_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators as far as they are loaded, and of CUDA's if it is in use."""
    states: dict[str, Any] = {"python": random.getstate()}
    if torch := torch_use.loaded():
        states["torch"] = torch.get_rng_state()
    if "numpy" in sys.modules:
        import numpy

        name, keys, place, has_gauss, gauss = numpy.random.get_state(legacy=True)
        states["numpy"] = [name, numpy.asarray(keys, "<u4").tobytes(), int(place), int(has_gauss), float(gauss)]
    if cuda.in_use():
        states["cuda"] = torch.cuda.get_rng_state_all()
    elif _waiting:
        states["cuda"] = list(_waiting[-1])
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set the generators to the states that `random_states` returned; CUDA's when it is initialised, if that is later."""
    random.setstate(states["python"])
    if "numpy" in states:
        import numpy

        name, keys, *rest = states["numpy"]
        # Earlier versions stored a tensor.
        numbers = numpy.frombuffer(keys, "<u4") if isinstance(keys, bytes) else keys.numpy()
        numpy.random.set_state((name, numbers.astype("uint32"), *rest))
    if "torch" in states:
        import torch

        torch.set_rng_state(states["torch"])
    elif torch_use.loaded():  # which was not, when the states were read: then it still had to be seeded
        seed_torch()
    if "cuda" in states:
        import torch

        # Queued as a seed, which torch runs after all else and in the order of the calls. `set_rng_state` does not queue so, and
        # the seed that the trial got first would replace the states.
        lazy_call: Any = torch.cuda._lazy_call
        _waiting[:] = [states["cuda"]]
        lazy_call(functools.partial(_restore_cuda, states["cuda"]), seed=True)


def _restore_cuda(states: Sequence[Tensor]) -> None:
    import torch

    _waiting.clear()
    generators = torch.cuda.default_generators
    if len(states) == len(generators):  # else these are other GPUs, and the seed counts
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _other_accelerator() -> bool:
    """Return whether there is an accelerator that is not CUDA's; a build for CUDA has no other, and would ask the driver."""
    import torch

    return torch.version.cuda is None and torch.accelerator.is_available()
