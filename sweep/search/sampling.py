"""Draw assignments with a sampler of Optuna's: the points to try first, then none twice, until a finite space is used up."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from sweep.search.methods import make_sampler
from sweep.search.optuna_study import OptunaStudy
from sweep.storage.optuna_terms import category
from sweep.study.record import TrialRecord
from sweep.study.seeds import derive_seed
from sweep.study.space import Choice, Domain, assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar

_MOST_DISCARDED = 20


class Sampling:
    """Draw assignments with the sampler of an in-memory Optuna study.

    Args:
        study: the space, and the points to try first.
        optuna: the Optuna study, with the known trials.
        known: the same trials.
    """

    def __init__(self, study: StudySpec, optuna: OptunaStudy, known: Iterable[TrialRecord] = ()) -> None:
        self._study, self._optuna = study, optuna
        self._points = study.points
        self._listed = {name for name, domain in study.parameters.items() if isinstance(domain, Choice)}
        self._seen = {self._key(record.params) for record in known}

    def draw(self, number: int) -> dict[str, Scalar]:
        """Return a trial's parameters, constants too; no other trial has the same."""
        if number < len(self._study.enqueue):
            self._optuna.study.enqueue_trial({name: category(value) for name, value in self._study.enqueue[number].items()})
        for _ in range(_MOST_DISCARDED):
            params = self._draw(number)
            if self._key(params) not in self._seen:
                break
            self._optuna.discard(number)
        else:
            params = self._draw_untried(number)
        self._seen.add(self._key(params))
        return params

    @property
    def exhausted(self) -> bool:
        """Return whether every point of a finite space has been proposed."""
        return self._points is not None and len(self._seen) >= self._points

    def _draw(self, number: int) -> dict[str, Scalar]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, such as that a parameter with conditions is drawn independently
            trial, found = self._optuna.begin(number), self._optuna.distributions
            return assignment(self._study.parameters, lambda name, domain: _suggested(trial, name, domain, found[name]))

    def _draw_untried(self, number: int) -> dict[str, Scalar]:
        """Draw a point at random, because the sampler repeats itself: near the end of a finite space, or at a sharp optimum."""
        seed, optuna, grid = derive_seed(self._study.seed, "untried", number), self._optuna.study, self._study.grid
        if self._points is not None:
            place = random.Random(seed).randrange(self._points)  # noqa: S311  # not for security
            while self._key(grid.point(place)) in self._seen:
                place = (place + 1) % self._points
            point = grid.point(place)
            optuna.enqueue_trial({name: category(point[name]) for name in self._optuna.distributions if name in point})
        sampler, optuna.sampler = optuna.sampler, make_sampler("random", seed, {})
        try:
            return self._draw(number)
        finally:
            optuna.sampler = sampler

    def _key(self, params: Mapping[str, Scalar]) -> tuple[tuple[str, str], ...]:
        # With the type, since 1, 1.0 and True are equal. Numbers of a range are rounded, since Optuna's steps have errors of
        # binary fractions; those that are listed are not, since they may differ by as little.
        exact = self._listed
        return tuple(
            (name, f"{value:.12g}." if isinstance(value, float) and name not in exact else repr(value))
            for name, value in params.items()
        )


def _suggested(trial: Any, name: str, domain: Domain, distribution: Any) -> Any:
    if isinstance(domain, Choice):
        return domain.values[distribution.choices.index(trial.suggest_categorical(name, distribution.choices))]
    kind, suggest = (int, trial.suggest_int) if isinstance(distribution.low, int) else (float, trial.suggest_float)
    # Of Python's type: Optuna returns NumPy's numbers of some ranges.
    return kind(suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log))
