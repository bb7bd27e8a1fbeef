"""The search space: the domain of each parameter, its conditions and its grid points.

A space has the study file's order everywhere. A parameter with conditions comes after the parameters that it depends on, so that
one pass in this order is enough. A parameter that does not apply is absent from a trial's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from sweep.study.condition import Condition
from sweep.study.distribution import EDGE, PARAMETERS_OF, Distribution, middle_of, place_at, steps_from
from sweep.study.trial import Scalar, with_lists

# The name of a parameter that a study that goes on from another one's trials reserves: the number of the trial there.
PARENT = "parent"
# Values of a range are told apart by 12 significant digits; finer steps, relative to the largest value, are refused.
RESOLUTION = 1e-11


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A parameter with one value."""

    value: Scalar
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A parameter that takes one of `values`.

    Attributes:
        probabilities: how often each of them is drawn at random; None if all are equally likely.
    """

    values: tuple[Scalar, ...]
    probabilities: tuple[float, ...] | None = None
    when: tuple[Condition, ...] = ()

    def at(self, share: float) -> Scalar:
        """Return the value that a share in (0, 1) falls to; each value has its probability of the shares."""
        return self.values[place_at(self.probabilities or (), share)]

    def share_of(self, value: Scalar) -> float:
        """Return the middle of the shares that fall to a value."""
        place = place_of(self, value) or 0
        return min(max(middle_of(self.probabilities or (), place), EDGE), 1 - EDGE)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number from `low` to `high`, both included; an int if both are ints.

    Attributes:
        step: the distance between the allowed values, from `low` on; None if all values are allowed.
        log: drawn on a logarithmic scale.
        when: the parameter applies if all of these conditions hold.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False
    when: tuple[Condition, ...] = ()

    @property
    def integer(self) -> bool:
        """Return whether the values are ints."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def spacing(self) -> int | float | None:
        """Return the distance between the range's grid points, None if there are infinitely many."""
        return self.step or (1 if self.integer else None)


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """A parameter that has its value from the trial that a trial goes on from.

    Attributes:
        values: that trial's number, which is the value of the parameter `parent`, and the value, for each of them.
    """

    values: tuple[tuple[int, Scalar], ...]
    when: tuple[Condition, ...] = ()


Numbers = Range | Distribution  # what has a lowest and a highest value
Fixed = Constant | Inherited  # what is not chosen
Domain = Constant | Choice | Range | Distribution | Inherited
Space = Mapping[str, Domain]


def by_shares(domain: Domain) -> TypeGuard[Choice | Distribution]:
    """Return whether a sampler draws a share in (0, 1) of the domain in place of its value."""
    return isinstance(domain, Distribution) or (isinstance(domain, Choice) and domain.probabilities is not None)


def swept(space: Space) -> list[str]:
    """Return the names of the parameters whose values are chosen, in order."""
    return [name for name, domain in space.items() if not isinstance(domain, Fixed)]


def assignment(space: Space, choose: Callable[[str, Domain], Scalar]) -> dict[str, Scalar]:
    """Return a value for each parameter that applies, in order; `choose` returns the value of one that is not fixed."""
    params: dict[str, Scalar] = {}
    for name, domain in space.items():
        if all(condition.holds(params) for condition in domain.when):
            params[name] = fixed_value(domain, params) if isinstance(domain, Fixed) else choose(name, domain)
    return params


def fixed_value(domain: Constant | Inherited, params: Mapping[str, Scalar]) -> Scalar:
    """Return the value of a parameter that is not chosen; `params` are the earlier ones."""
    return domain.value if isinstance(domain, Constant) else next(own for it, own in domain.values if it == params[PARENT])


def conditional(space: Space) -> bool:
    """Return whether some parameter applies only to some trials."""
    return any(domain.when for domain in space.values())


def listed(domain: Constant | Choice | Inherited) -> tuple[Scalar, ...]:
    """Return the different values of a domain that lists them."""
    if isinstance(domain, Inherited):
        return tuple({repr(value): value for _, value in domain.values}.values())
    return domain.values if isinstance(domain, Choice) else (domain.value,)


def axis_size(domain: Domain) -> int | None:
    """Return the number of the domain's grid points, None if there are infinitely many."""
    if isinstance(domain, Fixed):
        return 1
    if isinstance(domain, Choice):
        return len(domain.values)
    if isinstance(domain, Distribution) or domain.spacing is None:
        return None
    length = domain.high - domain.low
    if domain.integer:
        return int(length // domain.spacing) + 1
    # The last point may be missed by the errors of floats, which matter where a step is small beside the values.
    error = 1e-9 + 4 * math.ulp(max(abs(domain.low), abs(domain.high))) / domain.spacing
    return math.floor(length / domain.spacing + error) + 1


def axis_value(domain: Domain, place: int) -> Scalar:
    """Return the domain's grid point at an index."""
    if isinstance(domain, Distribution):
        raise ValueError("a distribution has no grid points")
    if not isinstance(domain, Range):
        return listed(domain)[place]
    if domain.integer:
        return domain.low + place * int(domain.spacing or 0)
    return steps_from(domain.spacing or 0, place, domain.low)


def place_of(domain: Domain, value: Scalar) -> int | None:
    """Return the index of a value among the domain's grid points, None if it is not one of them; 1 does not equal 1.0 here."""
    if isinstance(domain, Range):
        if domain.spacing is None or not isinstance(value, int if domain.integer else float):
            return None
        beyond = value - domain.low
        # In whole numbers where possible: a float is exact up to 2**53 only.
        place = int(beyond // domain.spacing) if domain.integer else round(beyond / domain.spacing)
        inside = 0 <= place < (axis_size(domain) or 0)
        return place if inside and _same(axis_value(domain, place), value) else None
    if isinstance(domain, Distribution):
        return None
    return next((place for place, other in enumerate(_ends(domain)) if _same(other, value)), None)


def covers(domain: Domain, other: Domain) -> bool:
    """Return whether `domain` contains every value of `other`, with the same scale and conditions."""
    if domain.when != other.when:
        return False
    if isinstance(other, Distribution | Inherited):
        return domain == other
    if not isinstance(other, Range):
        return all(_holds(domain, value) for value in _ends(other))
    if not isinstance(domain, Range) or (domain.integer, domain.log) != (other.integer, other.log):
        return False
    every = domain.spacing is None or (domain.integer and domain.spacing == 1)
    same_steps = domain.spacing == other.spacing and place_of(domain, other.low) is not None
    return domain.low <= other.low and other.high <= domain.high and (every or same_steps)


def within(inner: Domain, outer: Choice | Range) -> bool:
    """Return whether `outer` contains every value of `inner`, whatever scale and conditions; a whole number may be a float."""
    if not isinstance(inner, Range):
        return all(any(can_be(outer, equal) for equal in _equals(value)) for value in _ends(inner))
    if isinstance(outer, Range) and inner.integer and not outer.integer:
        inner = replace(inner, low=float(inner.low), high=float(inner.high), step=float(inner.spacing or 1))
    return isinstance(outer, Range) and covers(replace(outer, log=inner.log, when=inner.when), inner)


def can_be(domain: Domain, value: Scalar) -> bool:
    """Return whether a domain contains a value; a range of floats also accepts whole numbers."""
    if isinstance(domain, Numbers) and not domain.integer and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return _holds(domain, value)


def domain_keys(domain: Domain) -> dict[str, object]:
    """Return a domain as plain data for the study file."""
    keys: dict[str, object]
    match domain:
        case Constant(value=value):
            keys = {"value": with_lists(value)}
        case Inherited(values=pairs):
            keys = {"inherited": with_lists(pairs)}
        case Choice(values=values, probabilities=probabilities):
            keys = {"values": with_lists(values), **({"probabilities": list(probabilities)} if probabilities else {})}
        case Range(low=low, high=high, step=step, log=log):
            keys = {"min": low, "max": high, **({} if step is None else {"step": step}), **({"log": log} if log else {})}
        case Distribution(kind=kind, first=first, second=second, multiple=multiple):
            if kind in PARAMETERS_OF:
                keys = {"distribution": kind, **dict(zip(PARAMETERS_OF[kind], (first, second), strict=True))}
            else:
                keys = {"min": first, "max": second, **({"log": True} if kind == "log_uniform" else {})}
            keys |= {} if multiple is None else {"round": multiple}
    return keys | ({"when": {one.parent: with_lists(one.values) for one in domain.when}} if domain.when else {})


def domain_text(domain: Domain) -> str:
    """Return a domain as text, in the form of the study file."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in domain_keys(domain).items()) + "}"


def united(spaces: Sequence[Space]) -> dict[str, Domain]:
    """Return the last space, with every value that its constants have had."""
    result = dict(spaces[-1])
    for name, domain in spaces[-1].items():
        had = [space[name] for space in spaces if name in space]
        values = {repr(item.value): item.value for item in had if isinstance(item, Constant)}
        if isinstance(domain, Constant) and len(values) > 1:
            result[name] = Choice(values=tuple(values.values()), when=domain.when)
    return result


def side_by_side_space(spaces: Sequence[Space]) -> dict[str, Domain | None]:
    """Return every parameter of several spaces with every value that it can have in any of them.

    Ranges and numbers become one range over all of them. No domain contains both a range and a word: None.
    """
    result: dict[str, Domain | None] = {}
    for name in dict.fromkeys(name for space in spaces for name in space):
        domains = [space[name] for space in spaces if name in space]
        if any(isinstance(domain, Numbers) for domain in domains):
            ends = [end for domain in domains for end in _ends(domain)]
            numbers = [end for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
            result[name] = Range(low=min(numbers), high=max(numbers)) if len(numbers) == len(ends) else None
            continue
        values = {repr(value): value for domain in domains for value in _ends(domain)}
        result[name] = Choice(values=tuple(values.values())) if len(values) > 1 else domains[0]
    return result


def _holds(domain: Domain, value: Scalar) -> bool:
    if isinstance(domain, Distribution):
        if not isinstance(value, int if domain.integer else float) or isinstance(value, bool) or value is None:
            return False
        multiple = domain.multiple
        whole = multiple is None or steps_from(multiple, round(value / multiple)) == value
        return domain.low <= value <= domain.high and whole
    if isinstance(domain, Range) and domain.spacing is None:
        return isinstance(value, float) and domain.low <= value <= domain.high
    return place_of(domain, value) is not None


def _equals(value: Scalar) -> tuple[Scalar, ...]:
    """Return a value and, for a whole number, that which is equal and of the other type of numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        return (value,)
    return int(value), float(value)


def _ends(domain: Domain) -> tuple[Scalar, ...]:
    """Return the values of a domain that lists them, or the ends of a range or distribution."""
    return (domain.low, domain.high) if isinstance(domain, Numbers) else listed(domain)


def _same(one: Scalar, other: Scalar) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other
