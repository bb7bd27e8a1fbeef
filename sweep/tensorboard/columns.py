"""The tags that this package adds to an objective's own, and the order of the metrics' columns in the HPARAMS tab."""

from __future__ import annotations

from sweep.study.spec import MetricSpec, StudySpec

# 1 or 0: whether a trial keeps its constraints, and whether it is in the Pareto front.
FEASIBLE, FRONT = "feasible", "front"


def best_tag(metric: MetricSpec) -> str:
    """Return the tag of a metric's best value so far."""
    return f"best/{metric.name}"


def metric_columns(study: StudySpec) -> tuple[str, ...]:
    """Return the tags of the first columns: what every trial reports, `front` and `feasible`, the best values."""
    marks = (*((FRONT,) if study.multi_objective else ()), *((FEASIBLE,) if study.constraints else ()))
    return (*study.needed, *marks, *(best_tag(metric) for metric in study.metrics))
