"""What to try next: a grid in its own order, or Optuna's samplers, explainable as minituna with processes.

The planner holds an Optuna study in memory for the sampler's sake only (0.3 ms a trial, against 20 ms through SQLite);
what lasts is `storage`'s. Two decisions follow from "results depend on neither workers nor interruptions":

- The sampler is made anew for each ask from (study seed, trial number): a sampler seeded once would propose its first
  points again after a resume, and would depend on how often it was asked.
- A grid never meets Optuna: point `i` is decoded from `i`. (GridSampler rescans every trial at every tell, counts failed
  points as visited, and raises at the end.)
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sweep.records import TrialRecord
from sweep.space import constants, distributions
from sweep.study import StudySpec, derive_seed
from sweep.trial import Scalar, TrialState

if TYPE_CHECKING:
    import optuna


class Planner:
    """Propose assignments until the study's budget is used up.

    Args:
        study: the space, the method and the budget.
        known: the trials that exist already, finished or in flight, in any order. A trial in flight is not proposed again.
    """

    def __init__(self, study: StudySpec, known: Iterable[TrialRecord] = ()) -> None:
        self.study = study
        self._known: set[int] = set()
        self._next = 0
        self._values: list[float] = []
        self._since_best = 0
        self._stopped_by: str | None = None
        self._deadline = None if study.budget.time_s is None else time.monotonic() + study.budget.time_s
        self._sampler_study = None if study.method == "grid" else _SamplerStudy(study)
        known = sorted(known, key=lambda record: record.number)
        for record in known:
            self._known.add(record.number)
            if self._sampler_study is not None:
                self._sampler_study.remember(record)
        # In the order in which they ended, for the patience.
        for record in sorted((r for r in known if r.state.finished), key=lambda record: record.ended or ""):
            self._count(record.state, record.value)

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
        target, sign = self.study.metric.target, self.study.metric.sign
        if target is not None and any(sign * value >= sign * target for value in self._values):
            return f"the target {target:g} is reached"
        patience = self.study.budget.patience
        if patience is not None and self._since_best >= patience:
            return f"{patience} trials brought no new best"
        return "the time is used up" if self.time_is_up else None

    @property
    def time_is_up(self) -> bool:
        """Tell whether no trial may start any more, not even one that was interrupted."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def ask(self) -> tuple[int, dict[str, Scalar]] | None:
        """Return the next trial's number and all its parameters, or None when the search has ended."""
        if self.ended_by is not None:
            return None
        while self._next in self._known:
            self._next += 1
        number = self._next
        self._known.add(number)
        if self._sampler_study is None:
            return number, self.study.grid.point(number)
        chosen = self._sampler_study.ask(number)
        fixed = constants(self.study.parameters)
        return number, {name: fixed[name] if name in fixed else chosen[name] for name in self.study.parameters}

    def tell(self, number: int, state: TrialState, value: float | None) -> None:
        """Learn how a trial ended; `value` is None unless it is complete."""
        if self._sampler_study is not None:
            self._sampler_study.tell(number, state, value)
        self._count(state, value)

    def _count(self, state: TrialState, value: float | None) -> None:
        self._since_best += 1
        if state is TrialState.COMPLETE and value is not None:
            sign = self.study.metric.sign
            if all(sign * value > sign * other for other in self._values):
                self._since_best = 0
            self._values.append(value)


class _SamplerStudy:
    """An in-memory Optuna study whose trial numbers are ours."""

    def __init__(self, study: StudySpec) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = study
        self._optuna = optuna.create_study(direction=optuna.study.StudyDirection[study.metric.goal.upper()])
        self._distributions = distributions(study.parameters)

    def remember(self, record: TrialRecord) -> None:
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        state = {
            TrialState.COMPLETE: OptunaState.COMPLETE,
            TrialState.PRUNED: OptunaState.PRUNED,
            TrialState.FAILED: OptunaState.FAIL,
        }.get(record.state, OptunaState.RUNNING)
        self._optuna.add_trial(
            create_trial(
                state=state,
                value=record.value if state is OptunaState.COMPLETE else None,
                params={name: record.params[name] for name in self._distributions},
                distributions=self._distributions,
            )
        )

    def ask(self, number: int) -> dict[str, Any]:
        self._optuna.sampler = make_sampler(self._study.method, derive_seed(self._study.seed, "sampler", number))
        trial = self._optuna.ask(self._distributions)
        assert trial.number == number, f"Optuna numbered trial {number} as {trial.number}"
        return trial.params

    def tell(self, number: int, state: TrialState, value: float | None) -> None:
        from optuna.trial import TrialState as OptunaState

        if state is TrialState.COMPLETE:
            self._optuna.tell(number, value)
        else:
            self._optuna.tell(number, state=OptunaState.PRUNED if state is TrialState.PRUNED else OptunaState.FAIL)


def make_sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return Optuna's sampler of that name with its own defaults.

    Raises:
        ValueError: there is no sampler for the method.
    """
    import optuna

    if method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if method == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    raise ValueError(f"no sampler for method {method!r}")
