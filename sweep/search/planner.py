"""What to try next, which running trials to prune, and when the search ends.

Grids go in their own order, and where several trials run at a time, the longest first (`sweep.search.order`): point `i` is
decoded from `i`. Optuna takes part only where a sampler draws or a pruner decides, with an in-memory study; what lasts is in
`sweep.storage`. (Optuna's GridSampler reads every trial again at each tell, counts failed points as done, and ends by raising.)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import filterfalse, islice

from sweep.search.imported import ImportedTrial
from sweep.search.optuna_study import Curve, OptunaStudy
from sweep.search.order import LongestFirst
from sweep.search.sampling import Sampling
from sweep.storage.optuna_terms import Attributes, Drawn, StoredSearch
from sweep.study.ranking import ParetoFront, complete_of, reaches_targets
from sweep.study.record import TrialRecord
from sweep.study.space import Choice, Range
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, Suggested, TrialState


class Planner:
    """Propose assignments until the study's budget is used up, and decide which running trials are pruned.

    Args:
        study: the space, the method, the pruner and the budget.
        known: the trials of earlier sessions, finished or not, in any order. None of them is proposed again; for sampler and
            pruner dropped ones have failed.
        stored: what the store holds for sampler and pruner beside the known trials.
        imported: trials of other studies, from which sampler and pruner learn.
        slots: how many trials run at a time.

    Raises:
        SweepError: as `OptunaStudy`.
    """

    def __init__(
        self,
        study: StudySpec,
        known: Iterable[TrialRecord] = (),
        *,
        stored: StoredSearch | None = None,
        imported: Sequence[ImportedTrial] = (),
        slots: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study, self._now = study, now
        self._next = 0
        found = [study.grid.find(point) for point in study.enqueue] if study.method == "grid" else []
        self._first = [number for number in found if number is not None]
        self._epochs = 0
        self._stopped_by: str | None = None
        self._deadline = None if study.budget.time_s is None else now() + study.budget.time_s
        known = sorted(known, key=lambda record: record.number)
        self._known = {record.number for record in known}
        self._order = LongestFirst(study.parameters, study.grid.point) if slots > 1 and study.in_any_order else None
        for record in complete_of(known):
            self.takes(record.number, record.params, (record.duration_s or 0.0) / max(1, len(record.runs)))
        self._optuna = OptunaStudy(study, known, stored, imported) if needs_optuna(study) else None
        self._sampling = None
        if self._optuna is not None and study.method != "grid" and not study.suggests:
            self._sampling = Sampling(study, self._optuna, known)
        self._count_ended(known)

    @property
    def ended_by(self) -> str | None:
        """Return what ended the search (if the last trial has ended too); None while there is more to propose."""
        self._stopped_by = self._stopped_by or self._stop_reason()  # the results of running trials do not undo it
        if self._stopped_by:
            return self._stopped_by
        total = self.study.total
        return "all trials are done" if total is not None and len(self._known) >= total else None

    def _stop_reason(self) -> str | None:
        budget, targets = self.study.budget, [metric for metric in self.study.metrics if metric.target is not None]
        if self._reached and not self.study.multi_objective:
            return f"the target {targets[0].target:g} is reached"
        if self._reached:
            names = ", ".join(f"{metric.name} {metric.target:g}" for metric in targets)
            return f"a trial reached the target{'s' * (len(targets) > 1)} {names}"
        if budget.patience is not None and self._since_best >= budget.patience:
            return f"{budget.patience} trials brought no new best"
        if budget.epochs is not None and self._epochs >= budget.epochs:
            return f"the {budget.epochs} epochs are used up"
        if self._sampling is not None and self._sampling.exhausted:
            return "every point of the space is tried"
        return "the time is used up" if self.time_is_up else None

    @property
    def time_is_up(self) -> bool:
        """Return whether no trial may start any more, not even one that was interrupted."""
        return self._deadline is not None and self._now() >= self._deadline

    def ask(self) -> tuple[int, dict[str, Scalar]] | None:
        """Return the next trial's number and all its parameters, or None when the search has ended.

        There are none where functions suggest their own: `suggest` is asked for each.
        """
        if self.ended_by is not None:
            return None
        number = self._place()
        self._known.add(number)
        if self._sampling is not None:
            return number, self._sampling.draw(number)
        if self._optuna is not None:
            if self.study.suggests:
                self._optuna.begin(number, self.study.enqueue[number] if number < len(self.study.enqueue) else None)
                return number, {}
            self._optuna.begin(number)
        return number, self.study.grid.point(number)

    def take(self, number: int) -> dict[str, Scalar] | None:
        """Return all parameters of one point of a grid, or None if it was planned before or the search has ended."""
        if number in self._known or self.ended_by is not None:
            return None
        self._known.add(number)
        if self._order is not None:
            self._order.taken(number)
        if self._optuna is not None:
            self._optuna.begin(number)
        return self.study.grid.point(number)

    def _place(self) -> int:
        """Return the next trial's number: of a grid's points to try first, else of a longest trial, else the first unused one."""
        for number in self._first:
            if number not in self._known:
                return number
        if self._order is not None:
            count = (self.study.total or 0) - len(self._known)
            chosen = self._order.choose(count, lambda: islice(filterfalse(self._known.__contains__, itertools.count()), count))
            if chosen is not None:
                return chosen
        while self._next in self._known:
            self._next += 1
        return self._next

    def suggest(self, number: int, name: str, domain: Choice | Range) -> tuple[Suggested, Drawn | None]:
        """Return the value of a parameter that a trial's function asks for, and what is to be stored of it."""
        assert self._optuna is not None  # no grid
        return self._optuna.suggest(number, name, domain)

    def drawn(self, number: int) -> Drawn | None:
        """Return what is to be stored of the last ask, which was for this trial, so that a resumed study proposes the same."""
        return None if self._optuna is None else self._optuna.drawn(number)

    @property
    def drawn_again(self) -> int:
        """Return the number of proposals that were replaced because they equalled another trial."""
        return 0 if self._optuna is None else self._optuna.discarded

    def rewind(self, number: int, history: Curve) -> None:
        """Record where a trial continues: step and objective value of each report until then; nothing if it starts over."""
        if self._optuna is not None:
            self._optuna.rewind(number, history)

    def prunes(self, number: int, step: int, value: float | None) -> bool:
        """Record a report; return whether the trial is pruned there. The answer for the same step stays the same."""
        return self._optuna is not None and value is not None and self._optuna.report(number, step, value)

    def rungs(self, number: int) -> Attributes:
        """Return the rungs that the pruner recorded for a trial, which are to be stored."""
        return {} if self._optuna is None else self._optuna.rungs(number)

    def trained(self, epochs: int) -> None:
        """Record how many epochs all trials together have been trained."""
        self._epochs = epochs

    def takes(self, number: int, params: Params, seconds: float) -> None:
        """Record how long a trial took, or is expected to take."""
        if self._order is not None:
            self._order.durations.learn(number, params, seconds)

    def tell(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float] | None = None) -> None:
        """Record how a trial ended.

        Args:
            number: the trial's.
            state: how it ended.
            value: the first metric's; None unless the trial is complete.
            metrics: its last values by tag; the first metric's may be missing.
        """
        if self._optuna is not None:
            self._optuna.tell(number, state, value, metrics or {})
        self._count(number, state, value, metrics or {})

    def remarked(self, known: Iterable[TrialRecord], changed: Iterable[TrialRecord]) -> None:
        """Count what has ended again, after trials were dropped or taken back.

        Args:
            known: all trials of the study.
            changed: those of them that were dropped or taken back.
        """
        if self._optuna is not None:
            for record in changed:
                (self._optuna.drop if record.dropped else self._optuna.take_back)(record.number)
        self._stopped_by = None
        self._count_ended(known)

    def _count_ended(self, known: Iterable[TrialRecord]) -> None:
        self._front, self._reached, self._since_best = ParetoFront(self.study), False, 0
        # In the order in which they ended: the patience depends on it.
        counted = (record for record in known if record.state.finished and not record.dropped)
        for record in sorted(counted, key=lambda record: record.ended or ""):
            self._count(record.number, record.state, record.value, record.metrics)

    def _count(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> None:
        self._since_best += 1
        if state is not TrialState.COMPLETE or value is None:
            return
        if self._front.add(number, value, metrics).new_best:
            self._since_best = 0
        self._reached = self._reached or reaches_targets(self.study, value, metrics)


def needs_optuna(study: StudySpec) -> bool:
    """Return whether Optuna takes part: a sampler draws, or a pruner decides."""
    return study.method != "grid" or study.prunes
