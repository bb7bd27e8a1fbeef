"""The metrics of the best setting, with intervals that say what they are about.

After one training an accuracy has Wilson's interval: it is about this trained network on data like the test set. With several
seeds the interval is about the setting: it is that of the same model as for the objective, and for an accuracy it includes that
all networks were tested on the same few samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweep.report.best_setting import posterior
from sweep.report.intervals import wilson
from sweep.report.settings import Key, Setting, by_setting, factors, table
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord, metric_names
from sweep.study.repeats import trainings
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar

_SAMPLES = "samples"
_MAIN = 2
_BOOKKEEPING = {_SAMPLES, "seconds", "time", "duration", "epoch", "step"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of the best setting: its mean over the seeds or its only value, with its 95 % interval.

    Attributes:
        about: what the interval is about: this trained `network`, or the `setting` with any seed.
        samples: the number of test samples, if the metric is a share of them.
        bookkeeping: a count or a time, which tells little about the result.
        selected: the only training was selected by this value, so that no interval holds.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    about: Literal["network", "setting"] | None = None
    samples: int | None = None
    bookkeeping: bool = False
    selected: bool = False


def measured(records: Iterable[TrialRecord], study: StudySpec, best: Setting) -> tuple[Measured, ...]:
    """Return the metrics that every result of the best setting has, the study's own first, bookkeeping last."""
    complete = complete_of(trainings(records))
    names = factors(study)
    groups = by_setting(complete, names)
    key = tuple(best.params.get(name) for name in names)
    chosen = list(groups[key].values())
    found = []
    for name in metric_names(chosen):
        if any(name not in record.metrics for record in chosen):
            continue
        group, _, kind = name.rpartition("/")
        samples = int(chosen[0].metrics.get(f"{group}/{_SAMPLES}", 0)) if kind == "accuracy" else 0
        having = {key: {seed: r for seed, r in seeds.items() if name in r.metrics} for key, seeds in groups.items()}
        values = {key: [r.metrics[name] for r in seeds.values()] for key, seeds in having.items() if seeds}
        own = values[key]
        mean = math.fsum(value / len(own) for value in own)
        low, high, about = _interval(name, [k for k in values if 2 * len(values[k]) >= len(own)], key, having, best)
        selected = name == study.metric.name and best.low is None and len(groups) > 1
        if name == study.metric.name:
            mean, low, high, about, samples = best.mean, best.low, best.high, "setting" if best.low is not None else None, 0
        elif about is None and samples and 0 <= mean <= 1 and len(own) == 1:
            (low, high), about = wilson(mean, samples), "network"
        elif samples and low is not None and high is not None and 0 <= mean <= 1:
            below, above = wilson(mean, samples)
            low, high = mean - math.hypot(mean - low, mean - below), mean + math.hypot(high - mean, above - mean)
        found.append(
            Measured(
                name=name,
                value=mean,
                low=low,
                high=high,
                about=about,
                samples=samples or None,
                selected=selected,
                bookkeeping=name not in study.needed and (kind in _BOOKKEEPING or _counts(name, complete)),
            )
        )
    return tuple(sorted(found, key=lambda item: (item.bookkeeping, *_order(item.name, study))))


def main_metrics(records: Sequence[TrialRecord], study: StudySpec) -> list[str]:
    """Return the few metrics that tell most beside the objective: of the same group, and the same one of a test."""
    group, _, kind = study.metric.name.rpartition("/")
    names = [name for name in metric_names(records) if name.rpartition("/")[2] not in _BOOKKEEPING]
    same = [name for name in names if group and name.rpartition("/")[0] == group and not _counts(name, records)]
    return [*same[:_MAIN], *(name for name in names if group != "test" and name == f"test/{kind}")]


def _counts(name: str, records: Iterable[TrialRecord]) -> bool:
    """Return whether a metric is a count."""
    values = [float(record.metrics[name]) for record in records if name in record.metrics]
    return all(value.is_integer() for value in values) and max(values, default=0.0) > 1


def _interval(
    name: str, keys: Sequence[Key], key: Key, having: Mapping[Key, Mapping[Scalar, TrialRecord]], best: Setting
) -> tuple[float | None, float | None, Literal["network", "setting"] | None]:
    """Return the interval of the setting's mean; None with one training of each, or without any difference."""
    values = table({key: having[key] for key in keys}, lambda record: record.metrics[name])
    if (~np.isnan(values)).sum() == len(values) or np.nanmax(values) == np.nanmin(values) or best.low is None:
        return None, None, None
    known, at = posterior(values), list(keys).index(key)
    return float(known.low[at]), float(known.high[at]), "setting"


def _order(name: str, study: StudySpec) -> tuple[int, int]:
    """Return the place of a metric: the study's own, then those of a test, of validation, of training, and others."""
    own = study.needed.index(name) if name in study.needed else len(study.needed)
    groups = ("test", "validation", "val", "train")
    group = name.partition("/")[0]
    return own, groups.index(group) if group in groups else len(groups)
