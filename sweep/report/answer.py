"""Everything that the report, `sweep status`, `sweep best`, the end of a session and `StudyResult` say about a study's results.

It is computed here once, from the records alone, so that all of them say the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.report.comparison import Comparison, comparisons
from sweep.report.importance import Influence, influence, noise_share
from sweep.report.measured import Measured, measured
from sweep.report.settings import Setting, deviation, settings
from sweep.report.settling import Settling, settling
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord, several_codes
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What can be said about a study's results.

    Attributes:
        settings: the best first; empty if no trial is complete, or none keeps the constraints.
        metrics: of the best setting.
        deviation: the standard deviation between trainings of one setting; at most, if each was trained once. None if unknown.
        noise: the share of the differences between trials that is chance; None with one training of each setting.
        settling: what would settle which setting is the best; None if it is settled.
        ended: the number of trials in each final state.
        codes: the numbers of the trials by the code that trained them; empty if it is the same for all.
    """

    study: StudySpec
    settings: tuple[Setting, ...]
    metrics: tuple[Measured, ...]
    influence: Influence
    comparisons: tuple[Comparison, ...]
    deviation: float | None
    noise: float | None
    settling: Settling | None
    ended: dict[TrialState, int]
    codes: dict[str, list[int]]

    @property
    def repeated(self) -> bool:
        """Return whether settings were trained with several seeds."""
        return any(one.trainings > 1 for one in self.settings)

    @property
    def best(self) -> Setting | None:
        """Return the best setting; None before any trial is complete."""
        return self.settings[0] if self.settings else None


def answer(records: Sequence[TrialRecord], study: StudySpec) -> Answer:
    """Compute what can be said about a study's results from the records of its trials; dropped ones are left out."""
    records = [record for record in records if not record.dropped]
    matter = influence(records, study)
    found = settings(records, study, matter.once)
    spread = deviation(records, study)
    if spread is None and matter.once is not None:
        spread = math.sqrt(matter.once.variance)
    if spread is not None and not math.isfinite(spread):  # of huge values
        spread = None
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)
    ended = {state: sum(record.state is state for record in records) for state in states}
    return Answer(
        study=study,
        settings=tuple(found),
        metrics=measured(records, study, found[0]) if found else (),
        influence=matter,
        comparisons=tuple(comparisons(records, study)),
        deviation=spread,
        noise=noise_share(records, study) if len(complete_of(records)) > 1 else None,
        settling=settling(found, study, spread),
        ended={state: count for state, count in ended.items() if count},
        codes=_codes(records) if several_codes(records) else {},
    )


def _codes(records: Sequence[TrialRecord]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault(record.code or "unknown", []).append(record.number)
    return found
