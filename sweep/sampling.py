"""An Optuna study in memory that a sampler looks at and draws from, and all that must survive when the runner ends.

The proposals are those of Optuna's own sampler with the study's seed in a plain loop of ask and tell, also when the study was
interrupted in between: what a sampler knows beside the trials is kept as plain data (`Memory`), written by the store in one
transaction with the trial that was asked for. That is its random numbers, and

- CMA-ES: the state of its evolution, which Optuna keeps pickled in the trials' attributes. It is kept as it is, so that
  Optuna can go on with the study, and looked at before Optuna unpickles it: nothing but arrays and the optimizer may be in it.
- GP: the kernel's last parameters, from which the next fit starts.
- QMC and NSGA-II: the place in the sequence, and each generation's parents, which are attributes of the study.
"""

from __future__ import annotations

import base64
import io
import pickle
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.records import TrialRecord
from sweep.space import assignment, distributions
from sweep.strategies import make_sampler
from sweep.study import StudySpec, derive_seed
from sweep.trial import Scalar, TrialState

Memory = dict[str, Any]
Attributes = dict[str, Any]

_MOST_DISCARDED = 20
_GP_CACHES = ("_gprs_cache_list", "_constraints_gprs_cache_list")
_KERNEL = ("inverse_squared_lengthscales", "kernel_scale", "noise_var")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What must survive of an ask: the sampler's attributes of the trial, and its memory afterwards; plain data."""

    attributes: Attributes
    memory: Memory


class SamplerStudy:
    """An in-memory Optuna study; its trials have our numbers but for those that were discarded.

    Args:
        study: the space, the method and its options.
        memory: what `memory` returned when the last trial was asked for; None if nothing was, or by an older version.
    """

    def __init__(self, study: StudySpec, memory: Memory | None = None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study, self._memory = study, memory
        self._distributions = distributions(study.parameters)
        direction = optuna.study.StudyDirection[study.metric.goal.upper()]
        self._optuna = optuna.create_study(
            study_name=study.name, direction=direction, sampler=make_sampler(study.method, study.seed, study.sampler)
        )
        self._places: dict[int, int] = {}  # where a trial stands in the Optuna study, which is its id there too
        self._size = 0
        self._discarded: list[int] = list(memory["discarded"]) if memory else []
        self._seen: set[tuple[tuple[str, str], ...]] = set()
        self._points = study.points

    def remember(self, records: Iterable[TrialRecord], attributes: Mapping[int, Attributes]) -> None:
        """Take in the trials that there are, by number, and what the sampler had written down about them.

        Raises:
            SweepError: what it had written down is not what a sampler writes.
        """
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        states = {
            TrialState.COMPLETE: OptunaState.COMPLETE,
            TrialState.PRUNED: OptunaState.PRUNED,
            TrialState.FAILED: OptunaState.FAIL,
        }
        for record in records:
            self._fill_discarded()
            state = states.get(record.state, OptunaState.RUNNING)
            drawn = {name: record.params[name] for name in self._distributions if name in record.params}
            trial = create_trial(
                state=state,
                value=record.value if state is OptunaState.COMPLETE else None,
                params=drawn,
                distributions={name: self._distributions[name] for name in drawn},
                system_attrs=_checked(attributes.get(record.number, {})),
            )
            self._optuna.add_trial(trial)
            self._places[record.number] = self._size
            self._size += 1
            if record.state is not TrialState.FAILED:
                self._seen.add(_key(record.params))
        self._fill_discarded()
        if self._memory:
            _restore(self._optuna.sampler, self._memory)
            for key, value in self._memory["attributes"].items():
                self._optuna._storage.set_study_system_attr(self._optuna._study_id, key, value)
        elif self._places:  # of an older version: other random numbers than those that its trials were drawn with
            seed = derive_seed(self._study.seed, "sampler", len(self._places))
            self._optuna.sampler = make_sampler(self._study.method, seed, self._study.sampler)

    def ask(self, number: int) -> dict[str, Scalar]:
        """Return a trial's parameters, constants too: no assignment that another trial has, unless that one failed."""
        if number < len(self._study.enqueue):
            self._optuna.enqueue_trial(dict(self._study.enqueue[number]))
        for _ in range(_MOST_DISCARDED):
            params = self._draw(number)
            if _key(params) not in self._seen:
                break
            self._discard(number)
        else:
            params = self._draw_untried(number)
        self._seen.add(_key(params))
        return params

    def tell(self, number: int, state: TrialState, value: float | None) -> None:
        """Learn how a trial ended; `value` is None unless it is complete."""
        from optuna.trial import TrialState as OptunaState

        place = self._places[number]
        if state is TrialState.COMPLETE:
            self._optuna.tell(place, value)
        else:
            self._optuna.tell(place, state=OptunaState.PRUNED if state is TrialState.PRUNED else OptunaState.FAIL)

    def drawn(self, number: int) -> Drawn:
        """Return what must survive of the last ask."""
        attributes = self._optuna._storage.get_study_system_attrs(self._optuna._study_id)
        memory = {"discarded": self._discarded, "attributes": dict(attributes)} | _state(self._optuna.sampler)
        return Drawn(attributes=self._optuna._storage.get_trial(self._places[number]).system_attrs, memory=memory)

    @property
    def discarded(self) -> int:
        """Return how many proposals equalled another trial and were drawn again."""
        return len(self._discarded)

    @property
    def exhausted(self) -> bool:
        """Tell whether every point of a finite space has been proposed."""
        return self._points is not None and len(self._seen) >= self._points

    def _draw(self, number: int) -> dict[str, Scalar]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, such as that a parameter with conditions is drawn independently
            trial = self._optuna.ask()
            self._places[number] = trial.number
            self._size += 1
            return assignment(self._study.parameters, lambda name, _: trial._suggest(name, self._distributions[name]))

    def _discard(self, number: int) -> None:
        from optuna.trial import TrialState as OptunaState

        place = self._places.pop(number)
        self._optuna.tell(place, state=OptunaState.FAIL)
        self._discarded.append(place)

    def _fill_discarded(self) -> None:
        """Put a failed trial where one was discarded: samplers go by Optuna's own numbers."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        while self._size in self._discarded:
            self._optuna.add_trial(create_trial(state=OptunaState.FAIL))
            self._size += 1

    def _draw_untried(self, number: int) -> dict[str, Scalar]:
        """Draw a point by chance, since the sampler repeats itself: at the end of a finite space, or at a sharp optimum."""
        seed, sampler, grid = derive_seed(self._study.seed, "untried", number), self._optuna.sampler, self._study.grid
        if self._points is not None:
            place = random.Random(seed).randrange(self._points)  # noqa: S311  # no secret
            while _key(grid.point(place)) in self._seen:
                place = (place + 1) % self._points
            self._optuna.enqueue_trial({name: v for name, v in grid.point(place).items() if name in self._distributions})
        self._optuna.sampler = make_sampler("random", seed, {})
        try:
            return self._draw(number)
        finally:
            self._optuna.sampler = sampler


def _key(params: Mapping[str, Scalar]) -> tuple[tuple[str, str], ...]:
    # 1, 1.0 and true are equal to Python; the steps of a range have Optuna's dust of binary fractions, a grid's have none.
    return tuple((name, f"{value:.12g}." if isinstance(value, float) else repr(value)) for name, value in params.items())


def _state(sampler: Any) -> Memory:
    """Return a sampler's random numbers and, of GP, the kernels' parameters, as plain data."""
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


def _restore(sampler: Any, memory: Memory) -> None:
    import numpy as np

    for path, generator in _generators(sampler):
        if path in memory["random"]:
            keys, *rest = memory["random"][path]
            generator.rng.set_state(("MT19937", np.frombuffer(base64.b64decode(keys), dtype=np.uint32), *rest))
    for cache, kernels in memory["kernels"].items():
        import torch  # GP computes with it: it is here anyway

        tensors = [[torch.tensor(part, dtype=torch.float64) for part in kernel] for kernel in kernels]
        setattr(sampler, cache, [SimpleNamespace(**dict(zip(_KERNEL, parts, strict=True))) for parts in tensors])


def _generators(owner: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the random number generators of a sampler and of the samplers and strategies that it has."""
    for name, value in vars(owner).items():
        if hasattr(type(value), "rng"):
            yield f"{path}{name}", value
        elif type(value).__module__.startswith("optuna.samplers") and hasattr(value, "__dict__"):
            yield from _generators(value, f"{path}{name}.")


def _checked(attributes: Attributes) -> Attributes:
    """Return attributes of a trial whose pickled optimizer, if there is one, holds nothing but an optimizer."""
    parts = {key: value for key, value in attributes.items() if ":optimizer:" in key}
    if parts:
        try:
            _Careful(io.BytesIO(bytes.fromhex("".join(parts[key] for key in sorted(parts, key=_part))))).load()
        except Exception as error:
            raise SweepError(
                "sampler-not-readable",
                "what the sampler had written down in study.db is damaged",
                why=str(error),
                do="keep the folder and start another:  sweep run STUDY name=another-name",
                exit_code=EXIT_LOCKED,
            ) from None
    return attributes


def _part(key: str) -> int:
    return int(key.rpartition(":")[2])


class _Careful(pickle.Unpickler):
    """Reads CMA-ES optimizers and arrays, and nothing else: a study's folder must not be able to run anything."""

    _KNOWN = frozenset({"CMA", "SepCMA", "CMAwM", "_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        """Return a known class."""
        known = module.partition(".")[0] in ("cmaes", "numpy") and name in self._KNOWN
        if not known and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an optimizer")
        return super().find_class(module, name)
