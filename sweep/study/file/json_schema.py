"""The study file's JSON schema, with which editors complete and explain keys and mark mistakes.

The program refuses everything that the schema refuses, and its own checks find more (`sweep plan`).
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
    """Refuse names that do not match the pattern of a mapping's names, which pydantic's schema allows."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(inner)
    if isinstance(part, dict) and "patternProperties" in part:
        part.setdefault("additionalProperties", False)
