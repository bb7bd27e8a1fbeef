"""`sweep import`: store finished trials of another study, of this program's or of Optuna's, for a study to learn from."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.search.imported import ImportedTrial, add_imported, fitted, ranked_by_one_value
from sweep.storage.database import read_curves, read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.integrity import check_ours
from sweep.storage.lock import locked
from sweep.storage.optuna_database import open_read_only
from sweep.study.methods import SAMPLERS
from sweep.study.repeats import trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_SQLITE = "sqlite:///"
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAILED}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Another study.

    Attributes:
        name: the same each time it is read.
        trials: all of its trials, by number.
    """

    name: str
    trials: list[ImportedTrial]


def import_trials(study: StudySpec, folder: StudyFolder, source: Source) -> tuple[list[ImportedTrial], Counter[str]]:
    """Store those trials of another study that fit; return them, and how many others were left out, by the reason.

    Args:
        study: the study that is to learn from them.
        folder: its folder, which may not exist yet.
        source: the other study.

    Raises:
        SweepError: the study has trials already or cannot learn, no trial fits, or the folder is not a study's.
    """
    if not ranked_by_one_value(study):
        what = "a study with several metrics or with constraints takes no trials of other studies"
        raise SweepError("import-one-metric", what, why="an imported trial has one value")
    if study.suggests:
        what = "a study without parameters takes no trials of other studies"
        raise SweepError("import-no-parameters", what, why="its function says only while it runs which parameters there are")
    _check_that_it_learns(study)
    check_ours(folder)
    _check_without_trials(folder)
    taken, left_out = _fitting(study, source.trials)
    if not taken:
        whys = "\n".join(f"{count} times: {why}" for why, count in left_out.most_common())
        what = f"no trial of {source.name} fits the study; nothing was written"
        raise SweepError("import-nothing-fits", what, why=whys or "it has no trials")
    with locked(folder, doing="import"):
        _check_without_trials(folder)
        add_imported(folder, study, source.name, taken)
    return taken, left_out


def source_of_ours(study: StudySpec, other: StudySpec, folder: StudyFolder, into: StudyFolder) -> Source:
    """Return a study of this program's as a source.

    Args:
        study: the study that is to learn from it.
        other: the other study.
        folder: the other study's folder.
        into: the folder of the study that is to learn.

    Raises:
        SweepError: its metric or goal is another one, or it is the study itself.
    """
    if folder.root == into.root:
        what = f"{folder.root} is the study itself: it learns from its own trials anyway"
        raise SweepError("import-itself", what, do="name another study")
    if (other.metric.name, other.metric.goal) != (study.metric.name, study.metric.goal):
        raise SweepError(
            "import-other-metric",
            f"{folder.root} is to {other.metric.goal} {other.metric.name}, this study to {study.metric.goal} {study.metric.name}",
            why="values of another metric cannot be compared",
        )
    curves = read_curves(folder)
    records = [trial for trial in trials_of(read_records(folder), other) if not trial.dropped]
    trials = [
        ImportedTrial(state=r.state, params=r.params, value=r.value, curve=tuple(curves.get(r.number, ()))) for r in records
    ]
    return Source(name=str(folder.root), trials=trials)


def source_of_optunas(study: StudySpec, storage: str, name: str | None) -> Source:
    """Return a study in a SQLite storage of Optuna's as a source.

    Args:
        study: the study that is to learn from it.
        storage: `sqlite:///file.db`, or a path.
        name: which study, if there are several.

    Raises:
        SweepError: there is no such file or study, or its goal is another one.
    """
    path = _path(storage)
    found, goals, trials = _load(path, name, storage)
    if goals != [study.metric.goal]:
        raise SweepError(
            "import-other-metric",
            f"the study {found} in {path} is to {' and '.join(goals)}, this one to {study.metric.goal}",
            why="values of another goal cannot be compared",
        )
    return Source(name=f"{path}#{found}", trials=trials)


def is_storage(argument: str) -> bool:
    """Return whether an argument is a storage of Optuna's: a URL, or a SQLite file."""
    if "://" in argument:
        return True
    try:
        with Path(argument).open("rb") as file:
            return file.read(15) == b"SQLite format 3"
    except (OSError, ValueError):
        return argument.endswith(".db")


def _check_that_it_learns(study: StudySpec) -> None:
    if study.prunes or (study.method != "grid" and SAMPLERS[study.method].learns):
        return
    learning = ", ".join(name for name, strategy in SAMPLERS.items() if strategy.learns)
    raise SweepError(
        "import-in-vain",
        f"method {study.method} learns nothing from the trials of other studies, and the study has no pruner",
        do=f"choose a method that learns ({learning}), or a pruner:  pruner: {{type: median}}",
    )


def _check_without_trials(folder: StudyFolder) -> None:
    if records := read_records(folder):
        raise SweepError(
            "import-too-late",
            f"the study in {folder.root} has {len(records)} trials already",
            why="they were planned without the imported ones",
            do="import into another study:  sweep import STUDY OTHER name=another-name",
        )


def _fitting(study: StudySpec, trials: Iterable[ImportedTrial]) -> tuple[list[ImportedTrial], Counter[str]]:
    taken, left_out = [], Counter[str]()
    for trial in trials:
        params = fitted(study, trial.params)
        if not trial.state.finished:
            left_out["not finished"] += 1
        elif trial.state is TrialState.FAILED:
            left_out["failed"] += 1
        elif trial.state is TrialState.COMPLETE and (trial.value is None or not math.isfinite(trial.value)):
            left_out["without a finite value"] += 1
        elif isinstance(params, str):
            left_out[params] += 1
        else:
            value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
            curve = tuple((step, number) for step, number in trial.curve if math.isfinite(number))
            taken.append(replace(trial, params=params, value=value, curve=curve))
    return taken, left_out


def _path(storage: str) -> Path:
    if "://" in storage and not storage.startswith(_SQLITE):
        what = f"only SQLite storages can be imported from, not {storage.partition('://')[0]}"
        do = f"copy the study into a file with Optuna's copy_study(), then:  sweep import STUDY {_SQLITE}FILE.db"
        raise SweepError("import-not-sqlite", what, do=do)
    path = Path(storage.removeprefix(_SQLITE).partition("?")[0]).absolute()
    if not path.is_file():
        raise SweepError("import-not-found", f"there is no file {path}", do=f"sweep import STUDY {_SQLITE}FILE.db")
    return path


def _load(path: Path, name: str | None, storage: str) -> tuple[str, list[str], list[ImportedTrial]]:
    """Return an Optuna study's name, its goals, and its trials."""
    import optuna

    try:
        opened = open_read_only(path)
        try:
            names = optuna.get_all_study_names(opened)
            if len(names) == 1 or name in names:
                study = optuna.load_study(study_name=name or names[0], storage=opened)
                goals = [direction.name.lower() for direction in study.directions]
                return study.study_name, goals, [_other_trial(trial) for trial in study.get_trials(deepcopy=False)]
        finally:
            opened.engine.dispose()
    except Exception as error:  # whatever Optuna raises for a damaged file, or one of another program
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SweepError("import-not-readable", f"{path} cannot be read as a storage of Optuna's", why=why) from None
    known = ", ".join(names) or "none"
    what = f"{path} contains no study {name}" if name else f"{path} contains {len(names)} studies: name one"
    do = f"sweep import STUDY {shlex.quote(storage)} --study {shlex.quote(names[0]) if names else 'NAME'}"
    raise SweepError("import-which-study", what, why=f"the studies there: {known}", do=do)


def _other_trial(trial: Any) -> ImportedTrial:
    return ImportedTrial(
        state=_STATES.get(trial.state.name, TrialState.WAITING),
        params=trial.params,
        value=trial.values[0] if trial.values else None,
        curve=tuple(sorted(trial.intermediate_values.items())),
    )
