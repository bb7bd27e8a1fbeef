"""What a notebook shows of a study's results: a short picture of them, and the whole report in a frame."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.report.measured import main_metrics
from sweep.report.page import leave_report
from sweep.storage.folder import StudyFolder, near
from sweep.study.formatting import number_text, objective_texts, param_text, states_text
from sweep.study.html_table import block_html, lines_html, table_html
from sweep.study.progress import TrialCounts
from sweep.study.ranking import rank
from sweep.study.record import TrialRecord
from sweep.study.space import swept
from sweep.study.spec import StudySpec

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """A report that a notebook shows below the cell.

    Attributes:
        path: of the page.
    """

    path: Path

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, which can load and change nothing outside it."""
        text = html.escape(self.path.read_text(encoding="utf-8"))
        style = "width: 100%; height: 80vh; min-height: 30rem; border: 0"
        return f'<iframe srcdoc="{text}" sandbox="allow-scripts" title="report" style="{style}"></iframe>'


def written_report(folder: StudyFolder) -> ReportPage:
    """Write the report of a study, and return it.

    Raises:
        SweepError: it could not be written.
    """
    reason, _ = leave_report(folder)
    if reason:
        raise SweepError("report-not-written", f"the report could not be written: {reason}", exit_code=EXIT_SOME_FAILED)
    return ReportPage(path=folder.report)


def results_html(
    study: StudySpec, folder: StudyFolder, trials: Sequence[TrialRecord], ended_by: str, statements: Iterable[str]
) -> str:
    """Return results as HTML: the counts, the best trials, what can be said, and where the report is."""
    ranking = rank(trials, study)
    best = ranking.top(_SHOWN)[:_SHOWN]
    names = swept(study.parameters)
    more = [name for name in main_metrics(best, study) if name not in {metric.name for metric in study.metrics}]
    noted = any(trial.note for trial in best)
    heads = ["trial", *names, *(metric.name for metric in study.metrics), *more, *(["note"] if noted else [])]
    rows = [
        [
            str(trial.number),
            *(param_text(trial.params[name]) if name in trial.params else "" for name in names),
            *objective_texts(trial, study),
            *(number_text(trial.metrics.get(name)) for name in more),
            *([trial.note or ""] if noted else []),
        ]
        for trial in best
    ]
    counts = states_text(TrialCounts(trials).counts(None)) or "no trials"
    head = f"<div><b>{html.escape(study.name)}</b>&ensp;{counts}; {html.escape(ended_by)}</div>"
    front = f"Pareto front: {len(ranking.front)} of {len(ranking.order)} complete trials, in the order of {study.metric.name}"
    title = [front if study.multi_objective else f"best {study.metric.name}"] if best else ["no trial is among the best yet"]
    place = near(folder.report)
    link = (
        f'<div>report: <a href="{quote(place)}" target="_blank">{html.escape(place)}</a></div>' if folder.report.exists() else ""
    )
    return block_html(
        head, lines_html(title), table_html(heads, rows) if rows else "", lines_html(f"– {text}" for text in statements), link
    )
