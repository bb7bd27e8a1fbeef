"""The tags that this package adds to an objective's own, and the order of the metrics' columns in the HPARAMS tab."""

from __future__ import annotations

from collections.abc import Mapping

from sweep.errors import one_line
from sweep.study.metric import MetricSpec
from sweep.study.space import Domain
from sweep.study.spec import StudySpec
from sweep.study.trial import Params

# 1 or 0: whether a trial keeps its constraints, and whether it is in the Pareto front.
FEASIBLE, FRONT = "feasible", "front"
CODE, NOTE = "code", "note"


def best_tag(metric: MetricSpec) -> str:
    """Return the tag of a metric's best value so far."""
    return f"best/{metric.name}"


def metric_columns(study: StudySpec) -> tuple[str, ...]:
    """Return the tags of the first columns: what every trial reports, `front` and `feasible`, the best values."""
    marks = (*((FRONT,) if study.multi_objective else ()), *((FEASIBLE,) if study.constraints else ()))
    return (*study.needed, *marks, *(best_tag(metric) for metric in study.metrics))


def code_column(study: StudySpec, code: str | None) -> dict[str, str]:
    """Return the column that says which code trained a trial, for a study with several codes; a parameter keeps its own name."""
    return {_free(CODE, study): code or "unknown"}


def note_column(study: StudySpec, note: str | None) -> dict[str, str]:
    """Return the column that says what the user has said of a trial, for a study in which that is said of any."""
    return {_free(NOTE, study): one_line(note or "")}


def _free(name: str, study: StudySpec) -> str:
    return name if name not in study.shown else f"{name} (sweep)"


def with_columns(
    params: Params, space: Mapping[str, Domain], columns: Mapping[str, str]
) -> tuple[Params, dict[str, Domain | None]]:
    """Return hyperparameters and their space with further columns of text."""
    return {**params, **columns}, {**space, **dict.fromkeys(columns)}
