"""The parameters of a study whose function suggests its own: those that its trials have had."""

from __future__ import annotations

from dataclasses import replace

from sweep.storage.database import damage_reported, read_distributions
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_terms import domain_in
from sweep.study.space import Choice, Domain, Range
from sweep.study.spec import StudySpec


def with_suggested(study: StudySpec, folder: StudyFolder) -> StudySpec:
    """Return a study for those who read it: with the parameters that its trials have had, where the study file has none.

    A parameter that only some trials have is absent from the others, as one with a condition is.

    Raises:
        SweepError: the database cannot be opened, is damaged, or is of another version.
    """
    if not study.suggests:
        return study
    found: dict[str, Domain] = {}
    with damage_reported(folder):
        for name, distribution in read_distributions(folder):
            domain = domain_in(distribution)
            found[name] = _joined(found[name], domain) if name in found else domain
    return replace(study, parameters=found)


def _joined(one: Domain, other: Domain) -> Domain:
    """Return a domain with the values of both: a function may ask for another range in each trial."""
    if isinstance(one, Range) and isinstance(other, Range):
        step = one.step if one.step == other.step else None
        return Range(low=min(one.low, other.low), high=max(one.high, other.high), step=step, log=one.log)
    values = {repr(value): value for domain in (one, other) if isinstance(domain, Choice) for value in domain.values}
    return Choice(values=tuple(values.values()))
