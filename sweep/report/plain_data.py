"""What is said about a study's results as plain data: `sweep report --format json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.report.answer import Answer
from sweep.report.methods import WHY
from sweep.report.sentences import statements


def answer_json(found: Answer) -> dict[str, Any]:
    """Return the answer as `sweep report --format json` prints it."""
    study, matter, stage = found.study, found.influence, found.settling
    return {
        "study": study.name,
        "metric": study.metric.name,
        "goal": study.metric.goal,
        "ended": {str(state): count for state, count in found.ended.items()},
        "statements": [asdict(one) | {"why": WHY[one.topic]} for one in statements(found)],
        "settings": [asdict(one) for one in found.settings],
        "metrics": [asdict(item) for item in found.metrics],
        "importances": [asdict(item) for item in matter.importances],
        "interplays": [asdict(item) for item in matter.interplays],
        "comparisons": [asdict(item) | {"clear": item.clear} for item in found.comparisons],
        "deviation": found.deviation,
        "noise": found.noise,
        "settling": None if stage is None else asdict(stage) | {"worthwhile": stage.worthwhile},
    }
