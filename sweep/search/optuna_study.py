"""The in-memory Optuna study that samplers and pruners read, and what is stored of it.

Samplers propose and pruners prune exactly as in Optuna alone, also after an interruption: their state beside the trials
(`sweep.search.sampler_state`) is stored in one transaction with the trial that it belongs to.

Constraints reach the samplers as in Optuna 5: the amount by which a trial exceeds each bound is an attribute of the trial,
set before its end is told. It is computed again from the trial's metrics; study.db has it for Optuna's tools only.

In memory a trial takes 0.3 ms; through Optuna's SQLite storage 20 ms.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweep.search.imported import ImportedTrial, imported_changed
from sweep.search.methods import make_pruner, make_sampler
from sweep.search.sampler_state import checked, resources_of, restore, restore_resources, state_of, without_result
from sweep.search.suggesting import check_fixed, continued, distribution_of, drawn_together, drawn_value
from sweep.storage.optuna_database import create_study
from sweep.storage.optuna_terms import (
    OPTUNA_STATES,
    RELATIVE,
    RUNG,
    Attributes,
    Drawn,
    SamplerState,
    StoredSearch,
    SuggestedParam,
    result_told,
    searched,
    searched_distributions,
)
from sweep.study.record import TrialRecord
from sweep.study.seeds import derive_seed
from sweep.study.space import Choice, Range, by_shares
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, Suggested, TrialState

_SEEDS = 2**32  # NumPy's generators have no others
Curve = Iterable[tuple[int, float | None]]


class OptunaStudy:
    """An in-memory Optuna study: the imported trials, the study's own trials, and those that were discarded.

    Args:
        study: the space, the metrics, the constraints, the method and the pruner.
        known: the study's trials, by number.
        stored: what was stored of an earlier session.
        imported: trials of other studies.

    Raises:
        SweepError: other trials were imported at the last ask, or the stored state is not a sampler's.
    """

    def __init__(
        self,
        study: StudySpec,
        known: Sequence[TrialRecord] = (),
        stored: StoredSearch | None = None,
        imported: Sequence[ImportedTrial] = (),
    ) -> None:
        from optuna.storages import InMemoryStorage

        stored = stored or StoredSearch()
        state = stored.state or {}
        if state and state.get("prior", 0) != len(imported):
            raise imported_changed(state.get("prior", 0), len(imported))
        self._spec = study
        self._storage = InMemoryStorage()
        self.distributions = searched_distributions(study.parameters)
        self.study = create_study(study, self._storage, sampler=self._sampler(study.seed), pruner=make_pruner(study.pruner))
        self._study_id = self._storage.get_study_id_from_name(study.name)
        self._asked: dict[int, Any] = {}  # the running trials that functions ask for parameters
        self._together: dict[int, Any] = {}  # what was drawn together of trials that an earlier session began
        self._places: dict[int, int] = {}  # a trial's number in the Optuna study, which is also its id there
        self._size = 0
        self._discarded: dict[int, None] = dict.fromkeys(state.get("discarded", ()))
        self._verdicts: dict[int, tuple[int, bool]] = {}  # of each running trial: the last step, and whether it is pruned there
        self._whole: dict[int, Any] = {}  # dropped trials as they were
        self._passed: dict[int, Attributes] = {}  # rungs of trials that were started again and have not reported yet
        self._imported = len(imported)
        for other in imported:
            self._add(other.state, other.params, None if other.value is None else [other.value], other.curve)
        for record in known:
            self._fill_discarded()
            self._places[record.number] = self._size
            values, constraints = result_told(study, record.state, record.value, record.metrics)
            attributes = checked(stored.attributes.get(record.number, {})) | constraints
            together = attributes.pop(RELATIVE, None)
            if together is not None and not record.state.finished:
                self._together[record.number] = together
            asked = stored.params.get(record.number, ())
            self._add(record.state, record.params, values, stored.curves.get(record.number, ()), attributes, asked)
        self._fill_discarded()
        for record in known:
            if record.dropped and record.state.finished:
                self.drop(record.number)
        if state:
            restore(self.study.sampler, state)
            restore_resources(self.study.pruner, state.get("resources", {}))
            for key, value in state["attributes"].items():
                self._storage.set_study_system_attr(self._study_id, key, value)
        elif known:  # stored by an older version: not the random numbers again that its trials were drawn with
            self.study.sampler = self._sampler(derive_seed(study.seed, "sampler", len(known)))

    def _add(
        self,
        state: TrialState,
        params: Params,
        values: list[float] | None,
        curve: Curve,
        attributes: Attributes | None = None,
        asked: Sequence[SuggestedParam] = (),
    ) -> None:
        from optuna.distributions import json_to_distribution
        from optuna.trial import create_trial

        drawn = searched(self._spec.parameters, params)
        found = {name: self.distributions[name] for name in drawn}
        for param in asked:
            found[param.name] = json_to_distribution(param.distribution)
            drawn[param.name] = found[param.name].to_external_repr(param.internal)
        trial = create_trial(
            state=_in_optuna(state),
            values=values,
            params=drawn,
            distributions=found,
            intermediate_values=_steps(curve),
            system_attrs=attributes,
        )
        self.study.add_trial(trial)
        self._size += 1

    def begin(self, number: int, point: Params | None = None) -> Any:
        """Return a new Optuna trial for the trial with this number; of its parameters only those of a point are known yet."""
        if point is not None:
            own = self._spec.suggests
            self.study.enqueue_trial(dict(point) if own else searched(self._spec.parameters, point))
        trial = self.study.ask()
        if self._spec.suggests:
            self._asked[number] = trial
        self._places[number] = trial.number
        self._size += 1
        return trial

    def draw(self, trial: Any, name: str, point: Params) -> Scalar:
        """Return the value that the sampler draws for a parameter of a new Optuna trial; one of its point is kept exactly."""
        domain = self._spec.parameters[name]
        found = drawn_value(trial, name, domain, self.distributions[name])
        if not by_shares(domain):
            return found  # type: ignore[no-any-return]  # of the distribution's type
        value = point[name] if name in point else domain.at(found)
        # The sampler sees the share of this very value, which is what it sees of the stored value after an interruption.
        self._storage.set_trial_param(trial.number, name, domain.share_of(value), self.distributions[name])
        return value

    def suggest(self, number: int, name: str, domain: Choice | Range) -> tuple[Suggested, Drawn | None]:
        """Return the value of a parameter that the function asks for, and what is to be stored of it; the same if asked again."""
        from optuna.distributions import distribution_to_json

        fixed = self._trial(number).system_attrs.get("fixed_params", {})
        try:
            if number not in self._asked:
                self._asked[number] = continued(self.study, self._places[number], self._together.pop(number, None))
            with warnings.catch_warnings(action="ignore"):  # Optuna's, such as that a step does not fit the range
                distribution = distribution_of(domain)
                check_fixed(fixed, name, distribution)
                value = drawn_value(self._asked[number], name, domain, distribution)
        except Exception as error:  # whatever samplers make of a domain of the user's, such as an infinite one
            return Suggested(refused=f"{name}: {error}"), None
        stored = self._trial(number).distributions[name]
        param = SuggestedParam(name=name, internal=stored.to_internal_repr(value), distribution=distribution_to_json(stored))
        return Suggested(value=value), replace(self.drawn(number), param=param)

    def discard(self, number: int) -> None:
        """Fail the Optuna trial of this number; another one will be begun for it."""
        place = self._places.pop(number)
        self.study.tell(place, state=_in_optuna(TrialState.FAILED))
        self._discarded[place] = None

    def drop(self, number: int) -> None:
        """Let a trial that has ended count as failed from now on."""
        trial = self._whole.setdefault(number, self._trial(number))
        self._replace_ended(number, without_result(trial, self._spec))

    def take_back(self, number: int) -> None:
        """Let a dropped trial count again."""
        self._replace_ended(number, self._whole.pop(number, self._trial(number)))

    def _replace_ended(self, number: int, trial: Any) -> None:
        # Private, as in `rewind`; the storage also keeps which trial is best.
        self._storage._set_trial(self._places[number], trial)
        self._storage._studies[self._study_id].best_trial_id = None
        for other in self.study.get_trials(deepcopy=False):
            self._storage._update_cache(other._trial_id, self._study_id)

    def rewind(self, number: int, history: Curve) -> None:
        """Replace what a trial reported by this: it continues from there, or starts over if there is nothing."""
        trial = copy.copy(self._trial(number))
        trial.intermediate_values = _steps(history)
        rungs = self._passed.pop(number, {}) | _rungs(trial.system_attrs)
        trial.system_attrs = {key: value for key, value in trial.system_attrs.items() if key not in rungs}
        if trial.intermediate_values:
            trial.system_attrs |= rungs
        else:
            self._passed[number] = rungs  # a trial that was started may still continue from a checkpoint
        # Private, since nothing public removes a report or an attribute; checked with Optuna 4.5 and 5.0.
        self._storage._set_trial(self._places[number], trial)
        if number in self._verdicts and self._verdicts[number][0] not in trial.intermediate_values:
            del self._verdicts[number]

    def report(self, number: int, step: int, value: float) -> bool:
        """Record a report; return whether the trial is pruned there. The answer for the same step stays the same."""
        self._passed.pop(number, None)
        if step < 0:  # Optuna has no such steps
            return False
        if number not in self._verdicts or self._verdicts[number][0] != step:
            self._storage.set_trial_intermediate_value(self._places[number], step, value)
            self._verdicts[number] = step, bool(self.study.pruner.prune(self.study, self._trial(number)))
        return self._verdicts[number][1]

    def tell(self, number: int, state: TrialState, value: float | None, metrics: Mapping[str, float]) -> None:
        """Record how a trial ended; `value`, the first metric's, is None unless it is complete."""
        self._verdicts.pop(number, None)
        self._asked.pop(number, None)
        place = self._places[number]
        values, constraints = result_told(self._spec, state, value, metrics)
        for key, excess in constraints.items():
            self._storage.set_trial_system_attr(place, key, excess)
        if state is TrialState.COMPLETE:
            self.study.tell(place, values)
        else:
            self.study.tell(place, state=_in_optuna(state))

    def rungs(self, number: int) -> Attributes:
        """Return the rungs that the pruner recorded for a trial.

        Nothing if it was pruned: until its end is stored, a resumed study must come to the same decision again.
        """
        if self._verdicts.get(number, (0, False))[1]:
            return {}
        return _rungs(self._trial(number).system_attrs)

    def drawn(self, number: int) -> Drawn:
        """Return what is to be stored of the last ask."""
        attributes = self._storage.get_study_system_attrs(self._study_id)
        state: SamplerState = {"discarded": [*self._discarded], "attributes": dict(attributes), "prior": self._imported}
        state |= {"resources": resources_of(self.study.pruner)} | state_of(self.study.sampler)
        own = dict(self._trial(number).system_attrs)
        if number in self._asked and (together := drawn_together(self._asked[number])) is not None:
            own[RELATIVE] = together
        return Drawn(attributes=own, state=state)

    @property
    def discarded(self) -> int:
        """Return the number of discarded proposals."""
        return len(self._discarded)

    def _trial(self, number: int) -> Any:
        return self._storage.get_trial(self._places[number])

    def _sampler(self, seed: int) -> Any:
        if seed >= _SEEDS:
            seed = derive_seed(seed, "sampler")
        # Nothing is drawn for a grid.
        return make_sampler("random" if self._spec.method == "grid" else self._spec.method, seed, self._spec.sampler)

    def _fill_discarded(self) -> None:
        """Add a failed trial wherever one was discarded: samplers use Optuna's numbers."""
        while self._size in self._discarded:
            self._add(TrialState.FAILED, {}, None, ())


def _in_optuna(state: TrialState) -> Any:
    from optuna.trial import TrialState as OptunaState

    return OptunaState[OPTUNA_STATES[state]]


def _rungs(attributes: Attributes) -> Attributes:
    return {key: value for key, value in attributes.items() if key.startswith(RUNG)}


def _steps(curve: Curve) -> dict[int, float]:
    return {step: value for step, value in curve if value is not None and step >= 0}
