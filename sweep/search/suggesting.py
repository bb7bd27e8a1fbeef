"""Parameters that a function suggests itself while it runs: a trial of Optuna's, asked for one value after the other.

Optuna's samplers may draw several parameters of a trial together, before the first is asked for: those that all earlier trials
had. The others are drawn when they are asked for. What was drawn together is stored with the trial, so that one that was
interrupted between two questions goes on with the same values.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sweep.storage.optuna_terms import category
from sweep.study.space import Choice, Domain, Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial


def drawn_value(trial: Any, name: str, domain: Domain, distribution: Any) -> Any:
    """Return the value of a parameter of one of Optuna's trials; the same if it was asked for before."""
    if isinstance(domain, Choice) and hasattr(distribution, "choices"):
        return domain.values[distribution.choices.index(trial.suggest_categorical(name, distribution.choices))]
    kind, suggest = (int, trial.suggest_int) if isinstance(distribution.low, int) else (float, trial.suggest_float)
    # Of Python's type: Optuna returns NumPy's numbers of some ranges.
    return kind(suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log))


def distribution_of(domain: Choice | Range) -> BaseDistribution:
    """Return what Optuna makes of a domain that a function asks for.

    Raises:
        ValueError: Optuna refuses it.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution([category(value) for value in domain.values])
    if domain.integer:
        step = 1 if domain.step is None else int(domain.step)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def check_fixed(fixed: dict[str, Any], name: str, distribution: BaseDistribution) -> None:
    """Check that the value of a point to try first is one that the function allows; Optuna would only warn.

    Raises:
        ValueError: it is not.
    """
    # Private, since nothing public tells whether a distribution has a value; checked with Optuna 4.5 and 5.0.
    if name in fixed and not distribution._contains(distribution.to_internal_repr(fixed[name])):
        raise ValueError(f"a point in enqueue has {name}={fixed[name]!r}, and the function asks for {distribution}")


def drawn_together(trial: Trial) -> dict[str, Any] | None:
    """Return what the sampler has drawn of a trial before it was asked for, as plain data; None if it has not drawn yet."""
    from optuna.distributions import distribution_to_json

    # Private: the public attribute of Optuna 5 would draw now. Optuna 4 draws when the trial begins.
    found = vars(trial).get("_relative_params", vars(trial).get("relative_params"))
    if found is None:
        return None
    space = {name: distribution_to_json(one) for name, one in (trial.relative_search_space or {}).items()}
    return {"params": {name: value.item() if hasattr(value, "item") else value for name, value in found.items()}, "space": space}


def continued(study: Study, place: int, together: dict[str, Any] | None) -> Trial:
    """Return a trial of an earlier session, which can be asked for further parameters.

    Args:
        study: Optuna's, in memory.
        place: the trial's number in it, which is also its id.
        together: what `drawn_together` returned.
    """
    from optuna.distributions import json_to_distribution
    from optuna.trial import Trial

    if together is None:
        return Trial(study, place)
    space = {name: json_to_distribution(text) for name, text in together["space"].items()}
    known: Any = SimpleNamespace(
        before_trial=lambda *_: None,
        infer_relative_search_space=lambda *_: space,
        sample_relative=lambda *_: dict(together["params"]),
    )
    sampler, study.sampler = study.sampler, known
    try:
        trial = Trial(study, place)
        assert trial.relative_params is not None  # now, while the study has this sampler
    finally:
        study.sampler = sampler
    return trial
