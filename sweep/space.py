"""The search space: each parameter's domain, its grid points, and its Optuna distribution.

The space keeps the study file's order everywhere. A grid is a mixed-radix number: point `i` is decoded directly, so a
grid of any size costs nothing to plan (the last parameter turns fastest, as in itertools.product).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.trial import Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A parameter with one value."""

    value: Scalar


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A parameter that takes one of `values`."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number from `low` to `high`, both included; an int when both are ints.

    Attributes:
        step: distance of the allowed values from `low` on; None for every one.
        log: drawn on a logarithmic scale.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def integer(self) -> bool:
        """Tell whether the values are ints."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Domain = Constant | Choice | Range
Space = Mapping[str, Domain]


def swept(space: Space) -> list[str]:
    """Return the names of the parameters that are not constants, in order."""
    return [name for name, domain in space.items() if not isinstance(domain, Constant)]


def constants(space: Space) -> dict[str, Scalar]:
    """Return the constants by name, in order."""
    return {name: domain.value for name, domain in space.items() if isinstance(domain, Constant)}


def axis_size(domain: Domain) -> int | None:
    """Return the number of the domain's grid points, or None when there are infinitely many."""
    if isinstance(domain, Constant):
        return 1
    if isinstance(domain, Choice):
        return len(domain.values)
    if domain.integer:
        return int(domain.high - domain.low) // int(domain.step or 1) + 1
    if domain.step is None:
        return None
    return math.floor((domain.high - domain.low) / domain.step + 1e-9) + 1


def axis_value(domain: Domain, place: int) -> Scalar:
    """Return the domain's grid point at a place from 0 on."""
    if isinstance(domain, Constant):
        return domain.value
    if isinstance(domain, Choice):
        return domain.values[place]
    if domain.integer:
        return int(domain.low) + place * int(domain.step or 1)
    # 12 significant digits hide the dust of binary fractions: 0.1 + 2 * 0.1 is 0.3 here.
    return float(f"{domain.low + place * (domain.step or 0.0):.12g}")


def grid_size(space: Space) -> int:
    """Return the number of points of the grid.

    Raises:
        ValueError: a domain is not finite.
    """
    return math.prod(_finite_size(name, domain) for name, domain in space.items())


def grid_point(space: Space, index: int) -> dict[str, Scalar]:
    """Return the assignment at place `index` of the grid's order.

    Raises:
        IndexError: the grid has no such place.
        ValueError: a domain is not finite.
    """
    if not 0 <= index < grid_size(space):
        raise IndexError(f"the grid has {grid_size(space)} points, none at {index}")
    point: dict[str, Scalar] = {}
    for name, domain in reversed(list(space.items())):
        index, place = divmod(index, _finite_size(name, domain))
        point[name] = axis_value(domain, place)
    return {name: point[name] for name in space}


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the Optuna distributions of the swept parameters, in order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    result: dict[str, BaseDistribution] = {}
    for name, domain in space.items():
        if isinstance(domain, Choice):
            result[name] = CategoricalDistribution(domain.values)
        elif isinstance(domain, Range) and domain.integer:
            result[name] = IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
        elif isinstance(domain, Range):
            result[name] = FloatDistribution(float(domain.low), float(domain.high), log=domain.log, step=domain.step)
    return result


def _finite_size(name: str, domain: Domain) -> int:
    size = axis_size(domain)
    if size is None:
        raise ValueError(f"parameter {name!r} has infinitely many values: a grid needs `values` or a `step`")
    return size
