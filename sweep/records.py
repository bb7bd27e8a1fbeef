"""What is kept of a trial: one record, in the database, in `trial.json` and in `sweep trials --format json` alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sweep.front import in_order
from sweep.layout import run_folder_name
from sweep.space import swept
from sweep.study import SEED, StudySpec, derive_seed
from sweep.trial import Scalar, TrialState


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time in which a trial held a slot; one that is resumed has several.

    Attributes:
        slot: the slot's index.
        started, ended: ISO 8601 in UTC. While it lasts, and of a runner that was killed, `ended` is the last sign of life.
        how: a finished state's name, `stopped`, or `died`; None while it lasts.
    """

    slot: int
    started: str
    ended: str
    how: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """Everything known of a trial.

    Attributes:
        number: its own for ever; in a grid the place in the grid's order.
        value: the objective's last value; None until it is reported.
        folder: name of the run folder inside the study's folder.
        started, ended: ISO 8601 in UTC, `started` of the last attempt; None when it has not.
        duration_s: how long it was trained, over all attempts that count.
        cause: why it failed, as `TrialResult.cause`.
        step, total: the last reported step and how many are expected, while it runs.
        spans: when it held which slot, the first attempt first.
    """

    number: int
    state: TrialState
    params: dict[str, Scalar]
    seed: int
    folder: str
    metrics: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    attempts: int = 0
    started: str | None = None
    ended: str | None = None
    duration_s: float | None = None
    error: str | None = None
    cause: str | None = None
    device: str | None = None
    step: int | None = None
    total: int | None = None
    spans: tuple[Span, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return dataclasses.asdict(self) | {"state": str(self.state), "spans": [dataclasses.asdict(span) for span in self.spans]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialRecord:
        """Read what `to_json` made; unknown keys, of a newer version, are left out."""
        known = {item.name for item in dataclasses.fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        parts = {item.name for item in dataclasses.fields(Span)}
        spans = tuple(Span(**{key: value for key, value in span.items() if key in parts}) for span in kept.get("spans", ()))
        return cls(**(kept | {"state": TrialState(data["state"]), "spans": spans}))


def planned_record(study: StudySpec, number: int, params: dict[str, Scalar]) -> TrialRecord:
    """Return the record of a trial that is planned and has not started: its seed and its run folder are known.

    The seed is the same for every assignment, so that two of them differ by their hyperparameters alone; a parameter
    `seed` chooses another one.
    """
    repeat = params.get(SEED, 0)
    return TrialRecord(
        number=number,
        state=TrialState.WAITING,
        params=params,
        seed=derive_seed(study.seed, "repeat", str(repeat)),
        folder=run_folder_name(number, params, swept(study.parameters)),
    )


def complete_of(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that have a value."""
    return [record for record in records if record.state is TrialState.COMPLETE and record.value is not None]


def ranked(records: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return the complete trials, best first; the earlier one first among equals. See `sweep.front` for several metrics."""
    return in_order(complete_of(records), study)


def counts(records: Iterable[TrialRecord], total: int | None) -> dict[str, int]:
    """Return the number of trials in each state; those not yet planned are waiting."""
    result = dict.fromkeys((str(state) for state in TrialState), 0)
    for record in records:
        result[str(record.state)] += 1
    if total is not None:
        result["waiting"] += max(0, total - sum(result.values()))
    return result


def eta_s(records: Iterable[TrialRecord], total: int | None, clock: datetime) -> float | None:
    """Estimate the seconds until the last trial ends, from the mean duration of the complete ones and what runs now.

    None when nothing runs, nothing is complete yet, or the number of trials is open.
    """
    records = list(records)
    durations = [r.duration_s for r in records if r.state is TrialState.COMPLETE and r.duration_s is not None]
    running = [r for r in records if r.state is TrialState.RUNNING and r.started is not None]
    if not durations or not running or total is None:
        return None
    mean = sum(durations) / len(durations)
    left = mean * counts(records, total)["waiting"]
    for record in running:
        elapsed = (clock - datetime.fromisoformat(record.started or "")).total_seconds()
        left += max(0.0, mean - elapsed)
    return left / len(running)
