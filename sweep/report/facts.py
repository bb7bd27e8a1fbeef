"""What the report tells, as values: everything is computed here, so that the page and the figures show the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweep import environment
from sweep.analysis import (
    Comparison,
    Importance,
    Setting,
    comparisons,
    importances,
    mean_and_half_width,
    noise_share,
    settings,
    wilson,
)
from sweep.records import TrialRecord
from sweep.results import Snapshot
from sweep.space import Choice, Range, swept
from sweep.storage import read_curves
from sweep.study import StudySpec
from sweep.trial import Scalar, TrialState
from sweep.wording import error_line, param_text

BEST_CURVES = 5
_SAMPLES = "samples"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A parameter as an axis of a chart.

    Attributes:
        categories: its values in their order, as text; None for a number's axis.
        log: a logarithmic scale.
    """

    name: str
    categories: tuple[str, ...] | None = None
    log: bool = False

    def place(self, value: Scalar) -> float | None:
        """Return where a value is on the axis, None where it has none."""
        if self.categories is not None:
            text = param_text(value)
            return float(self.categories.index(text)) if text in self.categories else None
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of the best setting: its mean over the seeds, or its one value, and its 95 % interval.

    Attributes:
        samples: of how many samples it is a share; the interval is then Wilson's.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    samples: int | None = None


@dataclass(frozen=True, kw_only=True)
class Busy:
    """A stretch of time in which a trial held a slot, in seconds since the first one began."""

    slot: int
    began: float
    ended: float
    number: int
    how: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Failures with one cause: what it says, and the trials."""

    cause: str
    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of a study, ready to be shown.

    Attributes:
        metrics: of the best setting.
        deviation: the standard deviation between trainings of one setting; None with one seed.
        noise: what share of the differences between trials is chance; None with one seed.
        history: trial number and best value so far, as trials ended.
        busy_share: of the slots' time between the first start and the last end; None before anything ran.
    """

    snapshot: Snapshot
    axes: tuple[Axis, ...]
    settings: tuple[Setting, ...]
    metrics: tuple[Measured, ...]
    importances: tuple[Importance, ...]
    comparisons: tuple[Comparison, ...]
    deviation: float | None
    noise: float | None
    curves: dict[int, list[tuple[int, float]]]
    history: tuple[tuple[int, float], ...]
    busy: tuple[Busy, ...]
    busy_share: float | None
    failures: tuple[Failure, ...]
    study_text: str
    environment: dict[str, Any]

    @property
    def shown(self) -> tuple[float, float] | None:
        """Return the part of the metric's axis to show for the trials' values."""
        return shown_range([record.value for record in self.snapshot.ranked if record.value is not None], self.study.metric.sign)

    @property
    def shown_curves(self) -> tuple[float, float] | None:
        """Return the part of the metric's axis to show for the curves."""
        return shown_range([value for points in self.curves.values() for _, value in points], self.study.metric.sign)

    @property
    def study(self) -> StudySpec:
        """Return the study."""
        return self.snapshot.study

    @property
    def repeated(self) -> bool:
        """Tell whether settings were trained with several seeds."""
        return any(len(setting.trials) > 1 for setting in self.settings)


def gather(snapshot: Snapshot) -> Facts:
    """Compute everything that a report shows of a study at this moment.

    Raises:
        SweepError: the database cannot be read.
    """
    study, records = snapshot.study, snapshot.records
    found = settings(records, study)
    busy = _busy(records)
    return Facts(
        snapshot=snapshot,
        axes=tuple(_axis(study, records, name) for name in swept(study.parameters)),
        settings=tuple(found),
        metrics=_measured(records, found[0]) if found else (),
        importances=tuple(importances(records, study)),
        comparisons=tuple(comparisons(records, study)),
        deviation=_deviation(records, found),
        noise=noise_share(records, study),
        curves=read_curves(snapshot.folder),
        history=_history(records, study),
        busy=busy,
        busy_share=_share(busy),
        failures=_failures(records),
        study_text=_text_of(snapshot),
        environment=environment.recorded(snapshot.folder),
    )


def shown_range(values: Sequence[float], sign: int) -> tuple[float, float] | None:
    """Return what an axis shows of such values, at round numbers: up to the best, and of the bad ones nine tenths and some more.

    One trial that diverged must not press all others into a line.
    """
    ordered = sorted(values, key=lambda value: -sign * value)
    if not ordered:
        return None
    good, bad, worst = ordered[0], ordered[round(0.9 * (len(ordered) - 1))], ordered[-1]
    if good == worst:
        room = 0.05 * abs(good) or 0.5
        return good - room, good + room
    bad += (bad - good) or -sign * (abs(good) or 1.0)
    low, high = sorted((good, max(bad, worst) if sign > 0 else min(bad, worst)))
    step = 10.0 ** math.floor(math.log10(max(high - low, abs(high) * 1e-9, 1e-12))) / 2
    return float(f"{math.floor(low / step) * step:.8g}"), float(f"{math.ceil(high / step) * step or step:.8g}")


def _axis(study: StudySpec, records: Sequence[TrialRecord], name: str) -> Axis:
    domain = study.parameters[name]
    if isinstance(domain, Range):
        return Axis(name=name, log=domain.log)
    values = [*(domain.values if isinstance(domain, Choice) else ()), *(record.params.get(name) for record in records)]
    return Axis(name=name, categories=tuple(dict.fromkeys(param_text(value) for value in values)))


def _measured(records: Sequence[TrialRecord], best: Setting) -> tuple[Measured, ...]:
    chosen = [record for record in records if record.number in set(best.trials)]
    found = []
    for name in chosen[0].metrics:
        group, _, kind = name.rpartition("/")
        values = [record.metrics[name] for record in chosen if name in record.metrics]
        if kind == _SAMPLES or len(values) < len(chosen):
            continue
        mean, half = mean_and_half_width(values)
        low, high, samples = None, None, None
        if half is not None:
            low, high = mean - half, mean + half
        elif 0 <= mean <= 1 and (count := chosen[0].metrics.get(f"{group}/{_SAMPLES}")) and kind == "accuracy":
            samples = int(count)
            low, high = wilson(mean, samples)
        found.append(Measured(name=name, value=mean, low=low, high=high, samples=samples))
    return tuple(found)


def _deviation(records: Sequence[TrialRecord], found: Sequence[Setting]) -> float | None:
    values = {record.number: record.value or 0.0 for record in records}
    squares, freedom = 0.0, 0
    for setting in found:
        squares += sum((values[number] - setting.mean) ** 2 for number in setting.trials)
        freedom += len(setting.trials) - 1
    return (squares / freedom) ** 0.5 if freedom else None


def _history(records: Iterable[TrialRecord], study: StudySpec) -> tuple[tuple[int, float], ...]:
    done = [record for record in records if record.state is TrialState.COMPLETE and record.value is not None]
    pick = max if study.metric.sign > 0 else min
    found: list[tuple[int, float]] = []
    for record in sorted(done, key=lambda record: (record.ended or "", record.number)):
        assert record.value is not None
        found.append((record.number, pick(found[-1][1], record.value) if found else record.value))
    return tuple(found)


def _busy(records: Iterable[TrialRecord]) -> tuple[Busy, ...]:
    spans = [(record, span) for record in records for span in record.spans]
    if not spans:
        return ()
    first = min(datetime.fromisoformat(span.started) for _, span in spans)

    def since(text: str) -> float:
        return round((datetime.fromisoformat(text) - first).total_seconds(), 3)

    return tuple(
        Busy(
            slot=span.slot,
            began=since(span.started),
            ended=since(span.ended),
            number=record.number,
            how=span.how or ("running" if record.state is TrialState.RUNNING else "killed"),
        )
        for record, span in spans
    )


def _share(busy: Sequence[Busy]) -> float | None:
    whole = max((item.ended for item in busy), default=0.0) * len({item.slot for item in busy})
    return sum(item.ended - item.began for item in busy) / whole if whole else None


def _failures(records: Iterable[TrialRecord]) -> tuple[Failure, ...]:
    """Group failures by cause and by what they say, numbers apart."""
    groups: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for record in records:
        if record.state is TrialState.FAILED:
            text = error_line(record)
            key = record.cause or "unknown", re.sub(r"[-+]?\d[\d.e+-]*", "N", text)
            groups.setdefault(key, (text, []))[1].append(record.number)
    found = [Failure(cause=cause, text=text, numbers=tuple(numbers)) for (cause, _), (text, numbers) in groups.items()]
    return tuple(sorted(found, key=lambda failure: -len(failure.numbers)))


def _text_of(snapshot: Snapshot) -> str:
    try:
        return snapshot.folder.study_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
