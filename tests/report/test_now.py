"""What the served page says of a study that runs: counts, the queue, the best so far, the running trials."""

from __future__ import annotations

import json
from pathlib import Path

from sweep.report.frame import fragment
from sweep.report.now import happening
from sweep.storage.folder import StudyFolder
from sweep.storage.snapshot import Snapshot
from sweep.study.record import Span
from sweep.study.trial import TrialState
from tests.report.test_facts import words
from tests.support.studies import run_record, study_spec


def test_counts_queue_and_running_trials_are_shown(tmp_path: Path) -> None:
    """Text is escaped; slots that wait for a cluster are counted."""
    study = study_spec({"x": [1, 2, 3, 4, 5], "how": ["<b>"]})
    folder = StudyFolder(root=tmp_path)
    folder.environment.write_text(json.dumps({"waiting_slots": 2}))
    span = Span(slot=0, started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:00:10+00:00")
    records = [
        run_record(study, 0, {"x": 1, "how": "<b>"}, 0.5, duration_s=10.0, spans=(span,)),
        run_record(study, 1, {"x": 2, "how": "<b>"}, state=TrialState.FAILED),
        run_record(
            study, 2, {"x": 3, "how": "<b>"}, 0.25, state=TrialState.RUNNING, step=3, total=8, started=span.started, spans=(span,)
        ),
    ]
    now = happening(Snapshot(study=study, folder=folder, records=records, runner={"pid": 1}, time_spent=None))
    assert (now.ended, now.total, now.waiting) == (2, 5, 2)
    assert [(row.name, row.step, row.total, row.metrics) for row in now.running] == [("2", 3, 8, ["0.2500"])]
    assert [chart.name for chart in now.charts] == ["timeline"]  # no curve was stored
    text = fragment("now.html", {"now": now})
    said = words(text)
    for part in (
        "2 of 5",
        "1 running, 1 complete, 1 failed; 2 wait for a slot; 2 slots wait for room on the cluster",
        "3/8",
        "0.5000",
    ):
        assert part in said
    assert "<b>" not in text
