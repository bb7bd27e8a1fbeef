"""Start the longest trials of a grid first, as far as known, so that no slot trains alone at the end.

On 8 slots, a grid of 72 trials takes 1.27 times the least possible time in the file's order, and 1.004 times in this one; on
2 slots it takes 1.017 and 1.000 times (simulated by `pytest tests/search/test_order.py -k least_possible`).

The duration of a trial is estimated as a product of one factor for each value of each parameter, since batch size, epochs
and the like multiply. Before anything ran, the names of the parameters decide: twice the epochs take twice as long, and
smaller batches longer. A running trial counts from its first report on, in proportion to its steps.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from sweep.study.space import Constant, Space
from sweep.study.trial import Params, Scalar

# How the logarithm of the duration grows with the logarithm of a value, by the parameter's name.
_EXPONENTS = (
    (re.compile(r"(^|[._])(max_|num_|n_)?(epochs?|steps|iterations|samples)$"), 1.0),
    (re.compile(r"(^|[._])(train_)?(batch_?size|bs)$"), -0.5),
)
_ROUNDS = 3  # of fitting each factor to what the others leave unexplained
_Value = tuple[str, type, Scalar]
_SHRINKAGE = 0.5  # draws a factor towards 1, as this many trials with that factor would
_UNSEEN = math.log(2)  # the factor of a value that no trial had yet: it may be a long one, so it is tried early
_WINDOW = 1_000  # the order matters from this many trials before the end on
_STEP = math.log(1.1)  # trials whose durations differ by less are started in the file's order


class Durations:
    """The expected duration of a trial, by its parameters.

    Args:
        parameters: the space.
    """

    def __init__(self, parameters: Space) -> None:
        self._names = [name for name, domain in parameters.items() if not isinstance(domain, Constant)]
        self._exponents = {
            name: exponent for pattern, exponent in _EXPONENTS for name in self._names if pattern.search(name.lower())
        }
        self._observed: dict[int, tuple[Params, float]] = {}

    def __len__(self) -> int:
        return len(self._observed)

    def learn(self, number: int, params: Params, seconds: float) -> None:
        """Record how long a trial took, or is expected to take; replaces what was recorded before."""
        if seconds > 0:
            self._observed[number] = params, math.log(seconds) - self._by_name(params)

    def estimator(self) -> Callable[[Params], float]:
        """Return a function that returns the natural logarithm of the expected seconds, up to a constant."""
        mean = sum(took for _, took in self._observed.values()) / max(1, len(self._observed))
        unexplained = {number: took - mean for number, (_, took) in self._observed.items()}
        factors: dict[_Value, float] = {}
        for name in self._names * _ROUNDS:
            trials: defaultdict[_Value, list[int]] = defaultdict(list)
            for number, (params, _) in self._observed.items():
                if name in params:
                    trials[_value(name, params)].append(number)
            for value, numbers in trials.items():
                before = factors.get(value, 0.0)
                factors[value] = sum(unexplained[number] + before for number in numbers) / (len(numbers) + _SHRINKAGE)
                for number in numbers:
                    unexplained[number] += before - factors[value]

        def expected(params: Params) -> float:
            values = (_value(name, params) for name in self._names if name in params)
            return self._by_name(params) + sum(factors.get(value, _UNSEEN) for value in values)

        return expected

    def _by_name(self, params: Params) -> float:
        found = 0.0
        for name, exponent in self._exponents.items():
            value = params.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
                found += exponent * math.log(value)
        return found


def _value(name: str, params: Params) -> _Value:
    return name, type(params[name]), params[name]  # with the type: True is equal to 1


class LongestFirst:
    """Choose among the trials of a grid that are left.

    Args:
        parameters: the space.
        point: returns the assignment with a number.
    """

    def __init__(self, parameters: Space, point: Callable[[int], Params]) -> None:
        self.durations = Durations(parameters)
        self._point = point
        self._left: dict[int, Params] | None = None
        self._order: list[int] = []
        self._learned = 0  # from this many trials when the order was made

    def choose(self, count: int, left: Callable[[], Iterable[int]]) -> int | None:
        """Return the number of the trial to start next; None if the order does not matter yet.

        Args:
            count: how many are left.
            left: returns them in ascending order; called once, when they are few enough.
        """
        if count > _WINDOW:
            return None
        if self._left is None:
            self._left = {number: self._point(number) for number in left()}
        known = len(self.durations)
        if not self._order or known >= max(1.25 * self._learned, self._learned + 1):
            self._learned, expected = known, self.durations.estimator()
            steps = {number: round(expected(params) / _STEP) for number, params in self._left.items()}
            self._order = sorted(self._left, key=lambda number: (-steps[number], number), reverse=True)
        chosen = self._order.pop()
        del self._left[chosen]
        return chosen

    def taken(self, number: int) -> None:
        """Note that a trial starts which was not chosen here."""
        if self._left is not None and self._left.pop(number, None) is not None and number in self._order:
            self._order.remove(number)
