"""The study in Optuna's own terms, in memory: what its samplers and pruners look at, and what must survive when the runner ends.

Proposals and verdicts are those of Optuna's own sampler and pruner, also when the study was interrupted in between: what they
know beside the trials (`sweep.search.sampler_state`) is written by the store in one transaction with what it belongs to.

Constraints reach the samplers as Optuna 5 has it: by how much a trial is beyond each bound is an attribute of the trial, set
before its end is told. They are made again from what the trial reported, and stand in study.db for Optuna's tools alone.

In memory a trial costs 0.3 ms; through Optuna's SQLite storage 20 ms.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweep.search.imported import ImportedTrial, imported_changed
from sweep.search.methods import make_pruner, make_sampler
from sweep.search.sampler_state import checked, resources_of, restore, restore_resources, state_of
from sweep.storage.optuna_terms import (
    OPTUNA_STATES,
    RUNG,
    Attributes,
    Drawn,
    SamplerState,
    constraint_attributes,
    directions,
    distributions,
    values_told,
)
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec, derive_seed
from sweep.study.trial import Params, TrialState

Curve = Iterable[tuple[int, float | None]]


class OptunaStudy:
    """An in-memory Optuna study; its trials have our numbers but for what came before them, and those that were discarded.

    Args:
        study: the space, the metrics, the constraints, the method and the pruner.
        memory: `Drawn.memory` of the last trial that was asked for; None if none was, or by an older version.
        prior: trials of other studies, which come first.

    Raises:
        SweepError: there was other prior knowledge when the last trial was asked for.
    """

    def __init__(self, study: StudySpec, memory: SamplerState | None = None, prior: Sequence[ImportedTrial] = ()) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study, self._memory = study, memory
        self.distributions = distributions(study.parameters)
        self.optuna = optuna.create_study(
            study_name=study.name,
            directions=directions(study),
            sampler=self._sampler(study.seed),
            pruner=make_pruner(study.pruner),
        )
        self._storage = self.optuna._storage
        self._places: dict[int, int] = {}  # where a trial stands in the Optuna study, which is its id there too
        self._size = 0
        self._discarded: dict[int, None] = dict.fromkeys(memory["discarded"]) if memory else {}
        self._verdicts: dict[int, tuple[int, bool]] = {}  # the last one on each running trial, and on which step
        self._passed: dict[int, Attributes] = {}  # rungs of trials that were started again and have not reported yet
        self._prior = len(prior)
        if memory and memory.get("prior", 0) != self._prior:
            raise imported_changed(memory.get("prior", 0), self._prior)
        for trial in prior:
            self._add(trial.state, trial.params, None if trial.value is None else [trial.value], trial.curve)

    def remember(self, records: Iterable[TrialRecord], attributes: Mapping[int, Attributes], curves: Mapping[int, Curve]) -> None:
        """Take in the trials that there are, by number, what was written down about them, and what they reported.

        Raises:
            SweepError: what a sampler had written down is not what a sampler writes.
        """
        for record in records:
            self._fill_discarded()
            self._places[record.number] = self._size
            values = values_told(self._study, record.state, record.value, record.metrics)
            written = checked(attributes.get(record.number, {}))
            written = written | constraint_attributes(self._study, record.state, record.metrics)
            self._add(record.state, record.params, values, curves.get(record.number, ()), written)
        self._fill_discarded()
        if self._memory:
            restore(self.optuna.sampler, self._memory)
            restore_resources(self.optuna.pruner, self._memory.get("resources", {}))
            for key, value in self._memory["attributes"].items():
                self._storage.set_study_system_attr(self.optuna._study_id, key, value)
        elif self._places:  # of an older version: other random numbers than those that its trials were drawn with
            self.optuna.sampler = self._sampler(derive_seed(self._study.seed, "sampler", len(self._places)))

    def _add(
        self, state: TrialState, params: Params, values: list[float] | None, curve: Curve, attributes: Attributes | None = None
    ) -> None:
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        drawn = {name: params[name] for name in self.distributions if name in params}
        trial = create_trial(
            state=OptunaState[OPTUNA_STATES[state]],
            values=values,
            params=drawn,
            distributions={name: self.distributions[name] for name in drawn},
            intermediate_values=_steps(curve),
            system_attrs=attributes,
        )
        self.optuna.add_trial(trial)
        self._size += 1

    def begin(self, number: int) -> Any:
        """Return a new trial of Optuna's for the trial with a number; nothing of it is drawn yet."""
        trial = self.optuna.ask()
        self._places[number] = trial.number
        self._size += 1
        return trial

    def discard(self, number: int) -> None:
        """Fail the Optuna trial that was begun: another will be begun for this number."""
        from optuna.trial import TrialState as OptunaState

        place = self._places.pop(number)
        self.optuna.tell(place, state=OptunaState.FAIL)
        self._discarded[place] = None

    def rewind(self, number: int, history: Curve) -> None:
        """Forget what a trial reported after this: it goes on from here, or so far starts over if there is nothing."""
        trial = copy.copy(self._trial(number))
        trial.intermediate_values = _steps(history)
        rungs = self._passed.pop(number, {}) | _rungs(trial.system_attrs)
        trial.system_attrs = {key: value for key, value in trial.system_attrs.items() if key not in rungs}
        if trial.intermediate_values:
            trial.system_attrs |= rungs
        else:
            self._passed[number] = rungs  # a trial that is started may yet tell that it goes on from a checkpoint
        self._storage._set_trial(self._places[number], trial)  # type: ignore[attr-defined]  # no public way leads back
        if number in self._verdicts and self._verdicts[number][0] not in trial.intermediate_values:
            del self._verdicts[number]

    def report(self, number: int, step: int, value: float) -> bool:
        """Take in a report; tell whether the pruner ends the trial. Asked again about the same step it says the same."""
        self._passed.pop(number, None)
        if step < 0:  # Optuna knows no such steps
            return False
        if number not in self._verdicts or self._verdicts[number][0] != step:
            place = self._places[number]
            self._storage.set_trial_intermediate_value(place, step, value)
            trial = self._storage.get_trial(place)
            self._verdicts[number] = step, bool(self.optuna.pruner.prune(self.optuna, trial))
        return self._verdicts[number][1]

    def tell(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> None:
        """Learn how a trial ended; `value`, the first metric's, is None unless it is complete."""
        from optuna.trial import TrialState as OptunaState

        self._verdicts.pop(number, None)
        place = self._places[number]
        for key, beyond in constraint_attributes(self._study, state, metrics).items():
            self._storage.set_trial_system_attr(place, key, beyond)
        if state is TrialState.COMPLETE:
            self.optuna.tell(place, values_told(self._study, state, value, metrics))
        else:
            self.optuna.tell(place, state=OptunaState[OPTUNA_STATES[state]])

    def rungs(self, number: int) -> Attributes:
        """Return what the pruner wrote down about a trial.

        Not of a report that ended it: until its end is written down, the verdict must come about again.
        """
        if self._verdicts.get(number, (0, False))[1]:
            return {}
        return _rungs(self._trial(number).system_attrs)

    def drawn(self, number: int) -> Drawn:
        """Return what must survive of the last ask."""
        attributes = self._storage.get_study_system_attrs(self.optuna._study_id)
        memory: SamplerState = {"discarded": [*self._discarded], "attributes": dict(attributes), "prior": self._prior}
        memory |= {"resources": resources_of(self.optuna.pruner)} | state_of(self.optuna.sampler)
        return Drawn(attributes=dict(self._trial(number).system_attrs), memory=memory)

    @property
    def discarded(self) -> int:
        """Return how many proposals were discarded."""
        return len(self._discarded)

    def _trial(self, number: int) -> Any:
        return self._storage._get_trial(self._places[number])  # type: ignore[attr-defined]  # get_trial copies it deeply

    def _sampler(self, seed: int) -> Any:
        # A grid's points come from elsewhere: nothing is drawn.
        return make_sampler("random" if self._study.method == "grid" else self._study.method, seed, self._study.sampler)

    def _fill_discarded(self) -> None:
        """Put a failed trial where one was discarded: samplers go by Optuna's own numbers."""
        from optuna.trial import TrialState as OptunaState
        from optuna.trial import create_trial

        while self._size in self._discarded:
            self.optuna.add_trial(create_trial(state=OptunaState.FAIL))
            self._size += 1


def _rungs(attributes: Attributes) -> Attributes:
    return {key: value for key, value in attributes.items() if key.startswith(RUNG)}


def _steps(curve: Curve) -> dict[int, float]:
    return {step: value for step, value in curve if value is not None and step >= 0}
