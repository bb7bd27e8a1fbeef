"""Whether a study can be resumed after its study file has changed.

Allowed: another budget, other workers and the like; other values of constants and new constants; more values of a choice and a
wider range; a function of a script or notebook that has moved into a module. Refused: every change that makes old and new
trials incomparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, SweepError
from sweep.study.grid import Grid
from sweep.study.objective import is_by_value
from sweep.study.space import Constant, Domain, conditional, covers, domain_text
from sweep.study.spec import StudySpec


def resumed_spec(stored: StudySpec, current: StudySpec, folder: str) -> StudySpec:
    """Return the study to resume: the current study file, with the parameters that earlier trials were planned with.

    Args:
        stored: the study as it was run last.
        current: the study that the file describes now.
        folder: the study's folder, for the message.

    Raises:
        SweepError: old and new trials are not comparable; the message names each difference.
    """
    if lines := [*_differences(stored, current)]:
        raise SweepError(
            "study-changed",
            f"the study in {folder} was run with another study file",
            why="\n".join(lines),
            do=ANOTHER_OR_FRESH,
            exit_code=EXIT_LOCKED,
        )
    same = _texts(stored) == _texts(current)
    return replace(current, earlier=stored.earlier if same else (*stored.earlier, stored.parameters))


def _differences(stored: StudySpec, current: StudySpec) -> Iterator[str]:
    # A function of a script or notebook, judged by its name, may have moved into a module.
    moved = is_by_value(stored.trained) and stored.trained.partition(":")[2] == current.trained.partition(":")[2]
    for label, old, new in (
        ("command" if stored.command else "objective", stored.trained, current.trained),
        ("metric" if len(stored.metrics) == len(current.metrics) == 1 else "metrics", _metrics(stored), _metrics(current)),
        ("method", stored.method, current.method),
        ("sampler", dict(stored.sampler), dict(current.sampler)),
        ("enqueue", list(stored.enqueue), list(current.enqueue)),
        ("from", _start(stored), _start(current)),
        ("seed", stored.seed, current.seed),
        ("determinism", stored.determinism, current.determinism),
        ("repeats", stored.repeats, current.repeats),
        ("max_steps", stored.max_steps, current.max_steps),
    ):
        if old != new and not (label == "objective" and moved):
            yield f"{label}: was {'none' if old is None else old}, is now {'none' if new is None else new}"
    if stored.constraints != current.constraints:
        before, after = (", ".join(item.text for item in study.constraints) or "none" for study in (stored, current))
        yield f"constraints: was {before}, is now {after}; earlier trials were judged by the old ones, also in TensorBoard"
    for name, was in stored.parameters.items():
        if name not in current.parameters:
            yield f"parameters.{name}: was {domain_text(was)}, is now absent"
    grid = current.method == "grid"
    for name, now in current.parameters.items():
        had = [space.get(name) for space in (*stored.earlier, stored.parameters)]
        fixed = {domain_text(domain) for domain in had if isinstance(domain, Constant)}
        if len(fixed) > 1 and grid and not isinstance(now, Constant):
            texts = " and ".join(sorted(fixed))
            yield f"parameters.{name}: was {texts} in turn, is now {domain_text(now)}; numbers would not fit"
        elif found := next(((domain, reason) for domain in had if (reason := _mismatch(domain, now))), None):
            text = "absent" if found[0] is None else domain_text(found[0])
            yield f"parameters.{name}: was {text}, is now {domain_text(now)}; {found[1]}"
    if grid and conditional(current.parameters) and Grid(spaces=[stored.parameters]).size != current.grid.size:
        yield "parameters: a grid with conditions (when) cannot be extended; numbers would not fit"
    order = [name for name in current.parameters if name in stored.parameters]
    if order != [name for name in stored.parameters if name in current.parameters]:
        yield f"order of parameters: was {', '.join(stored.parameters)}, is now {', '.join(current.parameters)}"


def _mismatch(was: Domain | None, now: Domain) -> str | None:
    if was is not None and was.when != now.when:
        return "its condition (when) was different"
    if isinstance(now, Constant):
        return None if was is None or isinstance(was, Constant) else "it was varied before"
    if was is None:
        return "earlier trials have no value of it"
    return None if covers(now, was) else "values can be added, but not removed"


def _texts(study: StudySpec) -> list[str]:
    # As texts, because 1, 1.0 and true are equal in Python.
    return [f"{name}: {domain_text(domain)}" for name, domain in study.parameters.items()]


def _start(study: StudySpec) -> str | None:
    return None if study.start is None else f"the best {study.start.top} trials of {study.start.study}"


def _metrics(study: StudySpec) -> str:
    return ", ".join(f"{metric.name} ({metric.goal})" for metric in study.metrics)
