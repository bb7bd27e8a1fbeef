"""What to try next: a grid in its own order, or Optuna's samplers, explainable as minituna with processes; and what to give up.

Samplers and pruners look at a mirror of the study in memory; what lasts is `storage`'s. A grid that is not pruned never
meets Optuna: point `i` is decoded from `i`, and where several run at a time, the longest are started first (`costs`).
(GridSampler rescans every trial at every tell, counts failed points as visited, and raises at the end.)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import filterfalse, islice

from sweep.search.imported import ImportedTrial
from sweep.search.optuna_study import Curve, OptunaStudy
from sweep.search.order import LongestFirst
from sweep.search.sampling import Sampling
from sweep.storage.optuna_terms import Attributes, Drawn, SamplerState
from sweep.study.ranking import ParetoFront, complete_of, reaches_targets
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, TrialState


class Planner:
    """Propose assignments until the study's budget is used up, and say which running trials are not worth finishing.

    Args:
        study: the space, the method, the pruner and the budget.
        known: the trials that exist already, finished or in flight, in any order. A trial in flight is not proposed again.
        memory, attributes: what the store kept of the sampler's and the pruner's, and of what they wrote down about each trial.
        curves: what each of those trials reported: step and objective.
        prior: what samplers and pruners know from other studies.
        slots: how many trials run at a time.

    Raises:
        SweepError: see `OptunaStudy.remember`.
    """

    def __init__(
        self,
        study: StudySpec,
        known: Iterable[TrialRecord] = (),
        memory: SamplerState | None = None,
        attributes: Mapping[int, Attributes] | None = None,
        curves: Mapping[int, Curve] | None = None,
        prior: Sequence[ImportedTrial] = (),
        slots: int = 1,
    ) -> None:
        self.study = study
        self._next = 0
        found = [study.grid.find(point) for point in study.enqueue] if study.method == "grid" else []
        self._first = [number for number in found if number is not None]
        self._front = ParetoFront(study)
        self._reached = False
        self._since_best = 0
        self._epochs = 0
        self._stopped_by: str | None = None
        self._deadline = None if study.budget.time_s is None else time.monotonic() + study.budget.time_s
        known = sorted(known, key=lambda record: record.number)
        self._known = {record.number for record in known}
        self._order = LongestFirst(study.parameters, study.grid.point) if slots > 1 and study.in_any_order else None
        for record in complete_of(known):
            self.takes(record.number, record.params, (record.duration_s or 0.0) / max(1, len(record.runs)))
        self._mirror = OptunaStudy(study, memory, prior) if needs_optuna(study) else None
        self._sampling = None
        if self._mirror is not None:
            self._mirror.remember(known, attributes or {}, curves or {})
            if study.method != "grid":
                self._sampling = Sampling(study, self._mirror, known)
        # In the order in which they ended, for the patience.
        for record in sorted((r for r in known if r.state.finished), key=lambda record: record.ended or ""):
            self._count(record.number, record.state, record.value, record.metrics)

    @property
    def ended_by(self) -> str | None:
        """Say what ended the search (true once the last trial has ended), or None while there is more to propose."""
        if stopped := self.stopped_by:
            return stopped
        total = self.study.total
        return "all trials are done" if total is not None and len(self._known) >= total else None

    @property
    def stopped_by(self) -> str | None:
        """Say what ended the search before all trials are planned; once ended it stays so, whatever running trials bring."""
        self._stopped_by = self._stopped_by or self._stop_reason()
        return self._stopped_by

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
        """Tell whether no trial may start any more, not even one that was interrupted."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def ask(self) -> tuple[int, dict[str, Scalar]] | None:
        """Return the next trial's number and all its parameters, or None when the search has ended."""
        if self.ended_by is not None:
            return None
        number = self._place()
        self._known.add(number)
        if self._sampling is not None:
            return number, self._sampling.draw(number)
        if self._mirror is not None:
            self._mirror.begin(number)
        return number, self.study.grid.point(number)

    def _place(self) -> int:
        """Return the next trial's number: in a grid those of the points to try first, then the longest; else the first free."""
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

    def drawn(self, number: int) -> Drawn | None:
        """Return what must be kept of the last ask, which was for this trial, to go on as if nothing had happened."""
        return None if self._mirror is None else self._mirror.drawn(number)

    @property
    def drawn_again(self) -> int:
        """Return how many proposals equalled another trial and were replaced."""
        return 0 if self._mirror is None else self._mirror.discarded

    def rewind(self, number: int, history: Curve) -> None:
        """Learn that a trial goes on from here: step and objective of each report until then; nothing if it starts over."""
        if self._mirror is not None:
            self._mirror.rewind(number, history)

    def prunes(self, number: int, step: int, value: float | None) -> bool:
        """Learn of a report; tell whether the trial is to end there. Asked again about the same step it says the same."""
        return self._mirror is not None and value is not None and self._mirror.report(number, step, value)

    def rungs(self, number: int) -> Attributes:
        """Return what must be kept of what the pruner wrote down about a trial."""
        return {} if self._mirror is None else self._mirror.rungs(number)

    def trained(self, epochs: int) -> None:
        """Learn how many steps all trials together have been trained."""
        self._epochs = epochs

    def takes(self, number: int, params: Params, seconds: float) -> None:
        """Learn how long a trial took, or will take as far as can be told by now."""
        if self._order is not None:
            self._order.costs.learn(number, params, seconds)

    def tell(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float] | None = None) -> None:
        """Learn how a trial ended.

        Args:
            number, state: which one, and how.
            value: the first metric's; None unless it is complete.
            metrics: its last values by tag; the first metric's need not be there.
        """
        if self._mirror is not None:
            self._mirror.tell(number, state, value, metrics or {})
        self._count(number, state, value, metrics or {})

    def _count(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> None:
        self._since_best += 1
        if state is not TrialState.COMPLETE or value is None:
            return
        if self._front.add(number, value, metrics).new_best:
            self._since_best = 0
        self._reached = self._reached or reaches_targets(self.study, value, metrics)


def needs_optuna(study: StudySpec) -> bool:
    """Tell whether Optuna has a say: a sampler draws, or a pruner decides."""
    return study.method != "grid" or study.prunes
