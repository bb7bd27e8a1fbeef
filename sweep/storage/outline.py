"""What ranks and counts a study's trials, kept in its database: many studies are listed without reading their YAML."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from sweep.study.metric import ConstraintSpec, MetricSpec
from sweep.study.spec import BudgetSpec, CheckpointsSpec, RepeatsSpec, StudySpec


def outline(study: StudySpec, text: str) -> dict[str, Any]:
    """Return the outline of a study as plain data.

    Args:
        study: as it is in the folder.
        text: the content of its file there.
    """
    return {
        "file": _digest(text.encode("utf-8", "backslashreplace")),
        "name": study.name,
        "metrics": [asdict(metric) for metric in study.metrics],
        "constraints": [asdict(constraint) for constraint in study.constraints],
        "repeats": asdict(study.repeated),
        "total": study.total,
        "keep_best": study.checkpoints.keep_best,
    }


def study_in(data: Any, text: bytes) -> StudySpec | None:
    """Return a study that is good for ranking and counting its trials; None if the outline is of another file, or too old.

    Args:
        data: what `outline` returned; None of a study of an earlier version.
        text: the content of the study file in the folder.

    Raises:
        TypeError, KeyError, AttributeError: it is no outline.
    """
    if data is None or data["file"] != _digest(text) or "keep_best" not in data:
        return None
    return StudySpec(
        name=data["name"],
        metrics=tuple(MetricSpec(**metric) for metric in data["metrics"]),
        constraints=tuple(ConstraintSpec(**constraint) for constraint in data["constraints"]),
        repeated=RepeatsSpec(**data["repeats"]),
        budget=BudgetSpec(trials=data["total"]),
        checkpoints=CheckpointsSpec(keep_best=data["keep_best"]),
        method="random",
        parameters={},
        suggests=True,  # so that the budget alone is the number of trials
        import_dir="",
    )


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
