"""`sweep import`: take the finished trials of another study, of ours or of Optuna's, as a study's prior knowledge."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.search.imported import ImportedTrial, add_imported, fitted, judged_by_one_value
from sweep.storage.database import read_curves, read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.integrity import check_ours
from sweep.storage.lock import locked
from sweep.study.methods import SAMPLERS
from sweep.study.repeats import trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import Params, TrialState

_SQLITE = "sqlite:///"
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAILED}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A trial of another study as it stands there.

    Attributes:
        state: waiting if it has not ended.
        params, value, curve: as of `ImportedTrial`, with every parameter that it has there.
    """

    state: TrialState
    params: Params
    value: float | None
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Another study.

    Attributes:
        name: the same each time that it is read.
        trials: all of its trials, in the order of their numbers.
    """

    name: str
    trials: list[Found]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes:
        taken: the trials that are prior knowledge now.
        left_out: why others are not, and how many.
    """

    taken: list[ImportedTrial]
    left_out: Counter[str]


def import_trials(study: StudySpec, folder: StudyFolder, source: Source) -> Imported:
    """Write what fits of another study into a study's folder.

    Args:
        study, folder: what is to learn, and where it lives or will live.
        source: what to learn from.

    Raises:
        SweepError: the study has trials already, nothing in it learns, nothing of the source fits, or the folder is not ours.
    """
    if not judged_by_one_value(study):
        what = "a study with several metrics or with constraints takes no trials of other studies"
        raise SweepError("import-one-metric", what, why="of a trial there one value is known")
    _check_that_something_learns(study)
    check_ours(folder)
    _check_that_nothing_began(folder)
    result = _fitting(study, source.trials)
    if not result.taken:
        whys = "\n".join(f"{count} times: {why}" for why, count in result.left_out.most_common())
        what = f"nothing of {source.name} fits the study; nothing was written"
        raise SweepError("import-nothing-fits", what, why=whys or "it has no trials")
    with locked(folder):
        _check_that_nothing_began(folder)
        add_imported(folder, study, source.name, result.taken)
    return result


def source_of_ours(study: StudySpec, other: StudySpec, folder: StudyFolder, into: StudyFolder) -> Source:
    """Return another study of ours as a source.

    Args:
        study: what is to learn.
        other, folder: what to learn from.
        into: the folder of the study that is to learn.

    Raises:
        SweepError: it optimises something else, or is the study itself.
    """
    if folder.root == into.root:
        what = f"{folder.root} is the study itself: it knows its own trials"
        raise SweepError("import-itself", what, do="name another study")
    if (other.metric.name, other.metric.goal) != (study.metric.name, study.metric.goal):
        raise SweepError(
            "import-other-metric",
            f"{folder.root} is to {other.metric.goal} {other.metric.name}, this study to {study.metric.goal} {study.metric.name}",
            why="values of another metric say nothing here",
        )
    curves = read_curves(folder)
    records = trials_of(read_records(folder), other)
    trials = [Found(state=r.state, params=r.params, value=r.value, curve=tuple(curves.get(r.number, ()))) for r in records]
    return Source(name=str(folder.root), trials=trials)


def source_of_optunas(study: StudySpec, storage: str, name: str | None) -> Source:
    """Return a study in a SQLite storage of Optuna's as a source.

    Args:
        study: what is to learn.
        storage: `sqlite:///file.db`, or a path.
        name: which study, when there are several.

    Raises:
        SweepError: there is no such file or study, or it optimises something else.
    """
    path = _path(storage)
    loaded = _load(path, name, storage)
    directions = [direction.name.lower() for direction in loaded.directions]
    if directions != [study.metric.goal]:
        raise SweepError(
            "import-other-metric",
            f"the study {loaded.study_name} in {path} is to {' and '.join(directions)}, this one to {study.metric.goal}",
            why="values of another goal say nothing here",
        )
    return Source(name=f"{path}#{loaded.study_name}", trials=[_found(trial) for trial in loaded.trials])


def is_storage(argument: str) -> bool:
    """Tell whether a word names a storage of Optuna's: a URL, or a file that SQLite wrote."""
    if "://" in argument:
        return True
    try:
        with Path(argument).open("rb") as file:
            return file.read(15) == b"SQLite format 3"
    except (OSError, ValueError):
        return argument.endswith(".db")


def _check_that_something_learns(study: StudySpec) -> None:
    if study.multi_objective or study.constraints:
        what = "a study with several metrics or constraints takes no prior knowledge: trials of another have one value"
        raise SweepError("import-one-metric", what)
    if study.prunes or (study.method != "grid" and SAMPLERS[study.method].learns):
        return
    learning = ", ".join(name for name, strategy in SAMPLERS.items() if strategy.learns)
    raise SweepError(
        "import-in-vain",
        f"method {study.method} learns nothing from the trials of other studies, and there is no pruner that could",
        do=f"choose a method that learns ({learning}), or a pruner:  pruner: {{type: median}}",
    )


def _check_that_nothing_began(folder: StudyFolder) -> None:
    if records := read_records(folder):
        raise SweepError(
            "import-too-late",
            f"the study in {folder.root} has {len(records)} trials already",
            why="they were planned without this knowledge",
            do="import into another study:  sweep import STUDY OTHER name=another-name",
        )


def _fitting(study: StudySpec, trials: Iterable[Found]) -> Imported:
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
            taken.append(ImportedTrial(state=trial.state, params=params, value=value, curve=curve))
    return Imported(taken=taken, left_out=left_out)


def _path(storage: str) -> Path:
    if "://" in storage and not storage.startswith(_SQLITE):
        what = f"only SQLite storages can be imported from, not {storage.partition('://')[0]}"
        do = f"copy the study into a file with Optuna's copy_study(), then:  sweep import STUDY {_SQLITE}FILE.db"
        raise SweepError("import-not-sqlite", what, do=do)
    path = Path(storage.removeprefix(_SQLITE).partition("?")[0]).absolute()
    if not path.is_file():
        raise SweepError("import-not-found", f"there is no file {path}", do=f"sweep import STUDY {_SQLITE}FILE.db")
    return path


def _load(path: Path, name: str | None, storage: str) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Read-only: Optuna would add tables to a file that has none.
    url = f"sqlite:///file:{path.as_uri().removeprefix('file://')}?mode=ro&uri=true"
    try:
        opened = optuna.storages.RDBStorage(url)
        try:
            names = optuna.get_all_study_names(opened)
            if len(names) == 1 or name in names:
                study = optuna.load_study(study_name=name or names[0], storage=opened)
                trials = study.get_trials()
                return _Loaded(study.study_name, study.directions, trials)
        finally:
            opened.engine.dispose()
    except Exception as error:  # whatever a damaged file, or one of another program, makes Optuna raise
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SweepError("import-not-readable", f"{path} cannot be read as a storage of Optuna's", why=why) from None
    known = ", ".join(names) or "none"
    what = f"{path} holds no study {name}" if name else f"{path} holds {len(names)} studies: say which"
    do = f"sweep import STUDY {shlex.quote(storage)} --study {shlex.quote(names[0]) if names else 'NAME'}"
    raise SweepError("import-which-study", what, why=f"the studies there: {known}", do=do)


@dataclass(frozen=True)
class _Loaded:
    """A study of Optuna's, read to its end."""

    study_name: str
    directions: list[Any]
    trials: list[Any]


def _found(trial: Any) -> Found:
    curve: Mapping[int, float] = trial.intermediate_values
    return Found(
        state=_STATES.get(trial.state.name, TrialState.WAITING),
        params=trial.params,
        value=trial.values[0] if trial.values else None,
        curve=tuple(sorted(curve.items())),
    )
