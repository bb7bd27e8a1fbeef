"""What happens in a study at this moment: the part of the page that is there only while a session runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sweep.report.charts import BEST, QUIET, Chart, Curve, Series, curve_scales, short_curve, timeline
from sweep.report.facts import busy_spans, thinned
from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import number_of_run, number_text, tag_text, waiting_text
from sweep.study.ranking import objective_values
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_COLOURS = (0, 2, 3, 4)  # of the running trials' curves; the best one's is `BEST`
_LEADERS = 3
_MOST_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class RunningRow:
    """A run that is in a slot.

    Attributes:
        name: its trial, and its repeat if there are several.
        metrics: the last value of each metric, as text.
        seconds: since its last attempt began.
    """

    name: str
    params: str
    device: str
    step: int
    total: int | None
    metrics: list[str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Now:
    """What happens in a study at this moment.

    Attributes:
        ended, total: the number of trials that have ended, and of all; None if it is not limited.
        waiting: how many trials wait; `slots` says how many slots wait for room on a cluster, empty if none does.
        eta_s: the seconds until the last trial ends; None if that cannot be estimated.
        more: how many running ones are not listed.
        leaders: the best trials so far.
        charts: the curves of the running trials, and the timeline.
    """

    study: StudySpec
    counts: dict[str, int]
    ended: int
    total: int | None
    waiting: int
    slots: str
    eta_s: float | None
    running: list[RunningRow]
    more: int
    leaders: tuple[TrialRecord, ...]
    charts: list[Chart]
    at: str


def happening(snapshot: Snapshot) -> Now:
    """Return what happens in a study that runs.

    Raises:
        SweepError: the database cannot be read.
    """
    study, counts, now = snapshot.study, snapshot.counts, datetime.now(UTC)
    running = sorted((run for run in runs_of(snapshot.records) if run.state is TrialState.RUNNING), key=lambda run: run.key)
    leaders = snapshot.ranking.top(_LEADERS)[:_LEADERS]
    numbers = list(dict.fromkeys(run.number for run in running))
    shown = [*numbers, *(record.number for record in leaders[:1])]
    charts = _charts(snapshot, numbers, leaders[:1], thinned(snapshot.curves(shown)))
    return Now(
        study=study,
        counts={state: count for state, count in counts.items() if count},
        ended=sum(counts[str(state)] for state in TrialState if state.finished),
        total=study.total,
        waiting=counts[str(TrialState.WAITING)],
        slots=waiting_text(snapshot.waiting_slots) if snapshot.waiting_slots else "",
        eta_s=snapshot.eta_s,
        running=[_row(run, study, now) for run in running[:_MOST_ROWS]],
        more=max(0, len(running) - _MOST_ROWS),
        leaders=leaders,
        charts=charts,
        at=now.astimezone().strftime("%H:%M:%S"),
    )


def _row(run: TrialRecord, study: StudySpec, now: datetime) -> RunningRow:
    began = datetime.fromisoformat(run.started) if run.started else now
    return RunningRow(
        name=number_of_run(run, study),
        params=tag_text(run, study),
        device=run.device or "",
        step=run.step or 0,
        total=run.total,
        metrics=[number_text(value) for value in objective_values(study, run.value, run.metrics)],
        seconds=max(0.0, (now - began).total_seconds()),
    )


def _charts(snapshot: Snapshot, running: Sequence[int], best: Sequence[TrialRecord], curves: Mapping[int, Curve]) -> list[Chart]:
    short = {number: short_curve(points) for number, points in curves.items()}
    coloured, quiet = running[: len(_COLOURS)], running[len(_COLOURS) :]
    series = [Series(mark="curves", colour=QUIET, data=[(number, short[number]) for number in quiet if number in short])]
    for colour, number in zip(_COLOURS, coloured, strict=False):
        if number in short:
            series.append(Series(mark="curves", colour=colour, name=f"trial {number}", data=[(number, short[number])]))
    for record in best:
        if record.number in short:
            name = f"best: trial {record.number}"
            series.append(Series(mark="curves", colour=BEST, name=name, data=[(record.number, short[record.number])]))
    charts = []
    if short:
        scales = curve_scales(short.values(), snapshot.study.metric)
        charts.append(Chart(name="running", title="Learning curves of the running trials", scales=scales, series=series))
    if busy := busy_spans(snapshot.records):
        charts.append(timeline(busy))
    return charts
