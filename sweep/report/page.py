"""The report as one HTML file: words and tables from a template, charts drawn by the embedded scripts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.report.charts import charts
from sweep.report.facts import Facts, gather
from sweep.report.frame import now_text, rendered
from sweep.report.now import Now
from sweep.report.sentences import Statement, main_statements
from sweep.report.settings import factors
from sweep.storage.files import write_text
from sweep.storage.folder import SLOT_NOTES, StudyFolder, recorded, slot_notes
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.formatting import (
    duration_text,
    slots_text,
    tag_text,
    time_shares_text,
)
from sweep.study.ranking import objective_values, verdict
from sweep.study.record import TrialRecord, several_codes
from sweep.study.space import swept
from sweep.study.spec import StudySpec

_MOST_ROWS = 2_000  # of the table of trials: more would open slowly, and `sweep trials` lists them all


@dataclass(frozen=True, kw_only=True)
class LivePart:
    """What a page has that is served.

    Attributes:
        version: of the page, by which a reader's browser sees that there is a newer one.
        now: what runs now; None after the session.
    """

    version: int
    now: Now | None


def write_page(facts: Facts, path: Path) -> None:
    """Write the report atomically, as a page that loads no other file.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, page_text(facts))


def page_text(facts: Facts, live: LivePart | None = None) -> str:
    """Return the report as a page that loads no other file.

    Args:
        facts: of the study.
        live: what a page has that is served; default: the page is a file.
    """
    snapshot, study = facts.snapshot, facts.study
    ranking = snapshot.ranking
    placed = {record.number for record in ranking.order}
    shown = [*ranking.order, *(record for record in snapshot.records if record.number not in placed)]
    study_text = ""
    with contextlib.suppress(OSError):
        study_text = snapshot.folder.study_file.read_text(encoding="utf-8", errors="replace")
    values = {
        "facts": facts,
        "answer": facts.answer,
        "study": study,
        "counts": {state: count for state, count in snapshot.counts.items() if count},
        "made": now_text(),
        "ranking": ranking,
        "verdict": verdict,
        "time_spent": _time_spent(snapshot),
        "slot_notes": [note["text"] for note in slot_notes(snapshot.folder)],
        "names": swept(study.parameters),
        "several_codes": several_codes(snapshot.records),
        "noted": any(record.note for record in snapshot.records),
        "factors": factors(study),
        "records": shown[:_MOST_ROWS],
        "hidden": max(0, len(shown) - _MOST_ROWS),
        "study_text": study_text,
        "environment": {key: value for key, value in recorded(snapshot.folder).items() if key != SLOT_NOTES},
    }
    data = _data(facts)
    if live is None:
        return rendered("study.html", study.name, data, values)
    data["version"] = live.version
    if live.now is not None:
        newer = {chart.name for chart in live.now.charts}
        data["charts"] = [*(chart for chart in data["charts"] if chart.name not in newer), *live.now.charts]
        values["now"] = live.now
    return rendered("study.html", study.name, data, values, live=True)


def _data(facts: Facts) -> dict[str, Any]:
    """Return the charts and the texts of their tooltips as plain data."""
    study = facts.study
    return {
        "metrics": [{"name": metric.name, "maximize": metric.sign > 0} for metric in study.metrics],
        "trials": [trial_data(record, study) for record in facts.snapshot.records],
        "charts": charts(facts),
    }


def trial_data(record: TrialRecord, study: StudySpec) -> dict[str, Any]:
    """Return what the tooltips of the charts tell of a trial."""
    return {
        "n": record.number,
        "state": str(record.state),
        "text": tag_text(record, study),
        "value": record.value,
        **({"values": objective_values(study, record.value, record.metrics)} if study.multi_objective else {}),
        **({"feasible": verdict(study, record.metrics)} if study.constraints else {}),
    }


def _time_spent(snapshot: Snapshot) -> str:
    """Return the time of all sessions per activity; empty if it was not measured."""
    spent, slots = snapshot.time_spent, snapshot.slots
    if spent is None:
        return ""
    return (
        f"All sessions took {duration_text(spent.total)} on {slots_text(slots)}: {time_shares_text(spent)}. Starting means"
        " imports, preparing the data and reading checkpoints; waiting means waiting for decisions, for the next trial or for"
        " other slots."
    )


def leave_report(folder: StudyFolder) -> tuple[str, list[Statement]]:
    """Write the report at the end of a session; return why it could not be written, or an empty text, and its main statements.

    No error in a report may end a session: the results are stored, and `sweep report` can write the page later.
    """
    told: list[Statement] = []
    try:
        facts = gather(Snapshot.take(stored_study(folder), folder))
        told = main_statements(facts.answer)
        write_page(facts, folder.report)
    except Exception as error:
        return str(error).partition("\n")[0] or repr(error), told
    return "", told
