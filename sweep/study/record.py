"""The record of a trial: the same in the database, in `trial.json` and in `sweep trials --format json`."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sweep.study.code.digest import codes_in
from sweep.study.seeds import derive_seed
from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Params, Scalar, TrialResult, TrialState, with_tuples

_ON = " on "  # between a device and its node


def device_on(device: str, node: str) -> str:
    """Return the name of a device of a node; one that was of another node moves to this one."""
    return f"{device.partition(_ON)[0]}{_ON}{node}"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A period in which a trial occupied a slot; a trial that was resumed has several.

    Attributes:
        slot: the slot's index.
        started, ended: ISO 8601 in UTC. Until the period ends, and if the runner was killed, `ended` is the last message's time.
        how: the name of a final state, `stopped`, `died`, or `put back`; None until the period ends.
    """

    slot: int
    started: str
    ended: str
    how: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """All data of a trial, or of one of its runs if the study repeats each trial (`sweep.study.repeats`).

    Attributes:
        number: identifies the trial; it never changes. In a grid it is the index in the grid's order.
        repeat: the index of the run in the trial; 0 for a whole trial.
        value: the last objective value; None until it is reported.
        folder: name of the run folder inside the study's folder.
        started, ended: ISO 8601 in UTC; None if it has not started or ended. `started` is that of the last attempt.
        duration_s: the time of training in all attempts that count.
        cause: the reason of a failure, as `TrialResult.cause`.
        step, total: the last reported step and the expected number of steps, while it runs.
        code: the digest of the code that trained it (`sweep.study.code`), several joined by `+`; None if it is unknown.
        spans: the periods in which it occupied a slot, the first attempt first.
        group: the number and the repeat of each run that was trained together with it, itself included; empty if it was alone.
        user_attrs: what the objective has said of it (`Trial.set_user_attr`).
        dropped: the user has taken the trial out of every ranking and statistic (`sweep.storage.remarks`).
        note: what the user has said of it.
        standard_error: of `value` as the mean of several runs; None for one run.
        runs: the started runs of a trial that is repeated.
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
    code: str | None = None
    spans: tuple[Span, ...] = ()
    repeat: int = 0
    group: tuple[tuple[int, int], ...] = ()
    user_attrs: dict[str, Any] = field(default_factory=dict)
    dropped: bool = False
    note: str | None = None
    standard_error: float | None = None
    runs: tuple[TrialRecord, ...] = ()

    @property
    def node(self) -> str:
        """Return the node of a cluster on which it ran last; empty for this machine."""
        return (self.device or "").partition(_ON)[2]

    @property
    def key(self) -> tuple[int, int]:
        """Return what identifies the run: the trial's number and the repeat."""
        return self.number, self.repeat

    @property
    def is_first(self) -> bool:
        """Return whether the run is the first of its trial's, which alone Optuna stores and the pruner judges."""
        return self.repeat == 0

    @property
    def has_failed(self) -> bool:
        """Return whether it has failed and counts: what the user has dropped does not."""
        return self.state is TrialState.FAILED and not self.dropped

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `from_json`: that of a run, without remarks and what `sweep.study.repeats` computes."""
        own = vars(self)
        data = {name: own[name] for name in _NAMES}
        data["state"], data["spans"] = str(self.state), [dict(vars(span)) for span in self.spans]
        data["group"] = [list(key) for key in self.group]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrialRecord:
        """Read the result of `to_json`; unknown keys, of a newer version, are ignored."""
        kept = {key: value for key, value in data.items() if key in _STORED}
        parts = ({key: value for key, value in span.items() if key in _SPAN} for span in kept.get("spans", ()))
        params = {name: with_tuples(value) for name, value in data["params"].items()}
        own = {"state": TrialState(data["state"]), "params": params, "spans": tuple(Span(**part) for part in parts)}
        own["group"] = tuple((int(number), int(repeat)) for number, repeat in kept.get("group", ()))
        return cls(**(kept | own))


_ELSEWHERE = ("dropped", "note", "standard_error", "runs")
_NAMES = tuple(item.name for item in dataclasses.fields(TrialRecord) if item.name not in _ELSEWHERE)
_STORED = frozenset(_NAMES)
_SPAN = frozenset(item.name for item in dataclasses.fields(Span))


def planned_record(study: StudySpec, number: int, params: dict[str, Scalar], repeat: int = 0) -> TrialRecord:
    """Return the record of a run that has not started, with its seed and the name of its run folder.

    The seed is the same for every assignment, so that two of them differ only in their hyperparameters. The repeat, or a
    parameter `seed`, selects another one.
    """
    return TrialRecord(
        number=number,
        repeat=repeat,
        state=TrialState.WAITING,
        params=params,
        seed=derive_seed(study.seed, "repeat", str(params.get(SEED, repeat))),
        folder=run_folder_name(number, params, swept(study.parameters), repeat if study.repeats > 1 else None),
    )


# TensorBoard adds a long file name below the folder; most file systems limit a name to 255 bytes.
_LONGEST_TAG = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def run_folder_name(number: int, params: Params, swept: list[str], repeat: int | None = None) -> str:
    """Return a run folder's name: the zero-padded number, the swept parameters, and the repeat if there are several.

    The name contains no path separator and no character that is special in a shell. For the first ten thousand trials it has
    about 126 characters at most: a longer list of parameters is cut and gets a short hash of the whole.
    """
    values = {name: params[name] for name in swept if name in params}
    tag = "".join(f"_{name}={_tag_value(value)}" for name, value in values.items())
    if len(tag) > _LONGEST_TAG:
        digest = hashlib.sha256(tag.encode()).hexdigest()[:8]
        tag = f"{tag[: _LONGEST_TAG - 9]}-{digest}"
    return f"{number:04d}{tag}" + (f"_repeat={repeat}" if repeat is not None else "")


def _tag_value(value: Scalar) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_tag_value, value))
    return _UNSAFE.sub("-", f"{value:.6g}" if isinstance(value, float) else str(value))


def now_text() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def started_now(record: TrialRecord, slot: int) -> TrialRecord:
    """Return the record of a run that starts in a slot, without what its last attempt has reported."""
    now = now_text()
    nothing: dict[str, Any] = dict.fromkeys(("value", "step", "total", "duration_s", "ended", "error", "cause"))
    nothing |= {"metrics": {}, "user_attrs": {}}
    spans = (*record.spans, Span(slot=slot, started=now, ended=now))
    return replace(record, state=TrialState.RUNNING, attempts=record.attempts + 1, started=now, spans=spans, **nothing)


def ended_now(record: TrialRecord, result: TrialResult, metric: str, seconds: float) -> TrialRecord:
    """Return the record of a run that ends with this result after this many seconds; `metric` is the first one's name."""
    return replace(
        with_span_to_now(record, str(result.state)),
        state=result.state,
        metrics=result.metrics,
        value=result.metrics.get(metric),
        duration_s=round(seconds, 3),
        ended=now_text(),
        error=result.error,
        cause=result.cause,
        user_attrs=result.user_attrs or record.user_attrs,
    )


def with_span_to_now(record: TrialRecord, how: str | None = None) -> TrialRecord:
    """Return a record whose last span reaches until now, and ends there if `how` is given; a span that has ended stays."""
    *before, last = record.spans
    return record if last.how else replace(record, spans=(*before, replace(last, ended=now_text(), how=how)))


def several_codes(records: Iterable[TrialRecord]) -> bool:
    """Return whether different code has trained these trials, as far as it is known."""
    return len({code for record in records for code in codes_in(record.code)}) > 1


def metric_names(records: Iterable[TrialRecord]) -> list[str]:
    """Return the names of all metrics in the order in which the trials report them."""
    return list(dict.fromkeys(name for record in records for name in record.metrics))
