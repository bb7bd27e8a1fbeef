"""The study file as a pydantic model, built from the keys that the fields of `StudySpec` define.

A mapping whose keys are the fields of a dataclass is validated by a model of its own and becomes that dataclass.
"""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from sweep.study.file import parameters, values
from sweep.study.file.parameters import STRICT
from sweep.study.file.writing import file_value
from sweep.study.keys import Key, default_of, keys_of
from sweep.study.metric import ConstraintSpec, MetricSpec
from sweep.study.spec import FromSpec, StudySpec


def _model(spec: type, description: str, extra: dict[str, Any] | None = None) -> type[BaseModel]:
    """Return the model of a dataclass's keys; `extra` is for editors."""
    fields: dict[str, Any] = {}
    for key, field in keys_of(spec):
        default = default_of(key, field)
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            kind = _mapping(type(default))
        else:
            kind = getattr(values, key.value, None) or _SHAPES[key.value]
        if default is None and key.none is None:
            kind = kind | None
        optional: dict[str, Any] = {}
        if default is not dataclasses.MISSING:
            optional = {"default": default, "json_schema_extra": {"default": file_value(key, default)}}
        fields[key.name] = (kind, Field(description=key.description, **optional))
    config = STRICT | ConfigDict(json_schema_extra=extra)
    return create_model(spec.__name__.removesuffix("Spec"), __config__=config, __doc__=description, **fields)


def _mapping(spec: type) -> Any:
    """Return the type of a mapping that becomes a dataclass."""
    model = _model(spec, (spec.__doc__ or "").partition("\n")[0])
    kind: Any = Annotated[model, AfterValidator(lambda found: spec(**_fields(spec, found)))]
    for key, field in keys_of(spec):
        if key.shorthand:
            return Annotated[kind, _shorthand(key, field, model)]
    return kind


def _shorthand(key: Key, field: dataclasses.Field[Any], model: Any) -> BeforeValidator:
    """Accept one key's value in place of the mapping."""

    def whole(value: Any) -> Any:
        alone = not isinstance(value, dict) if field.default is None else type(value) is type(field.default)
        return {key.name: value} if alone else value

    kind = getattr(values, key.value)
    return BeforeValidator(whole, json_schema_input_type=(kind | None if field.default is None else kind) | model)


def _fields(spec: type, found: BaseModel) -> dict[str, Any]:
    return {field.name: getattr(found, key.name) for key, field in keys_of(spec)}


def _constraints(found: dict[str, BaseModel]) -> tuple[ConstraintSpec, ...]:
    return tuple(ConstraintSpec(metric=name, **_fields(ConstraintSpec, bounds)) for name, bounds in found.items())


_METRIC: Any = _mapping(MetricSpec)
_BOUNDS: Any = _model(ConstraintSpec, "The bounds of a metric.", {"anyOf": [{"required": ["min"]}, {"required": ["max"]}]})
# The types of values that need models; all others are in `sweep.study.file.values`.
_SHAPES: dict[str, Any] = {
    "Metric": _METRIC,
    "Metrics": Annotated[list[_METRIC], Field(min_length=1)],
    "From": _mapping(FromSpec),
    "Constraints": Annotated[dict[values.Text, _BOUNDS], AfterValidator(_constraints)],
    "Parameters": parameters.Parameters,
    "Spaces": parameters.Spaces,
}
# The extra part is for editors; the file's check says which of them to keep.
StudyModel = _model(StudySpec, "The whole study file.", {"oneOf": [{"required": ["metric"]}, {"required": ["metrics"]}]})


def has_parts(annotation: Any) -> bool:
    """Return whether a key's value is a mapping, whose parts are keys, too."""
    if get_origin(annotation) in (Annotated, Union, UnionType):  # such as with None
        return any(map(has_parts, get_args(annotation)))
    return get_origin(annotation) is dict or model_of(annotation, through=False) is not None


def model_of(annotation: Any, *, through: bool = True) -> type[BaseModel] | None:
    """Return the model of a key's value, if it has one; `through` lists and mappings, too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = get_args(annotation) if through or get_origin(annotation) not in (list, dict) else ()
    return next((found for part in parts if (found := model_of(part, through=through))), None)
