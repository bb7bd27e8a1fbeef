"""The study in Optuna's own terms, in memory: what its samplers and pruners look at, and what must survive when the runner ends.

Proposals and verdicts are those of Optuna's own sampler and pruner, also when the study was interrupted in between: what they
know beside the trials is kept as plain data (`Memory`, and attributes of each trial), written by the store in one transaction
with what it belongs to. That is the samplers' random numbers, and

- CMA-ES: the state of its evolution, which Optuna keeps pickled in the trials' attributes. It is kept as it is, so that
  Optuna can go on with the study, and looked at before Optuna unpickles it: nothing but arrays and the optimizer may be in it.
- GP: the kernel's last parameters, from which the next fit starts.
- QMC and NSGA-II: the place in the sequence, and each generation's parents, which are attributes of the study.
- ASHA and Hyperband: the resources that they took from the first complete trials, and the rungs that each trial has passed.

Constraints reach the samplers as Optuna 5 has it: by how much a trial is beyond each bound is an attribute of the trial, set
before its end is told. They are made again from what the trial reported, and stand in study.db for Optuna's tools alone.

In memory a trial costs 0.3 ms; through Optuna's SQLite storage 20 ms.
"""

from __future__ import annotations

import base64
import copy
import io
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sweep.errors import ANOTHER_STUDY, EXIT_LOCKED, SweepError
from sweep.front import excesses, objectives
from sweep.prior import PriorTrial, prior_changed
from sweep.records import TrialRecord
from sweep.space import distributions
from sweep.strategies import make_pruner, make_sampler
from sweep.study import StudySpec, derive_seed
from sweep.trial import Params, TrialState

Memory = dict[str, Any]
Attributes = dict[str, Any]
Curve = Iterable[tuple[int, float | None]]

# What Optuna calls a trial's state; it knows nothing of one that was interrupted.
OPTUNA_STATES = {
    TrialState.WAITING: "RUNNING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAILED: "FAIL",
}
_GP_CACHES = ("_gprs_cache_list", "_constraints_gprs_cache_list")
_KERNEL = ("inverse_squared_lengthscales", "kernel_scale", "noise_var")
_RESOURCES = ("_min_resource", "_max_resource")  # of pruners: what "auto" came to
RUNG = "completed_rung_"
_CONSTRAINT = "constraints:"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What must survive of an ask: the sampler's attributes of the trial, and all memory afterwards; plain data."""

    attributes: Attributes
    memory: Memory


class Mirror:
    """An in-memory Optuna study; its trials have our numbers but for what came before them, and those that were discarded.

    Args:
        study: the space, the metrics, the constraints, the method and the pruner.
        memory: `Drawn.memory` of the last trial that was asked for; None if none was, or by an older version.
        prior: trials of other studies, which come first.

    Raises:
        SweepError: there was other prior knowledge when the last trial was asked for.
    """

    def __init__(self, study: StudySpec, memory: Memory | None = None, prior: Sequence[PriorTrial] = ()) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study, self._memory = study, memory
        self.distributions = distributions(study.parameters)
        self.optuna = optuna.create_study(
            study_name=study.name,
            directions=directions(study),
            sampler=self._sampler(study.seed),
            pruner=make_pruner(study.pruner),
        )
        self._storage = self.optuna._storage
        self._places: dict[int, int] = {}  # where a trial stands in the Optuna study, which is its id there too
        self._size = 0
        self._discarded: dict[int, None] = dict.fromkeys(memory["discarded"]) if memory else {}
        self._verdicts: dict[int, tuple[int, bool]] = {}  # the last one on each running trial, and on which step
        self._passed: dict[int, Attributes] = {}  # rungs of trials that were started again and have not reported yet
        self._prior = len(prior)
        if memory and memory.get("prior", 0) != self._prior:
            raise prior_changed(memory.get("prior", 0), self._prior)
        for trial in prior:
            self._add(trial.state, trial.params, None if trial.value is None else [trial.value], trial.curve)

    def remember(self, records: Iterable[TrialRecord], attributes: Mapping[int, Attributes], curves: Mapping[int, Curve]) -> None:
        """Take in the trials that there are, by number, what was written down about them, and what they reported.

        Raises:
            SweepError: what a sampler had written down is not what a sampler writes.
        """
        for record in records:
            self._fill_discarded()
            self._places[record.number] = self._size
            values = values_told(self._study, record.state, record.value, record.metrics)
            written = _checked(attributes.get(record.number, {}))
            written = written | constraint_attributes(self._study, record.state, record.metrics)
            self._add(record.state, record.params, values, curves.get(record.number, ()), written)
        self._fill_discarded()
        if self._memory:
            _restore(self.optuna.sampler, self._memory)
            _restore_resources(self.optuna.pruner, self._memory.get("resources", {}))
            for key, value in self._memory["attributes"].items():
                self._storage.set_study_system_attr(self.optuna._study_id, key, value)
        elif self._places:  # of an older version: other random numbers than those that its trials were drawn with
            self.optuna.sampler = self._sampler(derive_seed(self._study.seed, "sampler", len(self._places)))

    def _add(
        self, state: TrialState, params: Params, values: list[float] | None, curve: Curve, attributes: Attributes | None = None
    ) -> None:
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        drawn = {name: params[name] for name in self.distributions if name in params}
        trial = create_trial(
            state=OptunaState[OPTUNA_STATES[state]],
            values=values,
            params=drawn,
            distributions={name: self.distributions[name] for name in drawn},
            intermediate_values=_steps(curve),
            system_attrs=attributes,
        )
        self.optuna.add_trial(trial)
        self._size += 1

    def begin(self, number: int) -> Any:
        """Return a new trial of Optuna's for the trial with a number; nothing of it is drawn yet."""
        trial = self.optuna.ask()
        self._places[number] = trial.number
        self._size += 1
        return trial

    def discard(self, number: int) -> None:
        """Fail the Optuna trial that was begun: another will be begun for this number."""
        from optuna.trial import TrialState as OptunaState

        place = self._places.pop(number)
        self.optuna.tell(place, state=OptunaState.FAIL)
        self._discarded[place] = None

    def rewind(self, number: int, history: Curve) -> None:
        """Forget what a trial reported after this: it goes on from here, or so far starts over if there is nothing."""
        trial = copy.copy(self._trial(number))
        trial.intermediate_values = _steps(history)
        rungs = self._passed.pop(number, {}) | _rungs(trial.system_attrs)
        trial.system_attrs = {key: value for key, value in trial.system_attrs.items() if key not in rungs}
        if trial.intermediate_values:
            trial.system_attrs |= rungs
        else:
            self._passed[number] = rungs  # a trial that is started may yet tell that it goes on from a checkpoint
        self._storage._set_trial(self._places[number], trial)  # type: ignore[attr-defined]  # no public way leads back
        if number in self._verdicts and self._verdicts[number][0] not in trial.intermediate_values:
            del self._verdicts[number]

    def report(self, number: int, step: int, value: float) -> bool:
        """Take in a report; tell whether the pruner ends the trial. Asked again about the same step it says the same."""
        self._passed.pop(number, None)
        if step < 0:  # Optuna knows no such steps
            return False
        if number not in self._verdicts or self._verdicts[number][0] != step:
            place = self._places[number]
            self._storage.set_trial_intermediate_value(place, step, value)
            trial = self._storage.get_trial(place)
            self._verdicts[number] = step, bool(self.optuna.pruner.prune(self.optuna, trial))
        return self._verdicts[number][1]

    def tell(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> None:
        """Learn how a trial ended; `value`, the first metric's, is None unless it is complete."""
        from optuna.trial import TrialState as OptunaState

        self._verdicts.pop(number, None)
        place = self._places[number]
        for key, beyond in constraint_attributes(self._study, state, metrics).items():
            self._storage.set_trial_system_attr(place, key, beyond)
        if state is TrialState.COMPLETE:
            self.optuna.tell(place, values_told(self._study, state, value, metrics))
        else:
            self.optuna.tell(place, state=OptunaState[OPTUNA_STATES[state]])

    def rungs(self, number: int) -> Attributes:
        """Return what the pruner wrote down about a trial.

        Not of a report that ended it: until its end is written down, the verdict must come about again.
        """
        if self._verdicts.get(number, (0, False))[1]:
            return {}
        return _rungs(self._trial(number).system_attrs)

    def drawn(self, number: int) -> Drawn:
        """Return what must survive of the last ask."""
        attributes = self._storage.get_study_system_attrs(self.optuna._study_id)
        memory: Memory = {"discarded": [*self._discarded], "attributes": dict(attributes), "prior": self._prior}
        memory |= {"resources": _resources(self.optuna.pruner)} | _state(self.optuna.sampler)
        return Drawn(attributes=dict(self._trial(number).system_attrs), memory=memory)

    @property
    def discarded(self) -> int:
        """Return how many proposals were discarded."""
        return len(self._discarded)

    def _trial(self, number: int) -> Any:
        return self._storage._get_trial(self._places[number])  # type: ignore[attr-defined]  # get_trial copies it deeply

    def _sampler(self, seed: int) -> Any:
        # A grid's points come from elsewhere: nothing is drawn.
        return make_sampler("random" if self._study.method == "grid" else self._study.method, seed, self._study.sampler)

    def _fill_discarded(self) -> None:
        """Put a failed trial where one was discarded: samplers go by Optuna's own numbers."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        while self._size in self._discarded:
            self.optuna.add_trial(create_trial(state=OptunaState.FAIL))
            self._size += 1


def directions(study: StudySpec) -> list[Any]:
    """Return where each metric is to go, in Optuna's terms."""
    from optuna.study import StudyDirection

    return [StudyDirection[metric.goal.upper()] for metric in study.metrics]


def values_told(study: StudySpec, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> list[float] | None:
    """Return what Optuna is told of a finished trial's metrics, None for nothing; it has all of them or none."""
    values = [one for one in objectives(study, value, metrics) if one is not None]
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return values if ended and len(values) == len(study.metrics) else None


def constraint_attributes(study: StudySpec, state: TrialState, metrics: Mapping[str, float]) -> Attributes:
    """Return what Optuna's `Trial.set_constraint` would have written down about a finished trial."""
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return {f"{_CONSTRAINT}{name}": beyond for name, beyond in excesses(study, metrics).items()} if ended else {}


def _rungs(attributes: Attributes) -> Attributes:
    return {key: value for key, value in attributes.items() if key.startswith(RUNG)}


def _steps(curve: Curve) -> dict[int, float]:
    return {step: value for step, value in curve if value is not None and step >= 0}


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


def _resources(pruner: Any) -> dict[str, int]:
    """Return the resources that a pruner, or the one that it wraps, goes by."""
    found = vars(pruner) | vars(getattr(pruner, "_wrapped_pruner", None) or SimpleNamespace())
    return {name: found[name] for name in _RESOURCES if isinstance(found.get(name), int)}


def _restore_resources(pruner: Any, resources: Mapping[str, int]) -> None:
    for owner in (pruner, getattr(pruner, "_wrapped_pruner", None)):
        for name, value in resources.items():
            if hasattr(owner, name):
                setattr(owner, name, value)


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
                do=ANOTHER_STUDY,
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
