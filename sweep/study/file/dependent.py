"""The checks of parameters that depend on others: those with conditions, and those that are inherited."""

from __future__ import annotations

from collections.abc import Iterator

from sweep.errors import Problem, did_you_mean
from sweep.study.file.source import Source
from sweep.study.space import PARENT, Choice, Domain, Inherited, can_be, domain_text
from sweep.study.spec import FromSpec


def check_dependent(source: Source, start: FromSpec | None, domains: dict[str, Domain]) -> Iterator[Problem]:
    """Yield what is wrong with the conditions, and with what only this program writes."""
    yield from _check_conditions(source, domains)
    yield from _check_inherited(source, start, domains)


def _check_conditions(source: Source, domains: dict[str, Domain]) -> Iterator[Problem]:
    names = list(domains)
    for name, domain in domains.items():
        for condition in domain.when:
            where, before = ("parameters", name, "when", condition.parent), names[: names.index(name)]
            if condition.parent not in before:
                below = condition.parent in domains and condition.parent != name
                hint = f"put {condition.parent} above {name}" if below else did_you_mean(condition.parent, before)
                yield source.problem(where, f"there is no parameter {condition.parent!r} above {name}", hint)
                continue
            parent = domains[condition.parent]
            for value in condition.values:
                if not can_be(parent, value):
                    yield source.problem(where, f"{condition.parent} is never {value!r}", f"it is {domain_text(parent)}")


def _check_inherited(source: Source, start: FromSpec | None, domains: dict[str, Domain]) -> Iterator[Problem]:
    """Yield what only this program writes, and what somebody has changed in it."""
    parents = set(start.parents) if start else set()
    if start is not None and parents and domains.get(PARENT) != Choice(values=start.parents):
        yield source.problem(("from", "parents"), "is written by sweep, together with parameters.parent", "remove it")
    for name, domain in domains.items():
        if isinstance(domain, Inherited):
            needed = parents.intersection(*(c.values for c in domain.when if c.parent == PARENT))
            if not needed or not needed <= {parent for parent, _ in domain.values}:
                yield source.problem(("parameters", name), "is inherited from no trial", "write value: ...")
