"""What is kept of a trial: one record, in the database, in `trial.json` and in `sweep trials --format json` alike."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sweep.storage.folder import run_folder_name
from sweep.study.ranking import in_order
from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec, derive_seed
from sweep.study.trial import Scalar, TrialState


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
    """Everything known of a trial, or of one of its runs where a study repeats each (`sweep.study.repeats`).

    Attributes:
        number: its own for ever; in a grid the place in the grid's order.
        repeat: which of the trial's runs it is; 0 of a whole trial.
        value: the objective's last value; None until it is reported.
        folder: name of the run folder inside the study's folder.
        started, ended: ISO 8601 in UTC, `started` of the last attempt; None when it has not.
        duration_s: how long it was trained, over all attempts that count.
        cause: why it failed, as `TrialResult.cause`.
        step, total: the last reported step and how many are expected, while it runs.
        spans: when it held which slot, the first attempt first.
        standard_error: of `value` as the mean of several runs; None of one.
        runs: of a trial that is repeated, those that were started.
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
    repeat: int = 0
    standard_error: float | None = None
    runs: tuple[TrialRecord, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Return what tells this run from all others: the trial's number and the repeat."""
        return self.number, self.repeat

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads: of a run, without what `sweep.study.repeats` computes."""
        data = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name in _STORED}
        return data | {"state": str(self.state), "spans": [dataclasses.asdict(span) for span in self.spans]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialRecord:
        """Read what `to_json` made; unknown keys, of a newer version, are left out."""
        kept = {key: value for key, value in data.items() if key in _STORED}
        parts = ({key: value for key, value in span.items() if key in _SPAN} for span in kept.get("spans", ()))
        return cls(**(kept | {"state": TrialState(data["state"]), "spans": tuple(Span(**part) for part in parts)}))


_STORED = frozenset(item.name for item in dataclasses.fields(TrialRecord)) - {"standard_error", "runs"}
_SPAN = frozenset(item.name for item in dataclasses.fields(Span))


def planned_record(study: StudySpec, number: int, params: dict[str, Scalar], repeat: int = 0) -> TrialRecord:
    """Return the record of a run that is planned and has not started: its seed and its run folder are known.

    The seed is the same for every assignment, so that two of them differ by their hyperparameters alone; the repeat, or a
    parameter `seed`, chooses another one.
    """
    return TrialRecord(
        number=number,
        repeat=repeat,
        state=TrialState.WAITING,
        params=params,
        seed=derive_seed(study.seed, "repeat", str(params.get(SEED, repeat))),
        folder=run_folder_name(number, params, swept(study.parameters), repeat if study.repeats > 1 else None),
    )


def complete_of(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that have a value."""
    return [record for record in records if record.state is TrialState.COMPLETE and record.value is not None]


def ranked(records: Iterable[TrialRecord], study: StudySpec) -> list[TrialRecord]:
    """Return the complete trials, best first; the earlier one first among equals."""
    return in_order(complete_of(records), study)


class Tally:
    """How many runs are in which state, and how long they take; kept up as they change, whatever their number."""

    def __init__(self, runs: Iterable[TrialRecord] = ()) -> None:
        self._runs: dict[tuple[int, int], TrialRecord] = {}
        self._states: collections.Counter[TrialState] = collections.Counter()
        self._running: dict[tuple[int, int], TrialRecord] = {}
        self._seconds, self._timed = 0.0, 0
        for run in runs:
            self.update(run)

    @property
    def runs(self) -> list[TrialRecord]:
        """Return every run, as it is now."""
        return list(self._runs.values())

    def update(self, run: TrialRecord) -> None:
        """Take a run as it is now."""
        if (before := self._runs.get(run.key)) is not None:
            self._count(before, -1)
        self._runs[run.key] = run
        self._count(run, 1)
        self._running.pop(run.key, None)
        if run.state is TrialState.RUNNING and run.started is not None:
            self._running[run.key] = run

    def counts(self, total: int | None) -> dict[str, int]:
        """Return the number of runs in each state; those not yet planned are waiting."""
        result = {str(state): self._states[state] for state in TrialState}
        if total is not None:
            result["waiting"] += max(0, total - len(self._runs))
        return result

    def eta_s(self, total: int | None, clock: datetime) -> float | None:
        """Estimate the seconds until the last run ends, from the mean duration of the complete ones and what runs now.

        None when nothing runs, nothing is complete yet, or their number is open.
        """
        running = list(self._running.values())
        if not self._timed or not running or total is None:
            return None
        mean = self._seconds / self._timed
        left = mean * self.counts(total)["waiting"]
        for run in running:
            elapsed = (clock - datetime.fromisoformat(run.started or "")).total_seconds()
            left += max(0.0, mean - elapsed)
        return left / len(running)

    def _count(self, run: TrialRecord, by: int) -> None:
        self._states[run.state] += by
        if run.state is TrialState.COMPLETE and run.duration_s is not None:
            self._seconds += by * run.duration_s
            self._timed += by
