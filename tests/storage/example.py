"""A small study as a value, for tests that need no study file."""

from __future__ import annotations

from sweep.study.space import Choice
from sweep.study.spec import MetricSpec, StudySpec

SPEC = StudySpec(
    name="study",
    objective="m:f",
    import_dir="/",
    metrics=(MetricSpec(name="loss", goal="minimize"),),
    method="grid",
    parameters={"x": Choice(values=(0, 1, 2, 3))},
)
