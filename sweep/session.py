"""A run of `sweep run` from lock to lock: check that the study fits its folder, write down what it is, run it.

Here the parts are put together: the runner gets its store, its slots and a way to make workers, and knows of no other.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sweep import environment
from sweep.devices import Slot, plan_slots
from sweep.errors import EXIT_LOCKED, EXIT_SOME_FAILED, SweepError
from sweep.executors.inline import InlineWorker
from sweep.files import write_json, write_text
from sweep.layout import StudyFolder
from sweep.lock import locked, set_aside
from sweep.messages import Worker
from sweep.observer import Observer, RunOutcome
from sweep.runner import Runner
from sweep.storage import StudyStore
from sweep.study import StudySpec
from sweep.study_file import differences, read_study, write_study
from sweep.trial import TrialState
from sweep.worker import serve


def run_study(
    study: StudySpec,
    folder: StudyFolder,
    study_path: Path,
    observer: Observer,
    *,
    inline: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    on_start: Callable[[Runner], None] = lambda runner: None,
) -> RunOutcome:
    """Run a study in its folder, or go on with it where it stopped.

    Args:
        study: what to run.
        folder: where its results are or will be.
        study_path: the file it came from, for the record.
        observer: is told what happens.
        inline: run one trial at a time in this process, for debugging.
        fresh: move the folder aside and start over.
        retry_failed: run failed trials again, under their own numbers.
        on_start: gets the runner before it runs, to be able to stop it.

    Raises:
        SweepError: see `Runner.run`; also when another process runs the study, or its file no longer fits what is stored.
    """
    workers = study.workers
    slots = plan_slots(workers.devices, workers.per_device, workers.threads)
    if inline:
        slots = slots[:1]
    _check_ours(folder)
    if fresh and folder.root.exists():
        with locked(folder):
            observer.preparing(f"the old study is now in {set_aside(folder)}", None)
    with locked(folder), _told_what_to_do(folder):
        check_fits(study, folder)
        write_text(folder.study_file, f"# resolved from {study_path}\n{write_study(study)}")
        write_json(folder.environment, environment.describe(study_path, study.import_dir, slots))
        store = StudyStore(folder, study)
        try:
            known = store.records()
            if retry_failed:
                known = [store.reopen(record) if record.state is TrialState.FAILED else record for record in known]
            runner = Runner(study, folder, store, known, slots, worker_maker(study, inline), observer)
            on_start(runner)
            return runner.run()
        finally:
            store.close()


def _check_ours(folder: StudyFolder) -> None:
    ours = (folder.lock, folder.study_file, folder.database)
    if folder.root.is_dir() and any(folder.root.iterdir()) and not any(path.exists() for path in ours):
        raise SweepError(
            "not-a-study",
            f"{folder.root} is in the way: it is not empty and holds no study",
            do="choose another place:  sweep run STUDY name=another output=runs",
        )


@contextlib.contextmanager
def _told_what_to_do(folder: StudyFolder) -> Iterator[None]:
    """Turn a failed write of the runner's into a message: what is stored stays good, and the study can be resumed."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise SweepError(
            "write-failed",
            f"the sweep stopped because a file could not be written: {error}",
            where=str(folder.root),
            why="usually a full disk or a quota; everything that was stored before is good",
            do=f"make room, then:  sweep resume {folder.root}",
            exit_code=EXIT_SOME_FAILED,
        ) from error


def check_fits(study: StudySpec, folder: StudyFolder) -> None:
    """Refuse to mix trials that cannot be compared.

    Raises:
        SweepError: the stored study differs in more than its budget, workers and retries.
    """
    if not folder.study_file.exists():
        return
    stored = read_study(folder.study_file, find_objective=False)
    if lines := differences(stored, study):
        raise SweepError(
            "study-changed",
            f"the study in {folder.root} was run with another study file",
            why="\n".join(lines),
            do="keep both:   give it another name (name=...)\n"
            "start over:  add --fresh (the old folder is moved aside, not deleted)",
            exit_code=EXIT_LOCKED,
        )


def worker_maker(study: StudySpec, inline: bool) -> Callable[[Slot], Worker]:
    """Return what makes a slot's worker: a process, or for `inline` a thread of this process."""
    loop = functools.partial(serve, study)
    if inline:
        return lambda slot: InlineWorker(slot, loop)
    from sweep.executors.local import LocalWorker

    return lambda slot: LocalWorker(slot, loop)
