"""Everything that is computed for a report, as values, so that the page and the figures show the same."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sweep.report.answer import Answer, answer
from sweep.report.axes import Axis, parameter_axes, shown_range
from sweep.report.settings import value_of
from sweep.storage.database import read_curves
from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import error_line
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, TrialState

_PAUSE_S = 10.0  # without any trial for longer: a pause between two sessions
_CURVE_POINTS, _ALL_POINTS = 100, 200_000  # that are drawn of one curve, and of all


@dataclass(frozen=True, kw_only=True)
class Busy:
    """The time in which a trial was in a slot, in seconds since the first one started, how it ended, and on a cluster where."""

    slot: int
    began: float
    ended: float
    number: int
    how: str
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Failures with the same cause: its kind, the message, and the numbers of the trials."""

    cause: str
    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a report shows of a study.

    Attributes:
        answer: what can be said about the results.
        curves: step and objective value by trial number.
    """

    snapshot: Snapshot
    axes: tuple[Axis, ...]
    answer: Answer
    curves: dict[int, list[tuple[int, float]]]
    busy: tuple[Busy, ...]
    failures: tuple[Failure, ...]

    @functools.cached_property
    def shown(self) -> tuple[float, float] | None:
        """Return the range of the metric's axis that holds the trials' values."""
        return shown_range([value_of(record) for record in self.snapshot.ranking.order], self.study.metric.sign)

    @property
    def outside(self) -> int:
        """Return the number of trials whose values are outside the range."""
        low, high = self.shown or (0.0, 0.0)
        return sum(not low <= (record.value or 0.0) <= high for record in self.snapshot.ranking.order)

    @property
    def busy_share(self) -> float | None:
        """Return the busy share of the slots' time, from the first start to the last end; None before anything ran."""
        whole = max((item.ended for item in self.busy), default=0.0) * len({item.slot for item in self.busy})
        return sum(item.ended - item.began for item in self.busy) / whole if whole else None

    @functools.cached_property
    def kept(self) -> list[TrialRecord]:
        """Return the trials that were not dropped."""
        return [record for record in self.snapshot.records if not record.dropped]

    @property
    def study(self) -> StudySpec:
        """Return the study."""
        return self.snapshot.study


def gather(snapshot: Snapshot) -> Facts:
    """Compute everything that a report shows of a study.

    Raises:
        SweepError: the database cannot be read.
    """
    study, kept = snapshot.study, [record for record in snapshot.records if not record.dropped]
    dropped = {record.number for record in snapshot.records if record.dropped}
    curves = {number: points for number, points in read_curves(snapshot.folder).items() if number not in dropped}
    return Facts(
        snapshot=snapshot,
        axes=parameter_axes(study, kept),
        answer=answer(kept, study),
        curves=thinned(curves),
        busy=busy_spans(snapshot.records),  # the slots were busy with dropped trials, too
        failures=_failures(kept),
    )


def busy_spans(records: Iterable[TrialRecord]) -> tuple[Busy, ...]:
    """Return which trial was in which slot when. Pauses in which no trial ran, as between two sessions, are left out."""
    found = []
    for record in records:
        for place, span in enumerate(record.spans):
            runs = span.how is None and record.state is TrialState.RUNNING and place == len(record.spans) - 1
            began, ended = datetime.fromisoformat(span.started), datetime.now(UTC) if runs else datetime.fromisoformat(span.ended)
            how = span.how or ("running" if runs else "killed")
            node = record.node if place == len(record.spans) - 1 else ""
            times = {"began": began.timestamp(), "ended": ended.timestamp()}
            found.append(Busy(slot=span.slot, number=record.number, how=how, node=node, **times))
    found.sort(key=lambda item: item.began)
    busy = []
    until = cut = found[0].began if found else 0.0
    for item in found:
        if item.began - until > _PAUSE_S:
            cut += item.began - until
        until = max(until, item.ended)
        busy.append(replace(item, began=round(item.began - cut, 3), ended=round(max(item.began, item.ended) - cut, 3)))
    return tuple(busy)


def thinned(curves: dict[int, list[tuple[int, float]]]) -> dict[int, list[tuple[int, float]]]:
    """Keep evenly spaced points of each curve, including its last one: more cannot be seen, and the page would be huge."""
    most = max(2, min(_CURVE_POINTS, _ALL_POINTS // max(1, len(curves))))
    return {
        number: [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)] if len(points) > most else points
        for number, points in curves.items()
    }


def _failures(records: Iterable[TrialRecord]) -> tuple[Failure, ...]:
    """Group failures by cause and message; messages that differ only in what `_general` replaces are equal."""
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for record in records:
        if record.state is TrialState.FAILED:
            groups.setdefault((record.cause or "unknown", _general(error_line(record), record.params)), []).append(record)
    found = [
        Failure(cause=cause, text=error_line(alike[0]), numbers=tuple(record.number for record in alike))
        for (cause, _), alike in groups.items()
    ]
    return tuple(sorted(found, key=lambda failure: -len(failure.numbers)))


def _general(text: str, params: Params) -> str:
    """Return a message without its numbers, addresses, paths and shapes, and without the trial's own values."""
    for value in sorted({value for value in params.values() if isinstance(value, str) and value}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "V", text)
    text = re.sub(r"(?<![\w.])(~|\.{1,2})?(/[^\s'\",:;)\]]+)+", "PATH", text)
    text = re.sub(r"\b0x[0-9a-fA-F]+\b|[-+]?\b\d[\d_.]*(?:e[-+]?\d+)?|(?<=[a-zA-Z_:])\d+|[-+]?\b(?:nan|inf)\b", "N", text)
    return re.sub(r"[(\[]?N(?:(?:, ?|x|\*| x )N)*,?[)\]]?", "N", text)
