"""Which runs are trained together: a function of the study file and of what the objective allows, never of timing.

The runs of a group differ only in parameters that the objective names (`train.fused.varies`). The repeats of a trial come first,
then the trials of a grid in the order of their numbers. A method that learns proposes one trial after the other, so only the
repeats of a trial are a group there. With a pruner the repeats of a trial wait for its first run, and only first runs are a
group.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.study.spec import SEED, StudySpec

Key = tuple[int, int]  # a run's: the number of its trial, and the repeat
# A grid of more points is not searched for trials with equal parameters; the repeats of a trial are still a group.
_MOST_POINTS = 100_000


def why_none(study: StudySpec, varies: Sequence[str] | None) -> str:
    """Return why no runs of a study are trained together, or an empty text.

    Args:
        study: whose runs.
        varies: see `Groups`; None if the objective trains one trial at a time.
    """
    if varies is None:
        return "the objective has no train.fused, and trains one trial at a time"
    if study.suggests:
        return "a function that suggests its own parameters is asked for one trial after the other"
    if study.method != "grid" and study.repeats == 1:
        return f"method {study.method} proposes one trial after the other, and each trial is trained once"
    if study.method != "grid" and study.prunes:
        return f"method {study.method} proposes one trial after the other, and with a pruner its repeats wait for the first one"
    return ""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of a study.

    Attributes:
        study: whose runs.
        varies: the parameters in which the members of a group may differ.
        size: how many members a group may have; 1 where `why_none` has a reason.
    """

    study: StudySpec
    varies: tuple[str, ...]
    size: int

    def of(self, key: Key, size: int | None = None) -> Sequence[Key]:
        """Return the members of a run's group, in order, itself included; a smaller `size` divides the group."""
        whole = self._whole(key)
        if size is None or size >= len(whole):
            return whole
        start = whole.index(key) // size * size
        return whole[start : start + size]

    def _whole(self, key: Key) -> Sequence[Key]:
        number, repeat = key
        study = self.study
        repeats = 1 if study.prunes else study.repeats
        if self.size < 2 or repeat >= repeats or (repeats > 1 and SEED not in self.varies):
            return (key,)
        numbers = self._equal.get(self._fixed(number), []) if self._equal else []
        numbers = numbers if number in numbers else [number]  # of a point to try first, its budget leaves out others
        runs = [(number, repeat) for number in numbers for repeat in range(repeats)]
        start = runs.index(key) // self.size * self.size
        return runs[start : start + self.size]

    @functools.cached_property
    def _equal(self) -> dict[tuple[tuple[str, object], ...], list[int]]:
        """Return the numbers of a grid's points by the parameters that a group has in common."""
        found: dict[tuple[tuple[str, object], ...], list[int]] = {}
        points = self.study.total if self.study.method == "grid" else None
        if points is not None and points <= _MOST_POINTS:
            for number in range(points):
                found.setdefault(self._fixed(number), []).append(number)
        return found

    def _fixed(self, number: int) -> tuple[tuple[str, object], ...]:
        point = self.study.grid.point(number)
        return tuple((name, repr(value)) for name, value in point.items() if name not in self.varies)
