"""The state of samplers and pruners beside the trials, as plain data that can be stored.

That is the state of the samplers' random number generators, and

- CMA-ES: the state of its evolution, which Optuna stores pickled in the trials' attributes. It is stored unchanged, so that
  Optuna can continue the study, and checked before Optuna unpickles it: it may contain only arrays and the optimizer.
- GP: the kernel's last parameters, from which the next fit starts.
- QMC and NSGA-II: the place in the sequence, and each generation's parents; they are attributes of the study.
- ASHA and Hyperband: the resources that they derived from the first complete trials, and the rungs that each trial has passed.
"""

from __future__ import annotations

import base64
import copy
import io
import math
import pickle
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from sweep.errors import ANOTHER_STUDY, EXIT_LOCKED, SweepError
from sweep.storage.optuna_terms import CONSTRAINT, RUNG, Attributes, SamplerState
from sweep.study.spec import StudySpec

_GP_CACHES = ("_gprs_cache_list", "_constraints_gprs_cache_list")
_KERNEL = ("inverse_squared_lengthscales", "kernel_scale", "noise_var")
_RESOURCES = ("_min_resource", "_max_resource")  # of pruners: the values that "auto" stands for


def state_of(sampler: Any) -> SamplerState:
    """Return the state of a sampler's random number generators and, of GP, its kernels' parameters, as plain data."""
    numbers = {}
    for path, generator in _generators(sampler):
        name, keys, *rest = generator.rng.get_state()
        assert name == "MT19937"
        numbers[path] = [
            base64.b64encode(keys.tobytes()).decode(),
            *(item.item() if hasattr(item, "item") else item for item in rest),
        ]
    kernels = {
        cache: [[getattr(kernel, part).tolist() for part in _KERNEL] for kernel in getattr(sampler, cache)]
        for cache in _GP_CACHES
        if getattr(sampler, cache, None)
    }
    return {"random": numbers, "kernels": kernels}


def restore(sampler: Any, state: SamplerState) -> None:
    """Set a sampler's state to what `state_of` returned."""
    import numpy as np

    for path, generator in _generators(sampler):
        if path in state["random"]:
            keys, *rest = state["random"][path]
            generator.rng.set_state(("MT19937", np.frombuffer(base64.b64decode(keys), dtype=np.uint32), *rest))
    for cache, kernels in state["kernels"].items():
        import torch  # GP computes with it, so it is imported anyway

        tensors = [[torch.tensor(part, dtype=torch.float64) for part in kernel] for kernel in kernels]
        setattr(sampler, cache, [SimpleNamespace(**dict(zip(_KERNEL, parts, strict=True))) for parts in tensors])


def resources_of(pruner: Any) -> dict[str, int]:
    """Return the resources that a pruner, or the one that it wraps, has derived."""
    found = vars(pruner) | vars(getattr(pruner, "_wrapped_pruner", None) or SimpleNamespace())
    return {name: found[name] for name in _RESOURCES if isinstance(found.get(name), int)}


def restore_resources(pruner: Any, resources: Mapping[str, int]) -> None:
    """Set the resources of a pruner, or of the one that it wraps, to what `resources_of` returned."""
    for owner in (pruner, getattr(pruner, "_wrapped_pruner", None)):
        for name, value in resources.items():
            if hasattr(owner, name):
                setattr(owner, name, value)


def _generators(owner: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the random number generators of a sampler and of the samplers and strategies inside it."""
    for name, value in vars(owner).items():
        if hasattr(type(value), "rng"):
            yield f"{path}{name}", value
        elif type(value).__module__.startswith("optuna.samplers") and hasattr(value, "__dict__"):
            yield from _generators(value, f"{path}{name}.")


def checked(attributes: Attributes) -> Attributes:
    """Return the attributes of a trial, after a check that a pickled optimizer in them contains only an optimizer.

    Raises:
        SweepError: it contains something else, or is damaged.
    """
    parts = {key: value for key, value in attributes.items() if ":optimizer:" in key}
    if parts:
        try:
            _OptimizerUnpickler(io.BytesIO(bytes.fromhex("".join(parts[key] for key in sorted(parts, key=_part))))).load()
        except Exception as error:
            raise SweepError(
                "sampler-not-readable",
                "the sampler's state in study.db is damaged",
                why=str(error),
                do=ANOTHER_STUDY,
                exit_code=EXIT_LOCKED,
            ) from None
    return attributes


def _part(key: str) -> int:
    return int(key.rpartition(":")[2])


class _OptimizerUnpickler(pickle.Unpickler):
    """Unpickle CMA-ES optimizers and arrays, and nothing else: a study's folder must not be able to run code."""

    _KNOWN = frozenset({"CMA", "SepCMA", "CMAwM", "_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        """Return the class if it is known."""
        known = module.partition(".")[0] in ("cmaes", "numpy") and name in self._KNOWN
        if not known and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an optimizer")
        return super().find_class(module, name)


def without_result(trial: Any, study: StudySpec) -> Any:
    """Return an Optuna trial that has ended as if it had failed, and had reported nothing."""
    failed = copy.copy(trial)
    failed.intermediate_values = {}
    failed.system_attrs = {key: value for key, value in trial.system_attrs.items() if not key.startswith(RUNG)}
    if study.method == "nsgaii" and trial.values is not None:
        # Its generations name their parents, which must have values: with the worst, it is no parent of the next generation.
        failed.values = [-metric.sign * math.inf for metric in study.metrics]
        failed.system_attrs |= {key: math.inf for key in failed.system_attrs if key.startswith(CONSTRAINT)}
    else:
        failed.state, failed.values = type(trial.state).FAIL, None
    return failed
