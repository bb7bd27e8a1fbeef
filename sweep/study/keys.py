"""The keys of the study file: each is defined once, by the field that holds its value.

    retries: int = key(1, "how often a trial is started again", "WholeNumber")

`sweep.study.spec` has the fields. `sweep.study.file` derives the rest from them: reading, checking, writing, the JSON schema for
editors and the table of keys in the documentation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of the study file, or of a mapping in it.

    Attributes:
        description: its meaning in Markdown, for the documentation, for editors and for messages.
        value: the type of its value in the file, by its name in `sweep.study.file.values` or `sweep.study.file.schema`; empty
            where the field's value is a dataclass, whose fields are then the keys of a mapping.
        name: its name in the file; empty for the field's name.
        optional: the file may omit it although the field has no default.
        none: the file's word for None; where there is none, the file omits the key.
        shorthand: its value may replace the whole mapping if every other key of the mapping has its default.
    """

    description: str
    value: str = ""
    name: str = ""
    optional: bool = False
    none: str | None = None
    shorthand: bool = False


def definition(description: str, value: str, **more: Any) -> dict[str, Key]:
    """Return the metadata of a field without a default that holds the value of a key; `|` joins the metadata of two keys."""
    found = Key(description=description, value=value, **more)
    return {found.name: found}


def key(default: _T, description: str, value: str = "", **more: Any) -> _T:
    """Return a field that holds the value of a key; the other arguments are those of `Key`."""
    metadata = definition(description, value, **more)
    if isinstance(default, dict):
        return cast("_T", dataclasses.field(default_factory=default.copy, metadata=metadata))
    return dataclasses.field(default=default, metadata=metadata)


def keys_of(spec: Any) -> Iterator[tuple[Key, dataclasses.Field[Any]]]:
    """Yield each key of a dataclass with the field that holds its value, in the order of the fields."""
    for field in dataclasses.fields(spec):
        for found in field.metadata.values():
            yield dataclasses.replace(found, name=found.name or field.name), field


def default_of(found: Key, field: dataclasses.Field[Any]) -> Any:
    """Return the value of a key that the file omits, `dataclasses.MISSING` if the file must have it."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if found.optional else field.default
