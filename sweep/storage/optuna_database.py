"""Create an Optuna study, and open a database of Optuna's read-only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.storage.folder import StudyFolder
from sweep.storage.messages import explained
from sweep.study.spec import StudySpec

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study import Study


def create_study(study: StudySpec, storage: BaseStorage, **parts: Any) -> Study:
    """Create a study in one of Optuna's storages; Optuna logs nothing but errors from here on.

    Args:
        study: its name, and the goals of its metrics.
        storage: an empty one.
        parts: `sampler` and `pruner`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [optuna.study.StudyDirection[metric.goal.upper()] for metric in study.metrics]
    return optuna.create_study(storage=storage, study_name=study.name, directions=directions, **parts)


def create_database(folder: StudyFolder, study: StudySpec) -> None:
    """Create a study's database, without trials.

    Raises:
        SweepError: it cannot be written.
    """
    from sqlalchemy.exc import SQLAlchemyError

    # Under another name until it is complete: another process may open it.
    unfinished = folder.database.with_name(f".{folder.database.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        storage = _storage(lambda: sqlite3.connect(unfinished, check_same_thread=False))
        create_study(study, storage)
        storage.engine.dispose()
        unfinished.rename(folder.database)
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None)
        raise explained(cause if isinstance(cause, sqlite3.Error) else error, folder) from None


def open_read_only(path: Path) -> RDBStorage:
    """Open a database of Optuna's; Optuna itself would create a missing file, and tables in a file without any.

    Args:
        path: the SQLite file, absolute.
    """
    place = f"{path.as_uri()}?mode=ro"
    return _storage(lambda: sqlite3.connect(place, uri=True, check_same_thread=False))


def _storage(connect: Callable[[], sqlite3.Connection]) -> RDBStorage:
    """Return Optuna's storage of a database, which is not named by a URL: in those `?`, `#` and `%` have a meaning."""
    from optuna.storages import RDBStorage

    return RDBStorage("sqlite://", engine_kwargs={"creator": connect})


def load_read_only(path: Path) -> Study:
    """Load the only study of a database of Optuna's.

    Args:
        path: the SQLite file, absolute.
    """
    import optuna

    return optuna.load_study(study_name=None, storage=open_read_only(path))
