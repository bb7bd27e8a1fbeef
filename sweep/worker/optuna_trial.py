"""The trial that an objective written for Optuna gets: Optuna's methods, by means of this program's handle.

Which of the two a function gets is decided once, when it is loaded (`sweep.study.code.suggesting`): both have a method `report`,
with other arguments, and Optuna's must not end the trial, since the function asks for that by `should_prune`.

A study file without `parameters` leaves the space to the function: each `suggest_...` asks the runner, where Optuna's sampler
draws. With `parameters` the value is the plan's; what the function asks for must then contain all that the file has.
"""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sweep.errors import did_you_mean
from sweep.storage.optuna_terms import category
from sweep.study import plain
from sweep.study.space import Choice, Range, domain_text, within
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar, with_tuples
from sweep.worker.endings import TrialFailed, TrialPruned
from sweep.worker.handle import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # another in each process


def for_optuna(function: Callable[[Any], Any], study: StudySpec) -> Callable[[Trial], Any]:
    """Return a function written for Optuna as an objective of this program's."""

    @functools.wraps(function)
    def objective(trial: Trial) -> Any:
        shown = OptunaTrial(trial, study)
        try:
            returned = function(shown)
        except Exception as error:
            if any(_is_optunas_pruned(kind) for kind in type(error).__mro__):
                raise TrialPruned from None
            raise
        if returned is None and not all(name in trial.metrics for name in study.needed):
            raise TrialFailed("the function returned None")  # as in Optuna, the search goes on
        return _by_metric(returned, study)

    return objective


class OptunaTrial:
    """A trial with the methods of Optuna's; everything else that it is asked for is the handle's own.

    Args:
        trial: the handle.
        study: its metrics, and its parameters if the file has any.
    """

    def __init__(self, trial: Trial, study: StudySpec) -> None:
        self._trial, self._study = trial, study
        self._pruned = False
        self._steps: set[int] = set()
        self._domains: dict[str, Choice | Range] = {}
        self.params: dict[str, Any] = _Asked()  # as Optuna has it
        self.datetime_start = datetime.now()

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(vars(self)["_trial"], name)
        except (AttributeError, KeyError):
            raise AttributeError(f"a trial has no {name!r} here, neither Optuna's nor sweep's") from None

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        """Return a value for a parameter that is a number."""
        domain = Range(low=float(low), high=float(high), step=None if step is None else float(step), log=bool(log))
        value = self.params[name] = float(self._value(name, domain))  # type: ignore[arg-type]  # of a range
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a value for a parameter that is a whole number."""
        domain = Range(low=int(low), high=int(high), step=None if step == 1 else int(step), log=bool(log))
        value = self.params[name] = int(self._value(name, domain))  # type: ignore[arg-type]  # of a range
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several choices; one that is no number, text, boolean or None is stored and shown as a text."""
        choices = tuple(choices)  # Optuna takes what can be iterated over, such as the keys of a dict
        # A study file's own parameters may be lists; Optuna has no such choices, so in its space a list is a text.
        listed = not self._study.suggests
        shown = tuple(with_tuples(one) if listed and isinstance(one, list | tuple) else _shown(one) for one in choices)
        texts = [text for text, choice in zip(shown, choices, strict=True) if isinstance(text, str) and text is not choice]
        if len(set(texts)) < len(texts):
            raise ValueError(f"two of the choices of {name!r} cannot be told apart: {', '.join(texts)}")
        value = self._value(name, Choice(values=shown))
        self.params[name] = choices[shown.index(value)]  # the first that is equal, as in Optuna
        return self.params[name]

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Return what `suggest_float` returns: Optuna's older name."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Return what `suggest_float` returns, on a logarithmic scale: Optuna's older name."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Return what `suggest_float` returns with a step: Optuna's older name."""
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        """Report the metric; a second report of a step is ignored, as in Optuna.

        Raises:
            NotImplementedError: there are several metrics, as in Optuna.
            MetricNotFinite, TrialComplete, TrialStopped, TypeError, ValueError: as `Trial.report`.
        """
        if self._study.multi_objective:
            raise NotImplementedError("a trial with several metrics cannot report one value: return all of them at the end")
        if int(step) in self._steps:
            return
        self._pruned = False
        try:
            self._trial.report(int(step), {self._study.metric.name: value})
        except TrialPruned:
            self._pruned = True
            self._trial.go_on()
        self._steps.add(int(step))

    def should_prune(self) -> bool:
        """Return whether the pruner ends the trial at its last report."""
        return self._pruned

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Return what `set_user_attr` has recorded."""
        return copy.deepcopy(dict(self._trial.user_attrs))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each parameter that was asked for."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, BaseDistribution] = {}
        for name, domain in self._domains.items():
            if isinstance(domain, Choice):
                found[name] = CategoricalDistribution([category(value) for value in domain.values])
            elif domain.integer:
                found[name] = IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
            else:
                found[name] = FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
        return found

    def _value(self, name: str, domain: Choice | Range) -> Scalar:
        name = plain.name(name, "the name of a parameter")
        self._domains.setdefault(name, domain)
        if self._study.suggests:
            return self._trial.suggest(name, domain)
        planned = self._study.parameters.get(name)
        given: dict[str, Scalar] = self._trial.params
        if planned is None:
            hint = did_you_mean(name, self._study.parameters)
            raise TrialFailed(f"the function asks for {name!r}, and parameters in the study file has no such name; {hint}")
        if name not in given:
            raise TrialFailed(f"the function asks for {name!r}, which does not apply to this trial (when) by the study file")
        if not within(planned, domain):
            asked, ours = domain_text(domain), domain_text(planned)
            raise TrialFailed(f"{name!r} is {asked} in the function and {ours} in the study file, which goes beyond it")
        value: Scalar = with_tuples(given[name])  # the handle gives lists
        return value


class _Asked(dict[str, Any]):
    """The parameters that a function has asked for; one that is written for this program reads others."""

    def __missing__(self, name: object) -> Any:
        what = f"the function reads trial.params[{name!r}] and has not asked for it"
        raise TrialFailed(f"{what}: write parameters in the study file, or trial.suggest_float({name!r}, ...) in the function")


def _by_metric(returned: Any, study: StudySpec) -> Any:
    """Return what an objective returned as `Trial.finish` takes it."""
    if not isinstance(returned, tuple | list):
        return returned
    names = [metric.name for metric in study.metrics]
    if len(returned) != len(names):
        count = f"{len(returned)} value{'s' * (len(returned) != 1)}"
        raise TrialFailed(f"the function returned {count}, and the study file has {len(names)}: {', '.join(names)}")
    return dict(zip(names, returned, strict=True))


def _is_optunas_pruned(kind: type) -> bool:
    return kind.__name__ == "TrialPruned" and kind.__module__.partition(".")[0] == "optuna"


def _shown(choice: Any) -> Scalar:
    """Return a choice as it is stored: a scalar of an exact type; a class or function is its name, anything else its text."""
    if choice is None or isinstance(choice, bool):
        return choice
    if isinstance(choice, str):
        return choice if type(choice) is str else plain.exact_text(choice)
    try:
        number = plain.number(choice, "")
    except (TypeError, ValueError):
        return str(getattr(choice, "__name__", None) or _ADDRESS.sub("", plain.text(choice)))
    return number if math.isfinite(number) else str(number)
