"""What is said about a study's results as plain data: `sweep report --format json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.report.answer import Answer
from sweep.report.methods import WHY
from sweep.report.sentences import Statement, statements
from sweep.report.studies import Studies
from sweep.report.studies_sentences import studies_statements


def answer_json(found: Answer) -> dict[str, Any]:
    """Return the answer as `sweep report --format json` prints it."""
    study, matter, stage = found.study, found.influence, found.settling
    return {
        "study": study.name,
        "metric": study.metric.name,
        "goal": study.metric.goal,
        "ended": {str(state): count for state, count in found.ended.items()},
        "statements": [_said(one) for one in statements(found)],
        "settings": [asdict(one) for one in found.settings],
        "metrics": [asdict(item) for item in found.metrics],
        "importances": [asdict(item) for item in matter.importances],
        "interplays": [asdict(item) for item in matter.interplays],
        "comparisons": [asdict(item) | {"clear": item.clear} for item in found.comparisons],
        "deviation": found.deviation,
        "noise": found.noise,
        "settling": None if stage is None else asdict(stage) | {"worthwhile": stage.worthwhile},
    }


def studies_json(found: Studies) -> dict[str, Any]:
    """Return what is said about several studies, as `sweep report --format json` prints it."""
    bests = dict(found.bests())
    return {
        "studies": [
            {"label": label, "dir": str(one.snapshot.folder.root), "best": asdict(bests[place]) if place in bests else None}
            for place, (label, one) in enumerate(zip(found.labels, found.facts, strict=True))
        ],
        "comparable": not found.apart,
        "statements": [_said(one) for one in studies_statements(found)],
        "differences": {row.key: list(row.values) for row in found.differences},
        "environments": {row.key: list(row.values) for row in found.environments},
        "codes": [list(codes) for codes in found.codes],
        "leads": [
            asdict(lead) | {"better": found.labels[lead.better], "worse": found.labels[lead.worse], "clear": lead.clear}
            for lead in found.leads
        ],
        "common": [asdict(item) | {"clear": item.clear} for item in found.shared],
    }


def _said(one: Statement) -> dict[str, Any]:
    return asdict(one) | {"why": WHY[one.topic]}
