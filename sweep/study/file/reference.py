"""The table of the study file's keys in the documentation."""

from __future__ import annotations

from sweep.study.keys import keys_of
from sweep.study.spec import StudySpec


def key_table() -> str:
    """Return the keys at the top of a study file and their meaning, as a Markdown table."""
    rows = [f"| `{key.name}` | {key.description} |\n" for key, _ in keys_of(StudySpec)]
    return "| key | meaning |\n|---|---|\n" + "".join(rows)
