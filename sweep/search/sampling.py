"""Draw assignments with a sampler of Optuna's: the points to try first, then none twice, until a finite space is used up."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Mapping

from sweep.search.methods import make_sampler
from sweep.search.optuna_study import OptunaStudy
from sweep.study.record import TrialRecord
from sweep.study.seeds import derive_seed
from sweep.study.space import Choice, assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar

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
        point = self._study.enqueue[number] if number < len(self._study.enqueue) else None
        for _ in range(_MOST_DISCARDED):
            params = self._draw(number, point)
            if self._key(params) not in self._seen:
                break
            self._optuna.discard(number)
            point = None
        else:
            params = self._draw_untried(number)
        self._seen.add(self._key(params))
        return params

    @property
    def exhausted(self) -> bool:
        """Return whether every point of a finite space has been proposed."""
        return self._points is not None and len(self._seen) >= self._points

    def _draw(self, number: int, point: Params | None = None) -> dict[str, Scalar]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, such as that a parameter with conditions is drawn independently
            trial = self._optuna.begin(number, point)
            return assignment(self._study.parameters, lambda name, _: self._optuna.draw(trial, name, point or {}))

    def _draw_untried(self, number: int) -> dict[str, Scalar]:
        """Draw a point at random, because the sampler repeats itself: near the end of a finite space, or at a sharp optimum."""
        seed, optuna, grid = derive_seed(self._study.seed, "untried", number), self._optuna.study, self._study.grid
        point: Params | None = None
        if self._points is not None:
            place = random.Random(seed).randrange(self._points)  # noqa: S311  # not for security
            while self._key(grid.point(place)) in self._seen:
                place = (place + 1) % self._points
            point = grid.point(place)
        sampler, optuna.sampler = optuna.sampler, make_sampler("random", seed, {})
        try:
            return self._draw(number, point)
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
