"""The grid: the number of each assignment, also after the grid was extended.

The number of a point is a mixed-radix number and is decoded directly, so planning a grid takes the same time for any size. The
last parameter varies fastest, as in itertools.product. If a grid is extended, the points of the earlier grid keep their numbers,
and the new points follow in the order of the whole grid. The number of new points before an index of an axis is a difference of
two products, so new points are decoded directly, too, by bisection. With conditions the grid is a tree: the number of points in
a branch depends on the parameters that apply in it, and a parameter that does not apply counts as one point.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweep.study.space import Domain, Fixed, Range, Space, assignment, axis_size, axis_value, conditional, place_of
from sweep.study.trial import Params, Scalar

_MOST_BRANCHES = 30_000


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The numbered points of a grid.

    Attributes:
        spaces: the spaces of the study's grids, each a superset of the one before; the last is the current one.
    """

    spaces: Sequence[Space]

    @functools.cached_property
    def size(self) -> int:
        """Return the number of points.

        Raises:
            ValueError: a domain is infinite, or the conditions are too many to count.
        """
        return self._tree.size if self._tree is not None else self._sizes[-1]

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [math.prod(_finite_size(name, domain) for name, domain in space.items()) for space in self.spaces]

    @functools.cached_property
    def _tree(self) -> _Tree | None:
        today = self.spaces[-1]
        return _Tree(today) if conditional(today) else None  # earlier spaces differ only in constants then

    def point(self, number: int) -> dict[str, Scalar]:
        """Return the assignment with a number; constants have their current values.

        Raises:
            IndexError: the grid has no such point.
            ValueError: a domain is infinite.
        """
        if not 0 <= number < self.size:
            raise IndexError(f"the grid has {self.size} points, none at {number}")
        if self._tree is not None:
            chosen = self._tree.point(number)
        else:
            place = bisect.bisect_right(self._sizes, number)
            earlier, before = (self.spaces[place - 1], self._sizes[place - 1]) if place else ({}, 0)
            chosen = _point(self.spaces[place], earlier, number - before)
        return assignment(self.spaces[-1], lambda name, _: chosen[name])

    def find(self, values: Params) -> int | None:
        """Return the number of the first point with these values, None if there is none; constants are ignored.

        Only for a grid without conditions. The search is in the study's first grid, whose numbers stay the same.
        """
        number = 0
        for name, domain in self.spaces[0].items():
            place = 0 if name not in values or isinstance(domain, Fixed) else place_of(domain, values[name])
            if place is None:
                return None
            number = number * _finite_size(name, domain) + place
        return number


def _point(space: Space, earlier: Space, number: int) -> dict[str, Scalar]:
    """Return a point by its index among those points of `space` that are not in `earlier`, in the order of `space`."""
    sizes = {name: _finite_size(name, domain) for name, domain in space.items()}
    old = {name: _old_places(domain, earlier.get(name)) for name, domain in space.items()}
    rest = math.prod(sizes.values())
    old_rest = math.prod(map(len, old.values())) if earlier else 0  # 0 once a value is not in the earlier grid
    found: dict[str, Scalar] = {}
    for name, domain in space.items():
        rest //= sizes[name]
        old_rest //= len(old[name])
        if old_rest:
            new_before = functools.partial(_new_before, rest, old_rest, old[name])
            place = bisect.bisect_right(range(sizes[name]), number, key=new_before) - 1
            number -= new_before(place)
            old_rest *= place in old[name]
        else:
            place, number = divmod(number, rest)
        found[name] = axis_value(domain, place)
    return found


def _new_before(rest: int, old_rest: int, old: Sequence[int], place: int) -> int:
    return place * rest - bisect.bisect_left(old, place) * old_rest


def _old_places(domain: Domain, earlier: Domain | None) -> Sequence[int]:
    """Return the indices of the earlier grid's values on an axis, in order; a constant keeps its index, whatever its value."""
    if earlier is None or isinstance(domain, Fixed):
        return range(1)
    count = axis_size(earlier) or 0
    places = (place for at in range(count) if (place := place_of(domain, axis_value(earlier, at))) is not None)
    if isinstance(domain, Range) and isinstance(earlier, Range):
        first, stride = next(places), round((earlier.step or 1) / (domain.step or 1))
        return range(first, first + stride * count, stride)
    return sorted(places)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Neighbours on an axis that make the same later parameters apply: their number, and the index of the first."""

    first: int
    count: int


class _Tree:
    """The points of a space with conditions.

    A branch is identified by the later parameters that do not apply in it: equal branches have equally many points.

    Raises:
        ValueError: a domain is infinite, or there are too many different branches to count.
    """

    def __init__(self, space: Space) -> None:
        self._items = [(name, domain, _finite_size(name, domain)) for name, domain in space.items()]
        # For each parameter: those that depend on it, with the condition.
        self._dependent = {
            name: [(later, c) for later, domain in space.items() for c in domain.when if c.parent == name] for name in space
        }
        self._runs = [self._runs_of(name, domain, size) for name, domain, size in self._items]
        branches: list[set[frozenset[str]]] = [{frozenset()}]
        known = 0
        for place in range(len(self._items)):
            branches.append({below for absent in branches[-1] for _, below in self._steps(place, absent)})
            known += len(branches[-1])
            if known > _MOST_BRANCHES:
                raise ValueError("its conditions (when) have too many combinations to be counted")
        # The number of points from a parameter on, in each branch.
        self._counts: list[dict[frozenset[str], int]] = [{} for _ in self._items] + [dict.fromkeys(branches[-1], 1)]
        for place in reversed(range(len(self._items))):
            below = self._counts[place + 1]
            for absent in branches[place]:
                self._counts[place][absent] = sum(run.count * below[then] for run, then in self._steps(place, absent))

    @property
    def size(self) -> int:
        """Return the number of points."""
        return self._counts[0][frozenset()]

    def point(self, number: int) -> dict[str, Scalar]:
        """Return the assignment with a number."""
        found: dict[str, Scalar] = {}
        absent: frozenset[str] = frozenset()
        for place, (name, domain, _) in enumerate(self._items):
            applies = name not in absent
            for run, below in self._steps(place, absent):
                each = self._counts[place + 1][below]
                if number < run.count * each:
                    break
                number -= run.count * each
            beyond, number = divmod(number, each)
            if applies:
                found[name] = axis_value(domain, run.first + beyond)
            absent = below
        return found

    def _runs_of(self, name: str, domain: Domain, size: int) -> list[_Run]:
        """Return the runs of an axis, of which a condition can only single out the values that it lists."""
        conditions = [condition for _, condition in self._dependent[name]]
        if not isinstance(domain, Range):
            return [_Run(first=place, count=1) for place in range(size)] if conditions else [_Run(first=0, count=size)]
        kind = int if domain.integer else float
        listed = {value for c in conditions for value in c.values if isinstance(value, int | float) and kind(value) == value}
        single = sorted({place for value in listed if (place := place_of(domain, kind(value))) is not None})
        runs, begin = [], 0
        for place in [*single, size]:
            if place > begin:
                runs.append(_Run(first=begin, count=place - begin))
            if place < size:
                runs.append(_Run(first=place, count=1))
            begin = place + 1
        return runs

    def _steps(self, place: int, absent: frozenset[str]) -> Iterator[tuple[_Run, frozenset[str]]]:
        """Yield each run of an axis with what does not apply after it; one for a parameter that does not apply itself."""
        name, domain, _ = self._items[place]
        dependent = self._dependent[name]
        if name in absent:
            yield _Run(first=0, count=1), absent - {name} | {later for later, _ in dependent}
            return
        for run in self._runs[place]:
            value = axis_value(domain, run.first)
            yield run, absent | {later for later, c in dependent if not c.accepts(value)}


def _finite_size(name: str, domain: Domain) -> int:
    size = axis_size(domain)
    if size is None:
        raise ValueError(f"parameter {name!r} has infinitely many values: a grid needs `values` or a `step`")
    return size
