"""Exact builtin values from what users give: taken where the value is plain, refused with a message where it is not."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweep.study import plain


class Level(enum.IntEnum):
    """A whole number with a name."""

    THIRD = 3


class Celsius(float):
    """A number with a unit."""


class Tag(str):
    """A text that shows something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Hostile(RuntimeError):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Odd(RuntimeError):
    """An error whose text is of a class of its own."""

    def __str__(self) -> str:
        return Tag("odd")


@pytest.mark.parametrize("value", [3, numpy.int64(3), numpy.uint8(3), torch.tensor(3), torch.tensor([3]), Level.THIRD])
def test_a_whole_number_of_any_type_becomes_an_int(value: Any) -> None:
    """Nothing of its class is left."""
    found = plain.whole_number(value, "a step")
    assert type(found) is int
    assert found == 3


@pytest.mark.parametrize("value", [True, numpy.True_, torch.tensor(True), 3.0, "3", None, torch.tensor([1, 2]), 1j, object()])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    """Also what Python would take for one: a bool."""
    with pytest.raises(TypeError, match="a step must be a whole number, got "):
        plain.whole_number(value, "a step")


@given(st.integers())
def test_a_whole_number_has_at_most_64_bits(value: int) -> None:
    """More fit neither an event file nor the database."""
    if -(2**63) <= value < 2**63:
        assert plain.whole_number(value, "a step") == value
    else:
        with pytest.raises(ValueError, match="at most 64 bits"):
            plain.whole_number(value, "a step")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (numpy.float32(0.5), 0.5),
        (numpy.float64(0.5), 0.5),
        (numpy.longdouble(0.5), 0.5),
        (numpy.int8(-1), -1),
        (numpy.array([0.5]), 0.5),
        (numpy.ma.array([0.5]), 0.5),
        (numpy.ma.array([0.5], mask=[False]), 0.5),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (Celsius(0.5), 0.5),
        (Level.THIRD, 3),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 2), 0.5),
        (2**70, float(2**70)),
        (math.inf, math.inf),
    ],
)
def test_a_number_of_any_type_becomes_a_float_or_an_int(value: Any, number: float) -> None:
    """Whole numbers stay whole while they fit 64 bits."""
    found = plain.number(value, "metric 'm'")
    assert type(found) is type(number)
    assert found == number


NONE: list[Any] = [True, numpy.True_, torch.tensor(True), "0.5", numpy.str_("0.5"), b"1", None, 1j, numpy.complex64(1), [1.0]]
NONE += [torch.tensor([1.0, 2.0]), numpy.array(["a"]), torch.empty((), device="meta"), numpy.datetime64("2020"), object()]
NONE += [numpy.ma.masked, numpy.ma.array([0.5], mask=True)]


@pytest.mark.parametrize("value", NONE, ids=lambda value: type(value).__name__)  # no addresses: they differ in each process
def test_what_is_no_number_is_refused(value: Any) -> None:
    """With its type in the message."""
    with pytest.raises(TypeError, match=f"metric 'm' must be a number, got {type(value).__name__}"):
        plain.number(value, "metric 'm'")


@pytest.mark.parametrize("value", [10**400, -(10**400), fractions.Fraction(10**400)])
def test_what_is_too_large_for_a_float_is_refused(value: Any) -> None:
    """It is no error of the type."""
    with pytest.raises(ValueError, match="too large for a float"):
        plain.number(value, "metric 'm'")


@given(st.floats() | st.integers(-(2**63) + 1, 2**63 - 1))
def test_an_exact_number_stays_as_it_is(value: float) -> None:
    """The same object."""
    assert plain.number(value, "metric 'm'") is value


@pytest.mark.parametrize(
    "value", ["loss", "a/b c", "Verlust ä 損失", "a\u3000b", "\N{MAN}\u200d\N{WOMAN}", Tag("loss"), numpy.str_("loss")]
)
def test_a_name_becomes_a_str(value: str) -> None:
    """Of a subclass the text itself counts, not what it shows."""
    found = plain.name(value, "a tag")
    assert type(found) is str
    assert found == str.__str__(value)


NO_NAMES: list[tuple[Any, type[Exception]]] = [(1, TypeError), (None, TypeError), (b"loss", TypeError)]
NO_NAMES += [(text, ValueError) for text in ("", "a\n", "\x1b[31m", "\u2028", "\udc80", "\0", "x" * 501)]


@pytest.mark.parametrize(("value", "error"), NO_NAMES)
def test_what_is_no_name_is_refused(value: Any, error: type[Exception]) -> None:
    """It could not be encoded, or would break a terminal's line."""
    with pytest.raises(error, match="a tag"):
        plain.name(value, "a tag")


@pytest.mark.parametrize("show", [plain.text, plain.traceback_text, plain.shown])
@pytest.mark.parametrize(
    "error", [Hostile("x"), Odd("x"), RuntimeError("x" * 10**7), RuntimeError("\udc80"), KeyError(Hostile())]
)
def test_the_text_of_any_error_is_a_str_that_is_not_too_long(show: Callable[[Any], str], error: BaseException) -> None:
    """Whatever its class does."""
    found = show(error)
    assert type(found) is str
    assert 0 < len(found) < 200_000
