"""Synthetic studies whose truth is known, as the study and the records that the report's functions take; nothing is trained."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import study_spec, trial_record

Floats = np.ndarray[Any, np.dtype[np.float64]]
AXES: dict[str, list[Any]] = {"lr": [0.1, 0.01], "batch": [32, 64, 128], "idle": [True, False]}
POINTS = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
SHAPE = tuple(len(values) for values in AXES.values())


@functools.cache
def grid_study(seeds: int = 0, repeats: int = 0, allow_failed: int = 0) -> StudySpec:
    """Return the study of twelve settings: with a parameter `seed`, or repeated."""
    keys: dict[str, Any] = {"repeats": {"count": repeats, "allow_failed": allow_failed}} if repeats else {}
    return study_spec({**({"seed": list(range(seeds))} if seeds else {}), **AXES, "k": 1}, **keys)


def effects(kind: str) -> Floats:
    """Return the settings' true means, of standard deviation 1: `none` have no effect, `additive`, or `interplay`."""
    lr, batch = np.array([-1.0, 1.0])[:, None, None], np.array([-1.0, 0.2, 0.8])[None, :, None]
    zero = np.zeros(SHAPE)
    shape = {"none": zero, "additive": zero + lr + 0.6 * batch, "interplay": zero + 0.4 * lr + lr * batch}[kind]
    means: Floats = (shape / (shape.std() or 1.0)).ravel()
    return means


def noise(random: np.random.Generator, shape: tuple[int, int], size: float, kind: str = "normal") -> Floats:
    """Return chance by setting and seed: `normal`, `unequal` between settings, or with heavy `tails`; `size` is its deviation."""
    drawn: Floats = random.standard_normal(shape)
    if kind == "tails":
        drawn = random.standard_t(3, shape) / math.sqrt(3)
    if kind == "unequal":
        drawn = drawn * np.exp(random.normal(0, 0.5, (shape[0], 1)))
    return size * drawn


def grid_records(
    values: Floats, *, repeated: bool = False, failed: np.ndarray[Any, Any] | None = None, allow: int = 0
) -> list[TrialRecord]:
    """Return the records of a grid: a trial for each training, or one for each setting with its runs."""
    seeds = values.shape[1]
    found = []
    for at, point in enumerate(POINTS):
        runs = []
        for seed in range(seeds):
            lost = failed is not None and bool(failed[at, seed])
            state = TrialState.FAILED if lost else TrialState.COMPLETE
            value = float(values[at, seed])
            params = point if repeated or seeds == 1 else {"seed": seed, **point}
            number = at if repeated else seed * len(POINTS) + at
            runs.append(trial_record(number, state, value, params=params, repeat=seed if repeated else 0))
        if not repeated:
            found += runs
            continue
        lost_runs = sum(run.state is TrialState.FAILED for run in runs)
        state = TrialState.FAILED if lost_runs > allow else TrialState.COMPLETE
        kept = [run.value or 0.0 for run in runs if run.state is state]
        found.append(replace(runs[0], state=state, value=math.fsum(kept) / len(kept), runs=tuple(runs), repeat=0))
    return found


def ranks_of(values: Floats) -> Floats:
    """Return the ranks of values; equal ones have the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    result: Floats = ((ends - counts + 1 + ends) / 2.0)[inverse].reshape(values.shape)
    return result


def true_grid_shares(means: Floats, size: float, kind: str) -> dict[str, float]:
    """Return each parameter's share of the variance of ranks, from a grid with very many seeds."""
    values = means[:, None] + noise(np.random.default_rng(99), (len(means), 400), size, kind)
    ranks = ranks_of(values)
    table = ranks.mean(axis=1).reshape(SHAPE)
    found = {}
    for place, name in enumerate(AXES):
        others = tuple(axis for axis in range(len(SHAPE)) if axis != place)
        found[name] = 0.0 if name == "idle" or not means.any() else float(table.mean(axis=others).var() / ranks.var())
    return found


@dataclass(frozen=True, kw_only=True)
class SearchWorld:
    """A search over three parameters of which the last has no effect."""

    trials: int
    noise: float
    method: str = "random"
    fails: bool = False
    prunes: bool = False

    def space(self) -> Mapping[str, Any]:
        """Return the parameters as in a study file."""
        return {"lr": {"min": 1e-4, "max": 1.0, "log": True}, "width": {"min": 0.0, "max": 1.0}, "idle": {"min": 0.0, "max": 1.0}}

    def study(self) -> StudySpec:
        """Return the study."""
        return study_spec({**self.space(), "k": 1}, method=self.method, budget={"trials": self.trials})

    def drawn(self, random: np.random.Generator, count: int) -> tuple[Floats, Floats, Sequence[TrialState]]:
        """Return the parameters from 0 to 1, the values, and how each trial ended."""
        at = random.random((count, 3))
        values = self.value(at) + self.noise * random.standard_normal(count)
        states = [TrialState.COMPLETE] * count
        if self.fails:  # a learning rate that is too high diverges
            lost = random.random(count) < np.clip((at[:, 0] - 0.6) * 2.5, 0, 0.9)
            states = [TrialState.FAILED if one else TrialState.COMPLETE for one in lost]
        if self.prunes:  # by what is known halfway
            early = values + self.noise * random.standard_normal(count)
            states = [TrialState.PRUNED if one else TrialState.COMPLETE for one in early < np.median(early)]
        return at, values, states

    def value(self, at: Floats) -> Floats:
        """Return the values without chance; the best learning rate is inside the range."""
        result: Floats = -4.0 * (at[:, 0] - 0.45) ** 2 * 2.0 + 0.8 * at[:, 1]
        return result

    def at(self, params: Mapping[str, Any]) -> float:
        """Return the true value of a setting."""
        place = (math.log10(float(params["lr"])) + 4) / 4
        return float(self.value(np.array([[place, float(params["width"]), 0.0]]))[0])

    def records(self, at: Floats, values: Floats, states: Sequence[TrialState]) -> list[TrialRecord]:
        """Return the records."""
        return [
            trial_record(
                number,
                state,
                None if state is TrialState.FAILED else float(value),
                params={"lr": 10 ** (4 * float(x[0]) - 4), "width": float(x[1]), "idle": float(x[2]), "k": 1},
            )
            for number, (x, value, state) in enumerate(zip(at, values, states, strict=True))
        ]

    def true_shares(self) -> dict[str, float]:
        """Return each parameter's share of the variance of ranks, from very many trials; what failed has the worst rank."""
        at, values, states = self.drawn(np.random.default_rng(99), 40_000)
        worst = np.array([{TrialState.COMPLETE: 0.0, TrialState.PRUNED: -1e6, TrialState.FAILED: -math.inf}[s] for s in states])
        ranks = ranks_of(np.where(np.isinf(worst), -1e9, values + worst))
        return {name: 0.0 if name == "idle" else _explained(at[:, place], ranks) for place, name in enumerate(self.space())}


def _explained(at: Floats, ranks: Floats, bins: int = 40) -> float:
    place = np.minimum((at * bins).astype(int), bins - 1)
    means = np.bincount(place, weights=ranks, minlength=bins) / np.bincount(place, minlength=bins)
    return float(means[place].var() / ranks.var())


def searched(world: SearchWorld, random: np.random.Generator) -> list[TrialRecord]:
    """Return the trials that Optuna's TPE chooses in this world."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(random.integers(1 << 30))))
    places, values = [], []
    for _ in range(world.trials):
        trial = study.ask()
        at = np.array([[trial.suggest_float(name, 0, 1) for name in world.space()]])
        value = float(world.value(at)[0] + world.noise * random.standard_normal())
        study.tell(trial, value)
        places.append(at[0])
        values.append(value)
    return world.records(np.array(places), np.array(values), [TrialState.COMPLETE] * world.trials)


def accuracy_records(
    random: np.random.Generator, settings: int, seeds: int, luck: float
) -> tuple[list[TrialRecord], Floats, Floats]:
    """Return trainings with validation and test accuracies, the true accuracy of each network, and of each setting."""
    means = 0.85 + 0.01 * random.standard_normal(settings)
    networks = means[:, None] + luck * random.standard_normal((settings, seeds))
    validation, test = random.binomial(5_000, networks) / 5_000, random.binomial(10_000, networks) / 10_000
    records = [
        trial_record(
            seed * settings + at,
            params={"a": at, "seed": seed},
            metrics={"score": float(validation[at, seed]), "test/accuracy": float(test[at, seed]), "test/samples": 10_000.0},
        )
        for at in range(settings)
        for seed in range(seeds)
    ]
    return records, networks, means


def world_values(random: np.random.Generator, means: Floats, seeds: int, size: float, kind: str = "normal") -> Floats:
    """Return a training for each setting and seed, with an effect of the seed that all settings share."""
    shared = 0.3 * size * random.standard_normal((1, seeds)) if seeds > 1 else 0.0
    return means[:, None] + noise(random, (len(means), seeds), size, kind) + shared
