"""The study file's JSON schema, with which editors complete keys, show what they mean and underline mistakes.

What it refuses the program refuses, too; the program's own checks see more (`sweep plan`).
"""

from __future__ import annotations

from typing import Any

from sweep.study.file.schema import StudyModel


def json_schema() -> dict[str, Any]:
    """Return the schema as plain data."""
    schema = StudyModel.model_json_schema(mode="validation")
    _close(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Study file of sweep"}


def _close(part: Any) -> None:
    """Refuse the keys of a mapping that do not have the pattern of its names: pydantic leaves them open."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(inner)
    if isinstance(part, dict) and "patternProperties" in part:
        part.setdefault("additionalProperties", False)
