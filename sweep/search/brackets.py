"""The pruner `brackets`, which Optuna does not have: a trial goes on after certain reports only among the best there."""

from __future__ import annotations

import itertools
import math

import optuna


class BracketsPruner(optuna.pruners.BasePruner):
    """Prune a trial at one of its brackets unless its best value so far is among the best 1/keep of all trials' values there.

    It counts a trial's reports, whatever their steps are. This is what W&B's `early_terminate` does (`hyperband_stop_runs` of the
    package `sweeps`), at the moment when a trial reaches a bracket.

    Args:
        at: the numbers of the reports, ascending.
        keep: the best 1/keep go on, and as many as are not worse than the next one after them.
        strict: the value at the bracket counts, not the best one until then.

    Raises:
        ValueError: the options make no brackets.
    """

    def __init__(self, at: list[int], keep: float = 3.0, strict: bool = False) -> None:  # as Optuna's
        if not at or any(type(place) is not int or place < 1 for place in at) or at != sorted(set(at)):
            raise ValueError(f"at must list rising whole numbers above 0, such as [3, 9], got {at}")
        if not keep > 1 or math.isinf(keep):
            raise ValueError(f"keep must be a number above 1, got {keep}: the best 1/keep go on")
        self._at, self._keep, self._strict = frozenset(at), keep, strict

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether the trial, whose last report is in it, ends there."""
        place = len(trial.intermediate_values)
        if place not in self._at:
            return False
        sign = 1 if study.direction is optuna.study.StudyDirection.MINIMIZE else -1
        others = (other.intermediate_values.values() for other in study.get_trials(deepcopy=False))
        there = sorted(sign * next(itertools.islice(values, place - 1, None)) for values in others if len(values) >= place)
        own = [sign * value for value in trial.intermediate_values.values()]
        return (own[-1] if self._strict else min(own)) > there[int(len(there) / self._keep)]
