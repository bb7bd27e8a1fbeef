"""Prior knowledge: finished trials of other studies, from which samplers and pruners learn before a study's own first trial.

They stand in `prior.json` in the study's folder, source by source, and are no trials of the study: nothing counts, ranks or
shows them, and what was tried there may be tried again. The mirror puts them before the study's own trials, where samplers
and pruners find them; so the file must stay as it is once a trial has started.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sweep.errors import EXIT_LOCKED, SweepError
from sweep.storage.files import write_json
from sweep.storage.folder import StudyFolder
from sweep.study.space import Constant, Domain, Range, can_be, domain_text
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, Scalar, TrialState

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ImportedTrial:
    """A trial of another study.

    Attributes:
        state: complete or pruned.
        params: the parameters that this study sweeps.
        value: the objective's last value; None of a pruned trial that reported none.
        curve: step and objective of each report.
    """

    state: TrialState
    params: dict[str, Scalar]
    value: float | None
    curve: tuple[tuple[int, float], ...] = ()


def fitted(study: StudySpec, params: Params) -> dict[str, Scalar] | str:
    """Return those of the parameters that the study sweeps and that apply, or why they do not fit the study."""
    found: dict[str, Scalar] = {}
    whole: dict[str, Scalar] = {}  # constants too, which conditions may name
    for name, domain in study.parameters.items():
        if not all(condition.holds(whole) for condition in domain.when):
            continue
        if isinstance(domain, Constant):
            whole[name] = domain.value
        elif name not in params:
            return f"{name} is missing"
        elif not _allowed(domain, params[name]):
            return f"{name} is not in {domain_text(domain)}"
        else:
            found[name] = whole[name] = _typed(domain, params[name])
    return found


def judged_by_one_value(study: StudySpec) -> bool:
    """Tell whether one value says how good a trial is, which is all that prior knowledge holds."""
    return not study.multi_objective and not study.constraints


def read_imported(folder: StudyFolder, study: StudySpec) -> list[ImportedTrial]:
    """Return the prior knowledge in a study's folder, source by source; nothing when there is none.

    Raises:
        SweepError: the file is damaged, or the study file was changed so that what was imported does not fit any more.
    """
    sources = _sources(folder)
    reasons: Counter[str] = Counter()
    for source in sources:
        if not judged_by_one_value(study):
            reasons["the study has several metrics or constraints"] += len(source["trials"])
        elif (source["metric"], source["goal"]) != (study.metric.name, study.metric.goal):
            reasons[f"the metric was {source['goal']} {source['metric']}"] += len(source["trials"])
        else:
            reasons.update(why for trial in source["trials"] if isinstance(why := fitted(study, trial.params), str))
    if reasons:
        raise SweepError(
            "prior-does-not-fit",
            f"{reasons.total()} trials of prior knowledge do not fit the study file any more",
            where=str(folder.prior),
            why="\n".join(f"{count} times: {why}" for why, count in reasons.most_common()),
            do=f"change the study file back, or import again, after:  rm {folder.prior}",
            exit_code=EXIT_LOCKED,
        )
    return [trial for source in sources for trial in source["trials"]]


def count_imported(folder: StudyFolder) -> int:
    """Return how many trials of prior knowledge a study's folder holds.

    Raises:
        SweepError: the file is damaged.
    """
    return sum(len(source["trials"]) for source in _sources(folder))


def add_imported(folder: StudyFolder, study: StudySpec, name: str, trials: Iterable[ImportedTrial]) -> None:
    """Write down what was taken from a source, in place of what was taken from it before; other sources stay.

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
    write_json(folder.prior, {"version": _VERSION, "sources": data})


def imported_changed(before: int, now: int) -> SweepError:
    """Return the error of a study whose prior knowledge is not what its trials were planned with."""
    return SweepError(
        "prior-changed",
        f"the study's trials were planned with {imported_text(before)}, and its prior.json now has {now:,}",
        why="what was learned from them is part of what was proposed",
        do="put prior.json back as it was, or start another study:  sweep run STUDY name=another-name",
        exit_code=EXIT_LOCKED,
    )


def imported_text(count: int) -> str:
    """Return how many trials of prior knowledge there are, for people."""
    return f"{count:,} trial{'s' * (count != 1)} of prior knowledge"


def _sources(folder: StudyFolder) -> list[dict[str, Any]]:
    try:
        data = json.loads(folder.prior.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise ValueError(f"it is of version {data['version']}, this program knows {_VERSION}")
        return [
            {key: str(source[key]) for key in ("source", "metric", "goal")}
            | {"trials": [_from_json(trial) for trial in source["trials"]]}
            for source in data["sources"]
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SweepError(
            "prior-not-readable",
            f"{folder.prior} cannot be used",
            why=str(error) or type(error).__name__,
            do="put it back as it was; before the first trial it may be removed and imported anew",
            exit_code=EXIT_LOCKED,
        ) from None


def _to_json(trial: ImportedTrial) -> dict[str, Any]:
    return {"state": str(trial.state), "params": trial.params, "value": trial.value, "curve": trial.curve}


def _from_json(data: dict[str, Any]) -> ImportedTrial:
    state, value, params = TrialState(data["state"]), data["value"], dict(data["params"])
    curve = tuple((int(step), float(number)) for step, number in data["curve"])
    if state not in (TrialState.COMPLETE, TrialState.PRUNED) or (value is None and state is TrialState.COMPLETE):
        raise ValueError(f"a trial is {state} with the value {value}")
    if not all(math.isfinite(number) for number in (float(value or 0.0), *(number for _, number in curve))):
        raise ValueError("a value is not finite")
    return ImportedTrial(state=state, params=params, value=None if value is None else float(value), curve=curve)


def _allowed(domain: Domain, value: Scalar) -> bool:
    # The steps of a range have the dust of binary fractions in what a sampler drew, and none here.
    dusty = isinstance(domain, Range) and domain.step is not None and isinstance(value, float)
    return can_be(domain, float(f"{value:.12g}") if dusty else value)


def _typed(domain: Domain, value: Scalar) -> Scalar:
    whole = isinstance(domain, Range) and not domain.integer and isinstance(value, int)
    return float(value) if whole and value is not None else value
