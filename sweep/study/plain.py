"""Exact builtin values from what users give: steps, metrics, names, texts of errors. The one place where these are checked.

NumPy's numbers, tensors without dimensions, enums and other subclasses are taken where their value is plain, and become `int`,
`float` or `str` itself: what is sent, stored or written to a checkpoint must be readable without the user's classes. This module
imports nothing heavy.
"""

from __future__ import annotations

import json
import operator
import traceback
import unicodedata
from typing import Any

# What TensorBoard's records and SQLite hold.
LARGEST = 2**63 - 1
_LONGEST_NAME = 500
_NOT_SHOWN = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls, halves of characters that no file can hold, ends of lines
_LONGEST_SHOWN = 200
_LONGEST_TEXT = 20_000


def whole_number(value: Any, what: str) -> int:
    """Return an integer of any type as an `int`.

    Args:
        value: an `int`, a NumPy integer, a tensor with one integer, an `IntEnum`.
        what: names the value in errors.

    Raises:
        TypeError: it is something else; a bool is, too.
        ValueError: it has more than 64 bits.
    """
    number: int | None = value
    if type(value) is not int:
        try:
            number = None if _no_number(value) else int(operator.index(value))
        except (TypeError, ValueError):
            number = None
    if number is None:
        raise TypeError(f"{what} must be a whole number, got {_kind(value)}: {shown(value)}")
    if not fits(number):
        raise ValueError(f"{what} must be a whole number of at most 64 bits, got {shown(number)}")
    return number


def fits(number: int) -> bool:
    """Return whether a whole number has at most 64 bits, as in TensorBoard's records and the database's columns."""
    return -LARGEST - 1 <= number <= LARGEST


def step_or_none(value: Any) -> int | None:
    """Return the step of a point as `whole_number` does, None if it has none."""
    return None if value is None else whole_number(value, "a step")


def number(value: Any, what: str) -> float:
    """Return a number of any type as a `float`, or an `int` if it is whole; it may be NaN or infinite.

    Args:
        value: anything with `item()` or `__float__`: NumPy's numbers, tensors with one element, `Decimal`, `Fraction`.
        what: names the value in errors.

    Raises:
        TypeError: it is something else; a bool, a text and a complex number are, too.
        ValueError: it is too large for a float.
    """
    if type(value) is float or (type(value) is int and -LARGEST <= value <= LARGEST):
        return value
    item = value
    if hasattr(type(value), "item") and not _no_number(value):
        item = value.item()  # what a device raises here is no error of the type
    try:
        if _no_number(item):
            raise TypeError
        if hasattr(type(item), "__index__"):
            whole = int(operator.index(item))
            return whole if -LARGEST <= whole <= LARGEST else float(whole)
        return float.__float__(item) if isinstance(item, float) else float(item)
    except OverflowError:
        raise ValueError(f"{what} is too large for a float") from None
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, got {_kind(value)}: {shown(value)}") from None


def name(value: Any, what: str) -> str:
    """Return a name that TensorBoard, the database and a terminal can show, as a `str`.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, too long, or has characters that cannot be shown or encoded.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, got {_kind(value)}: {shown(value)}")
    found = str.__str__(value)
    if not found:
        raise ValueError(f"{what} must not be empty")
    if len(found) > _LONGEST_NAME:
        raise ValueError(f"{what} must have at most {_LONGEST_NAME} characters, got {len(found)}: {found[:40]}...")
    if not found.isprintable() and any(unicodedata.category(character) in _NOT_SHOWN for character in found):
        raise ValueError(f"{what} has characters that cannot be shown: {shown(found)}")
    return found


def is_name(value: Any) -> bool:
    """Return whether `name` accepts it."""
    try:
        name(value, "")
    except (TypeError, ValueError):
        return False
    return True


def jsonable(value: Any) -> Any:
    """Return a value as plain data that JSON can hold; an array or tensor is a list, and what is no finite number a text.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """

    def listed(item: Any) -> Any:
        if hasattr(type(item), "tolist"):
            return item.tolist()
        raise TypeError(f"JSON cannot hold a {_kind(item)}: {shown(item)}")

    return json.loads(json.dumps(value, default=listed), parse_constant=str)


def exact_text(value: object) -> str:
    """Return a text of any type as a `str`, and what `str` returns of anything else."""
    return str.__str__(value if isinstance(value, str) else str(value))


def text(value: object) -> str:
    """Return what `str` returns of an error or anything else, as a `str` that is not too long; whatever its class does."""
    try:
        found = str.__str__(str(value))
    except Exception:  # the user's own __str__
        found = f"({_kind(value)}, whose text cannot be shown)"
    return _cut(found, _LONGEST_TEXT)


def traceback_text(error: BaseException) -> str:
    """Return the traceback of an error as text that is not too long; whatever its class does."""
    try:
        found = "".join(map(str.__str__, traceback.format_exception(error)))
    except Exception:  # the user's own class
        found = "".join(traceback.format_tb(error.__traceback__)) + f"{_kind(error)}: {text(error)}"
    return _cut(found.rstrip(), _LONGEST_TEXT)


def shown(value: object) -> str:
    """Return a short `repr` of any value, for an error; whatever its class does."""
    try:
        found = str.__str__(repr(value))
    except Exception:  # the user's own __repr__; an int of thousands of digits
        found = "..."
    return _cut(found, _LONGEST_SHOWN)


def _cut(found: str, longest: int) -> str:
    return found if len(found) <= longest else f"{found[: longest // 2]} ... {found[-longest // 2 :]}"


def _kind(value: object) -> str:
    return str.__str__(type(value).__name__)


def _no_number(value: Any) -> bool:
    """Return whether a value is none though Python, NumPy or torch would make one of it."""
    if isinstance(value, (bool, str, bytes, bytearray)):
        return True
    kind = getattr(value, "dtype", None)
    if kind is None:
        return False
    count = getattr(value, "size", 1)
    mask = getattr(value, "mask", False)  # NumPy reads a masked value as 0
    if (value.numel() if callable(count) else count) != 1 or (not callable(mask) and bool(mask)):
        return True
    return getattr(value, "is_meta", False) or any(word in str(kind) for word in ("bool", "time", "complex"))
