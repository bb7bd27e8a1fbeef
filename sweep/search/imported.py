"""Imported trials: finished trials of other studies, from which samplers and pruners learn before a study's own first trial.

They are in `prior.json` in the study's folder, by source. They are not trials of the study: they are not counted, ranked or
shown, and their parameters may be proposed again. The in-memory Optuna study has them before the study's own trials, so the
file must not change once a trial has started.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.storage.files import read_json, write_json
from sweep.storage.folder import StudyFolder
from sweep.study.space import Domain, Fixed, Numbers, Range, can_be, domain_text, fixed_value
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, TrialState, with_tuples

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ImportedTrial:
    """A trial of another study.

    Attributes:
        state: complete or pruned; in its own study any.
        params: the swept parameters of the study that it was imported into; in its own study all of them.
        value: the last objective value; None of a pruned trial without a report.
        curve: step and objective value of each report.
    """

    state: TrialState
    params: Params
    value: float | None
    curve: tuple[tuple[int, float], ...] = ()


def fitted(study: StudySpec, params: Params) -> dict[str, Scalar] | str:
    """Return the parameters that the study sweeps and that apply, or the reason why they do not fit the study."""
    found: dict[str, Scalar] = {}
    whole: dict[str, Scalar] = {}  # with the constants, which conditions may name
    for name, domain in study.parameters.items():
        if not all(condition.holds(whole) for condition in domain.when):
            continue
        if isinstance(domain, Fixed):
            whole[name] = fixed_value(domain, whole)
        elif name not in params:
            return f"{name} is missing"
        elif not _allowed(domain, params[name]):
            return f"{name} is not in {domain_text(domain)}"
        else:
            found[name] = whole[name] = _typed(domain, params[name])
    return found


def ranked_by_one_value(study: StudySpec) -> bool:
    """Return whether one value says how good a trial is: an imported trial has no other."""
    return not study.multi_objective and not study.constraints


def read_imported(folder: StudyFolder, study: StudySpec) -> list[ImportedTrial]:
    """Return the imported trials in a study's folder, by source.

    Raises:
        SweepError: the file is damaged, or the study file was changed so that they no longer fit.
    """
    sources = _sources(folder)
    reasons: Counter[str] = Counter()
    for source in sources:
        if not ranked_by_one_value(study):
            reasons["the study has several metrics or constraints"] += len(source["trials"])
        elif (source["metric"], source["goal"]) != (study.metric.name, study.metric.goal):
            reasons[f"the metric was {source['goal']} {source['metric']}"] += len(source["trials"])
        else:
            reasons.update(why for trial in source["trials"] if isinstance(why := fitted(study, trial.params), str))
    if reasons:
        raise SweepError(
            "prior-does-not-fit",
            f"{reasons.total()} imported trials no longer fit the study file",
            where=str(folder.imported_trials),
            why="\n".join(f"{count} times: {why}" for why, count in reasons.most_common()),
            do=f"change the study file back, or import again, after:  rm {folder.imported_trials}",
            exit_code=EXIT_LOCKED,
        )
    return [trial for source in sources for trial in source["trials"]]


def count_imported(folder: StudyFolder) -> int:
    """Return the number of imported trials in a study's folder.

    Raises:
        SweepError: the file is damaged.
    """
    return sum(len(source["trials"]) for source in _sources(folder))


def add_imported(folder: StudyFolder, study: StudySpec, name: str, trials: Iterable[ImportedTrial]) -> None:
    """Store the trials of a source, in place of those that were imported from it before; other sources stay.

    Raises:
        SweepError: the file is damaged.
    """
    metric = {"metric": study.metric.name, "goal": study.metric.goal}
    new = {"source": name} | metric | {"trials": list(trials)}
    sources = _sources(folder)
    names = [source["source"] for source in sources]
    if name in names:
        sources[names.index(name)] = new
    else:
        sources.append(new)
    data = [source | {"trials": [_to_json(trial) for trial in source["trials"]]} for source in sources]
    write_json(folder.imported_trials, {"version": _VERSION, "sources": data})


def imported_changed(before: int, now: int) -> SweepError:
    """Return the error for a study whose imported trials are not those with which its trials were planned."""
    return SweepError(
        "prior-changed",
        f"the study's trials were planned with {imported_text(before)}, and its prior.json now has {now:,}",
        why="the proposals depend on them",
        do="restore prior.json, or start another study:  sweep run STUDY name=another-name",
        exit_code=EXIT_LOCKED,
    )


def imported_text(count: int) -> str:
    """Return the number of imported trials as text."""
    return f"{count:,} imported trial{'s' * (count != 1)}"


def _sources(folder: StudyFolder) -> list[dict[str, Any]]:
    try:
        data = read_json(folder.imported_trials)
        if data["version"] != _VERSION:
            raise ValueError(f"it is of version {data['version']}, this program knows {_VERSION}")
        return [
            {key: str(source[key]) for key in ("source", "metric", "goal")}
            | {"trials": [_from_json(trial) for trial in source["trials"]]}
            for source in data["sources"]
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise SweepError(
            "prior-not-readable",
            f"{folder.imported_trials} cannot be used",
            why=str(error) or type(error).__name__,
            do="restore it; before the first trial you can also remove it and import again",
            exit_code=EXIT_LOCKED,
        ) from None


def _to_json(trial: ImportedTrial) -> dict[str, Any]:
    return {"state": str(trial.state), "params": trial.params, "value": trial.value, "curve": trial.curve}


def _from_json(data: dict[str, Any]) -> ImportedTrial:
    state, value = TrialState(data["state"]), data["value"]
    params = {name: with_tuples(one) for name, one in data["params"].items()}
    curve = tuple((int(step), float(number)) for step, number in data["curve"])
    if state not in (TrialState.COMPLETE, TrialState.PRUNED) or (value is None and state is TrialState.COMPLETE):
        raise ValueError(f"a trial is {state} with the value {value}")
    if not all(math.isfinite(number) for number in (float(value or 0.0), *(number for _, number in curve))):
        raise ValueError("a value is not finite")
    return ImportedTrial(state=state, params=params, value=None if value is None else float(value), curve=curve)


def _allowed(domain: Domain, value: Scalar) -> bool:
    # A sampler's steps of a range have errors of binary fractions, the study's own have none.
    inexact = isinstance(domain, Range) and domain.step is not None and isinstance(value, float)
    return can_be(domain, float(f"{value:.12g}") if inexact else value)


def _typed(domain: Domain, value: Scalar) -> Scalar:
    return float(value) if isinstance(domain, Numbers) and not domain.integer and isinstance(value, int) else value
