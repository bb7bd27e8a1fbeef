"""What a sampler of Optuna's proposes next: points to try first, no assignment twice, an end to finite spaces."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Mapping

from sweep.search.methods import make_sampler
from sweep.search.optuna_study import OptunaStudy
from sweep.study.record import TrialRecord
from sweep.study.space import assignment
from sweep.study.spec import StudySpec, derive_seed
from sweep.study.trial import Scalar

_MOST_DISCARDED = 20


class Sampling:
    """Draw assignments with the sampler of a mirrored study.

    Args:
        study: the space, and the points to try first.
        mirror: the study in Optuna's terms; the trials that there are must be in it.
        known: the same trials.
    """

    def __init__(self, study: StudySpec, mirror: OptunaStudy, known: Iterable[TrialRecord] = ()) -> None:
        self._study, self._mirror = study, mirror
        self._points = study.points
        self._seen = {_key(record.params) for record in known}

    def draw(self, number: int) -> dict[str, Scalar]:
        """Return a trial's parameters, constants too: no assignment that another trial has."""
        if number < len(self._study.enqueue):
            self._mirror.optuna.enqueue_trial(dict(self._study.enqueue[number]))
        for _ in range(_MOST_DISCARDED):
            params = self._draw(number)
            if _key(params) not in self._seen:
                break
            self._mirror.discard(number)
        else:
            params = self._draw_untried(number)
        self._seen.add(_key(params))
        return params

    @property
    def exhausted(self) -> bool:
        """Tell whether every point of a finite space has been proposed."""
        return self._points is not None and len(self._seen) >= self._points

    def _draw(self, number: int) -> dict[str, Scalar]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, such as that a parameter with conditions is drawn independently
            trial, domains = self._mirror.begin(number), self._mirror.distributions
            return assignment(self._study.parameters, lambda name, _: trial._suggest(name, domains[name]))

    def _draw_untried(self, number: int) -> dict[str, Scalar]:
        """Draw a point by chance, since the sampler repeats itself: at the end of a finite space, or at a sharp optimum."""
        seed, optuna, grid = derive_seed(self._study.seed, "untried", number), self._mirror.optuna, self._study.grid
        if self._points is not None:
            place = random.Random(seed).randrange(self._points)  # noqa: S311  # no secret
            while _key(grid.point(place)) in self._seen:
                place = (place + 1) % self._points
            point = grid.point(place)
            optuna.enqueue_trial({name: point[name] for name in self._mirror.distributions if name in point})
        sampler, optuna.sampler = optuna.sampler, make_sampler("random", seed, {})
        try:
            return self._draw(number)
        finally:
            optuna.sampler = sampler


def _key(params: Mapping[str, Scalar]) -> tuple[tuple[str, str], ...]:
    # 1, 1.0 and true are equal to Python; the steps of a range have Optuna's dust of binary fractions, a grid's have none.
    return tuple((name, f"{value:.12g}." if isinstance(value, float) else repr(value)) for name, value in params.items())
