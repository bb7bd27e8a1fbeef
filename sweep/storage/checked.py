"""Check what a damaged or foreign database says of a run before anything computes with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sweep.study.plain import LARGEST, fits
from sweep.study.record import TrialRecord
from sweep.study.space import PARENT, Numbers
from sweep.study.spec import StudySpec

_WHOLE = ("number", "repeat", "attempts", "total")
_TEXTS = ("folder", "error", "cause", "device", "code")
_TIMES = ("started", "ended")
_MISSING_ALLOWED = frozenset(("step", "total", "error", "cause", "device", "code", "started", "ended", "value", "duration_s"))


def record_in(text: str) -> TrialRecord:
    """Return the record that is stored as this JSON.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: it is none; the message says what is wrong with it.
    """
    record = TrialRecord.from_json(json.loads(text))
    for name in _WHOLE:
        _check(name, getattr(record, name), _is_whole)
    for name in _TEXTS:
        _check(name, getattr(record, name), _is_text)
    for name in _TIMES:
        _check(name, getattr(record, name), _is_time)
    _check("step", record.step, _is_integer)
    _check("value", record.value, _is_number)
    _check("duration_s", record.duration_s, _is_duration)
    if type(record.seed) is not int:
        raise ValueError(f"seed is {_text(record.seed)}")
    _check_mapping("metrics", record.metrics, _is_number)
    _check_mapping("params", record.params, _is_scalar)
    _check_mapping("user_attrs", record.user_attrs, lambda _: True)
    for span in record.spans:
        if not (
            _is_whole(span.slot) and _is_time(span.started) and _is_time(span.ended) and (span.how is None or _is_text(span.how))
        ):
            raise ValueError(f"spans has {_text(span)}")
    return record


def check_params(record: TrialRecord, study: StudySpec) -> None:
    """Check that a run's parameters could be those of a study, as far as anything computes with them.

    Raises:
        ValueError: one is no number where the study has a range, or is missing; or there is no such parent.
    """
    for name, domain in study.parameters.items():
        if isinstance(domain, Numbers):
            value = record.params.get(name)
            if name in record.params and (type(value) is bool or not isinstance(value, int | float)):
                raise ValueError(f"trial {record.number} has {name}={_text(value)}, and the study has a range of numbers")
        if not domain.when and name not in record.params and not (study.earlier or study.suggests):
            raise ValueError(f"trial {record.number} has no {name}")
    if study.start is not None and record.params.get(PARENT) not in study.start.parents:
        raise ValueError(f"trial {record.number} goes on from {_text(record.params.get(PARENT))}, which is no trial of the study")


def _check(name: str, value: Any, right: Any) -> None:
    if value is None and name in _MISSING_ALLOWED:
        return
    if not right(value):
        raise ValueError(f"{name} is {_text(value)}")


def _check_mapping(name: str, found: Any, right: Any) -> None:
    if not isinstance(found, Mapping) or not all(right(value) for value in found.values()):
        raise ValueError(f"{name} is {_text(found)}")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _is_integer(value: Any) -> bool:
    return type(value) is int and fits(value)


def _is_number(value: Any) -> bool:
    return type(value) is float or _is_integer(value)


def _is_duration(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and abs(value) < LARGEST


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, tuple):
        return all(map(_is_scalar, value))
    return value is None or isinstance(value, bool | int | str)  # an integer of a grid may have hundreds of digits


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    # With its zone: the difference to a time without one is an error.
    return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None


def _text(value: Any) -> str:
    return repr(value)[:100]
