"""Which earlier trials were trained with other constants than the study has now: they stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweep.study.formatting import param_text
from sweep.study.record import TrialRecord
from sweep.study.repeats import trials_of
from sweep.study.space import Constant, assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState


def constants_texts(study: StudySpec, known: Sequence[TrialRecord]) -> Iterator[str]:
    """Yield a line for each set of constants that trials were trained with and that the study does not have any more."""
    groups: dict[tuple[str, str], int] = {}
    for trial in trials_of(known, study) if study.earlier else ():
        if trial.state is not TrialState.FAILED and (pair := _differences(study, trial)) != ("", ""):
            groups[pair] = groups.get(pair, 0) + 1
    for (was, now), count in groups.items():
        trials, stay, them = ("1 trial was", "stays", "it") if count == 1 else (f"{count} trials were", "stay", "them")
        yield f"{trials} trained {was} and {stay}; name=... trains {them} with {now}"


def _differences(study: StudySpec, trial: TrialRecord) -> tuple[str, str]:
    """Return the constants that a trial was trained with, and today's values of them."""
    today = assignment(study.parameters, lambda name, _: trial.params.get(name))
    was, absent, now = [], [], []
    for name, value in today.items():
        text = f"{name}={param_text(value)}"
        if not isinstance(study.parameters[name], Constant) or f"{name}={param_text(trial.params.get(name))}" == text:
            continue
        now.append(text)
        if name in trial.params:
            was.append(f"{name}={param_text(trial.params[name])}")
        else:
            absent.append(name)
    parts = [f"with {' '.join(was)}"] * bool(was) + [f"without {' '.join(absent)}"] * bool(absent)
    return " and ".join(parts), " ".join(now)
