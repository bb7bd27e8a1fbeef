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
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.study.space import Choice, Constant, Domain, Range, Space, axis_size, axis_step, axis_value, conditional, place_of
from sweep.study.trial import Params, Scalar


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
            ValueError: a domain is infinite.
        """
        return self._sizes[-1]

    @functools.cached_property
    def _sizes(self) -> list[int]:
        if self._tree is not None:
            return [self._tree.count(0, frozenset())]
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
        today, before = self.spaces[-1], 0
        if self._tree is not None:
            return self._tree.point(number)
        for place, (space, size) in enumerate(zip(self.spaces, self._sizes, strict=True)):
            if number < size:
                found = _point(space, self.spaces[place - 1] if place else None, number - before)
                return {name: domain.value if isinstance(domain, Constant) else found[name] for name, domain in today.items()}
            before = size
        raise AssertionError("the last grid is the largest")

    def find(self, values: Params) -> int | None:
        """Return the number of the first point with these values, None if there is none; constants are ignored.

        Only for a grid without conditions. The search is in the study's first grid, whose numbers stay the same.
        """
        number = 0
        for name, domain in self.spaces[0].items():
            place: int | None = 0
            if name in values and not isinstance(domain, Constant):
                place = place_of(domain, values[name])
            if place is None:
                return None
            number = number * _finite_size(name, domain) + place
        return number


def _point(space: Space, earlier: Space | None, number: int) -> dict[str, Scalar]:
    """Return a point by its index among those points of `space` that are not in `earlier`, in the order of `space`."""
    sizes = {name: _finite_size(name, domain) for name, domain in space.items()}
    old = {name: _OldPlaces(domain, earlier.get(name) if earlier is not None else None) for name, domain in space.items()}
    rest, old_rest = math.prod(sizes.values()), math.prod(places.size for places in old.values()) if earlier is not None else 0
    inside = earlier is not None  # whether every value so far is in the earlier grid
    found: dict[str, Scalar] = {}
    for name, domain in space.items():
        rest //= sizes[name]
        if inside:
            old_rest //= old[name].size

            def new_before(place: int, rest: int = rest, old_rest: int = old_rest, places: _OldPlaces = old[name]) -> int:
                return place * rest - places.before(place) * old_rest

            place = bisect.bisect_right(range(sizes[name]), number, key=new_before) - 1
            number -= new_before(place)
            inside = old[name].holds(place)
        else:
            place, number = divmod(number, rest)
        found[name] = axis_value(domain, place)
    return found


class _Tree:
    """The points of a space with conditions.

    A branch is identified by the fulfilled conditions of later parameters: equal branches have equally many points.
    """

    def __init__(self, space: Space) -> None:
        self._items = list(space.items())
        self._sizes = [_finite_size(name, domain) for name, domain in self._items]
        # For each index: the conditions of later parameters on that parameter, as (index of the later parameter, condition).
        self._asks = [
            [(later, c) for later, (_, domain) in enumerate(self._items) for c in domain.when if c.parent == name]
            for name, _ in self._items
        ]
        self._counts: dict[tuple[int, frozenset[tuple[int, str]]], int] = {}

    def count(self, place: int, fulfilled: frozenset[tuple[int, str]]) -> int:
        """Return the number of points from an index on, given the fulfilled conditions: index and parent of each."""
        if place == len(self._items):
            return 1
        key = place, frozenset(item for item in fulfilled if item[0] >= place)
        if key not in self._counts:
            if not self._applies(place, fulfilled):
                self._counts[key] = self.count(place + 1, fulfilled)
            elif not self._asks[place]:
                self._counts[key] = self._sizes[place] * self.count(place + 1, fulfilled)
            else:
                branches = (self._below(place, axis, fulfilled) for axis in range(self._sizes[place]))
                self._counts[key] = sum(self.count(place + 1, branch) for branch in branches)
        return self._counts[key]

    def point(self, number: int) -> dict[str, Scalar]:
        """Return the assignment with a number."""
        found: dict[str, Scalar] = {}
        fulfilled: frozenset[tuple[int, str]] = frozenset()
        for place, (name, domain) in enumerate(self._items):
            if not self._applies(place, fulfilled):
                continue
            if self._asks[place]:
                axis = 0
                while number >= (size := self.count(place + 1, self._below(place, axis, fulfilled))):
                    number -= size
                    axis += 1
            else:
                axis, number = divmod(number, self.count(place + 1, fulfilled))
            found[name] = axis_value(domain, axis)
            fulfilled = self._below(place, axis, fulfilled)
        return found

    def _applies(self, place: int, fulfilled: frozenset[tuple[int, str]]) -> bool:
        return all((place, condition.parent) in fulfilled for condition in self._items[place][1].when)

    def _below(self, place: int, axis: int, fulfilled: frozenset[tuple[int, str]]) -> frozenset[tuple[int, str]]:
        value = axis_value(self._items[place][1], axis) if self._asks[place] else None
        return fulfilled | {(later, condition.parent) for later, condition in self._asks[place] if condition.accepts(value)}


class _OldPlaces:
    """The indices of the earlier grid's values on an axis; a constant keeps its index, whatever its value."""

    def __init__(self, domain: Domain, earlier: Domain | None) -> None:
        if earlier is None or isinstance(domain, Constant):
            self._places: Sequence[int] = range(1)
        elif isinstance(domain, Range) and isinstance(earlier, Range):
            first = place_of(domain, axis_value(earlier, 0))
            assert first is not None, "the earlier range is within today's"
            stride = round((axis_step(earlier) or 1) / (axis_step(domain) or 1))
            self._places = range(first, first + stride * (axis_size(earlier) or 0), stride)
        else:
            values = earlier.values if isinstance(earlier, Choice) else _values(earlier)
            found = [place_of(domain, value) for value in values]
            self._places = sorted(place for place in found if place is not None)

    @property
    def size(self) -> int:
        return len(self._places)

    def before(self, place: int) -> int:
        return bisect.bisect_left(self._places, place)

    def holds(self, place: int) -> bool:
        count = self.before(place)
        return count < len(self._places) and self._places[count] == place


def _values(domain: Domain) -> list[Scalar]:
    return [axis_value(domain, place) for place in range(axis_size(domain) or 0)]


def _finite_size(name: str, domain: Domain) -> int:
    size = axis_size(domain)
    if size is None:
        raise ValueError(f"parameter {name!r} has infinitely many values: a grid needs `values` or a `step`")
    return size
