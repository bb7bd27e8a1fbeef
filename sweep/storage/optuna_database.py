"""Create an Optuna study, and open a database of Optuna's read-only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.storage.database import unreadable
from sweep.storage.folder import StudyFolder
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
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    # Under another name until it is complete: another process may open it.
    unfinished = folder.database.with_name(f".{folder.database.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        storage = RDBStorage(f"sqlite:///{unfinished}")
        create_study(study, storage)
        storage.engine.dispose()
        unfinished.rename(folder.database)
    except (SQLAlchemyError, OSError) as error:
        raise unreadable(folder, str(error).splitlines()[0]) from None


def open_read_only(path: Path) -> RDBStorage:
    """Open a database of Optuna's; Optuna itself would create a missing file, and tables in a file without any.

    Args:
        path: the SQLite file, absolute.
    """
    from optuna.storages import RDBStorage

    return RDBStorage(f"sqlite:///file:{path.as_uri().removeprefix('file://')}?mode=ro&uri=true")


def load_read_only(path: Path) -> Study:
    """Load the only study of a database of Optuna's.

    Args:
        path: the SQLite file, absolute.
    """
    import optuna

    return optuna.load_study(study_name=None, storage=open_read_only(path))
