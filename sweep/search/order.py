"""Which trials of a grid take long, learned from those that ran, so that the last slot does not wait.

Started in the file's order, a grid may end with its longest trial alone on one slot while the others are idle. Longest first
ends at most a third later than the best of all orders (R. L. Graham: Bounds on multiprocessing timing anomalies, SIAM J. Appl.
Math. 17, 1969), so what counts is to know which are long. Seconds are taken as a product of one factor for each value of each
parameter: batch size, epochs and the like multiply. The factors are fitted to the logarithms, and drawn towards what is
known before anything ran: twice the epochs take twice as long, and smaller batches longer. A trial tells
after its first report, in proportion to its steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from sweep.study.space import Constant, Space
from sweep.study.trial import Params, Scalar

# How the logarithm of the seconds grows with the logarithm of a value, by the parameter's name.
_KNOWN_BEFORE = (
    (re.compile(r"(^|[._])(max_|num_|n_)?(epochs?|steps|iterations|samples)$"), 1.0),
    (re.compile(r"(^|[._])(train_)?(batch_?size|bs)$"), -0.5),
)
_SHRINKAGE = 0.5  # as if each factor had been seen so often to be 1
_CURIOSITY = math.log(2)  # a value that no trial has told of yet may be the long one: it is tried before it is too late
_SWEEPS = 8  # of Gauss-Seidel; the fit is needed to a tenth
_OBSERVED = 300  # the latest trials are enough to know by
_WINDOW = 1_000  # so many trials before the end the order begins to matter
_STEP = math.log(1.1)  # trials closer together than this are started in the file's order


class Costs:
    """The expected seconds of a trial, by its parameters.

    Args:
        parameters: the space.
    """

    def __init__(self, parameters: Space) -> None:
        self._slopes: dict[str, float] = {}
        self._names = [name for name, domain in parameters.items() if not isinstance(domain, Constant)]
        for pattern, slope in _KNOWN_BEFORE:
            self._slopes |= {name: slope for name in self._names if pattern.search(name.lower())}
        self._observed: dict[int, tuple[Params, float]] = {}
        self._factors: dict[tuple[str, Scalar], float] = {}
        self._mean = 0.0
        self._fitted = 0

    def learn(self, number: int, params: Params, seconds: float) -> None:
        """Take note of what a trial took, or will take as far as can be told; what it said before is forgotten."""
        if seconds > 0:
            self._observed.pop(number, None)
            self._observed[number] = params, math.log(seconds)

    def fit(self) -> bool:
        """Fit to what was learned; tell whether anything has changed. Only done when there is a quarter more to learn from."""
        if len(self._observed) < max(self._fitted * 1.25, self._fitted + 1):
            return False
        self._fitted = len(self._observed)
        seen = [(self._keys(params), took - self._prior(params)) for params, took in list(self._observed.values())[-_OBSERVED:]]
        with_key: dict[tuple[str, Scalar], list[int]] = {}
        for place, (keys, _) in enumerate(seen):
            for key in keys:
                with_key.setdefault(key, []).append(place)
        self._mean = sum(took for _, took in seen) / len(seen)
        self._factors = dict.fromkeys(with_key, 0.0)
        left = [took - self._mean for _, took in seen]
        for _ in range(_SWEEPS):
            for key, places in with_key.items():
                before = self._factors[key]
                after = sum(left[place] + before for place in places) / (len(places) + _SHRINKAGE)
                self._factors[key] = after
                for place in places:
                    left[place] += before - after
        return True

    def expected(self, params: Params) -> float:
        """Return the natural logarithm of the expected seconds; before anything was learned, up to a constant."""
        return self._mean + self._prior(params) + sum(self._factors.get(key, _CURIOSITY) for key in self._keys(params))

    def _keys(self, params: Params) -> list[tuple[str, Scalar]]:
        # With the type: True is 1 to a dict.
        return [(f"{name}:{type(params[name]).__name__}", params[name]) for name in self._names if name in params]

    def _prior(self, params: Params) -> float:
        found = 0.0
        for name, slope in self._slopes.items():
            value = params.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
                found += slope * math.log(value)
        return found


class LongestFirst:
    """The trials of a grid that are left, the longest first as far as can be told.

    Args:
        parameters: the space.
        point: returns the assignment with a number.
    """

    def __init__(self, parameters: Space, point: Callable[[int], Params]) -> None:
        self.costs = Costs(parameters)
        self._point = point
        self._left: dict[int, Params] | None = None
        self._order: list[int] = []

    def choose(self, count: int, left: Callable[[], Iterable[int]]) -> int | None:
        """Return the number of the trial to start next, None if the first one is as good as any.

        Args:
            count: how many are left.
            left: returns them, in ascending order; called when they have become few enough to be looked at.
        """
        if count > _WINDOW:
            return None
        learned = self.costs.fit()
        if self._left is None:
            self._left = {number: self._point(number) for number in left()}
        if learned or not self._order:
            steps = {number: round(self.costs.expected(params) / _STEP) for number, params in self._left.items()}
            self._order = sorted(self._left, key=lambda number: (-steps[number], number), reverse=True)
        chosen = self._order.pop()
        del self._left[chosen]
        return chosen
