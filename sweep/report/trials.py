"""Which trials are trainings of one setting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweep.study.record import TrialRecord
from sweep.study.space import swept
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar

Key = tuple[Scalar, ...]


def factors(study: StudySpec) -> list[str]:
    """Return the swept hyperparameters, without the seed."""
    return [name for name in swept(study.parameters) if name != SEED]


def key_of(record: TrialRecord, names: Iterable[str]) -> Key:
    """Return a trial's values of some parameters."""
    return tuple(record.params.get(name) for name in names)


def by_setting(complete: Iterable[TrialRecord], names: Sequence[str]) -> dict[Key, dict[Scalar, TrialRecord]]:
    """Return the trials of each setting by seed; of several with the same seed only the first, since the others repeat it."""
    groups: dict[Key, dict[Scalar, TrialRecord]] = {}
    for record in complete:
        groups.setdefault(key_of(record, names), {}).setdefault(record.params.get(SEED), record)
    return groups


def value_of(record: TrialRecord) -> float:
    """Return the objective's value of a complete trial."""
    assert record.value is not None
    return record.value
