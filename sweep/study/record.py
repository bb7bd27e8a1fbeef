"""What is kept of a trial: one record, in the database, in `trial.json` and in `sweep trials --format json` alike."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec, derive_seed
from sweep.study.trial import Params, Scalar, TrialState


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


# TensorBoard adds its own long file name below the folder; most file systems end a name at 255 bytes.
_LONGEST_TAG = 120


_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def run_folder_name(number: int, params: Params, swept: list[str], repeat: int | None = None) -> str:
    """Return a run folder's name: the zero-padded number, the comment tag of the swept parameters, which repeat if there are any.

    Never a path separator or a character that a shell would take for its own, never much longer than 126 characters
    for the first ten thousand trials: a longer tag is cut and closed with a short hash of the whole.
    """
    tag = "".join(f"_{name}={_word(params[name])}" for name in swept if name in params)
    if len(tag) > _LONGEST_TAG:
        digest = hashlib.sha256(tag.encode()).hexdigest()[:8]
        tag = f"{tag[: _LONGEST_TAG - 9]}-{digest}"
    return f"{number:04d}{tag}" + (f"_repeat={repeat}" if repeat is not None else "")


def _word(value: Scalar) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _UNSAFE.sub("-", text)
