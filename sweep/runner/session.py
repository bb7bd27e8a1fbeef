"""A run of `sweep run` from lock to lock: check that the study fits its folder, write down what it is, run it.

Here the parts are put together: the runner gets its store, its slots and a way to make workers, and knows of no other.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.errors import write_failed
from sweep.runner import environment
from sweep.runner.gpu_sharing import GpuSharing, may_grow
from sweep.runner.ledger import Ledger
from sweep.runner.observers import Observer, RunOutcome
from sweep.runner.runner import Runner
from sweep.runner.timers import SessionTimer
from sweep.search.imported import count_imported, imported_text
from sweep.storage.database import read_records, unreadable
from sweep.storage.files import write_json, write_text
from sweep.storage.folder import StudyFolder
from sweep.storage.integrity import check_ours, check_whole, set_aside, set_orphans_aside
from sweep.storage.lock import locked
from sweep.storage.store import StudyStore, remove_if_empty
from sweep.storage.stored_study import continued_study, stored_study
from sweep.study.file.writing import write_study
from sweep.study.objective import packed
from sweep.study.record import TrialRecord
from sweep.study.space import assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from sweep.worker.devices import Slot, cpu_cores, plan_slots
from sweep.worker.executors.inline import InlineWorker
from sweep.worker.loop import IMPORTS, serve
from sweep.worker.protocol import Worker


def run_study(
    study: StudySpec,
    folder: StudyFolder,
    study_path: Path,
    observer: Observer,
    *,
    objective: Callable[..., Any] | None = None,
    inline: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    on_start: Callable[[Runner], object] = lambda runner: None,
) -> RunOutcome:
    """Run a study in its folder, or go on with it where it stopped.

    Args:
        study: what to run.
        folder: where its results are or will be.
        study_path: the file it came from, for the record.
        observer: is told what happens.
        objective: the function itself, when no module has it.
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
    packing = GpuSharing(slots, cpu_cores(), threads=workers.threads) if may_grow(workers, slots) and not inline else None
    get = objective_getter(objective, inline)
    check_ours(folder)
    if fresh and folder.root.exists():
        with locked(folder, observer.notice):
            observer.notice(f"the old study is now in {set_aside(folder)}")
    with locked(folder, observer.notice), _told_what_to_do(folder):
        clock = SessionTimer()
        folder.stop_request.unlink(missing_ok=True)  # it was meant for an earlier run
        check_whole(folder)
        set_orphans_aside(folder, read_records(folder), observer.notice)
        remove_if_empty(folder)
        study = continued_study(study, folder)
        renew_columns(study, folder, observer)
        write_text(folder.study_file, f"{write_study(study)}# resolved from {study_path}\n", sync=True)
        write_json(folder.environment, environment.describe(study_path, study.import_dir, slots))
        with _workers_under_way(inline, slots), contextlib.closing(StudyStore(folder, study)) as store:
            known = store.records()
            if retry_failed:
                failed = TrialState.FAILED
                known = [store.reopen(reopened(record, study)) if record.state is failed else record for record in known]
            if count := count_imported(folder):
                observer.notice(f"study {study.name}: {imported_text(count)}")
            ledger = Ledger(study, folder, store, known, observer, len(slots))
            runner = Runner(study, folder, ledger, slots, worker_maker(study, inline, get), observer, clock, packing)
            on_start(runner)
            return runner.run()


def _workers_under_way(inline: bool, slots: Sequence[Slot]) -> contextlib.AbstractContextManager[None]:
    """Have what workers import imported while the study is opened."""
    if inline:
        return contextlib.nullcontext()
    from sweep.worker.executors.starting import imports_under_way

    return imports_under_way(slots[0], IMPORTS)


@contextlib.contextmanager
def _told_what_to_do(folder: StudyFolder) -> Iterator[None]:
    """Turn a failed write of the runner's into a message: what is stored stays good, and the study can be resumed."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise write_failed(str(error), str(folder.root)) from error
    except sqlite3.DatabaseError as error:
        raise unreadable(folder, str(error)) from None


def objective_getter(objective: Callable[..., Any] | None, inline: bool = False) -> Callable[[], Any] | None:
    """Return what gives workers an objective that no module has, None when they import it.

    Raises:
        SweepError: the function cannot be sent to a process.
    """
    if objective is None:
        return None
    # Pickled once and here, where somebody hears of a failure; read by the worker's loop, which can tell of one.
    return (lambda: objective) if inline else functools.partial(pickle.loads, packed(objective))


def worker_maker(study: StudySpec, inline: bool, get: Callable[[], Any] | None = None) -> Callable[[Slot], Worker]:
    """Return what makes a slot's worker: a process, or for `inline` a thread of this process."""
    loop = functools.partial(serve, study, get=get)
    if inline:
        return lambda slot: InlineWorker(slot, loop)
    from sweep.worker.executors.local import LocalWorker

    return lambda slot: LocalWorker(slot, loop, IMPORTS)


def renew_columns(study: StudySpec, folder: StudyFolder, observer: Observer) -> None:
    """Give the trials that there are the HPARAMS columns of a study that was extended: TensorBoard reads any trial's.

    Before the study file is written: what is interrupted here is done again.
    """
    if not study.earlier or not folder.study_file.exists() or stored_study(folder).shown == study.shown:
        return
    from sweep.tensorboard.hparams import renew

    records = read_records(folder)
    observer.notice(f"the parameters have changed: renewing the HPARAMS columns of {len(records)} trials")
    for record in records:
        renew(folder.trial_dir(record.folder), record.params, study.shown)


def reopened(record: TrialRecord, study: StudySpec) -> TrialRecord:
    """Return a failed trial as it is run again: from its start, with today's constants."""
    return replace(record, params=assignment(study.parameters, lambda name, _: record.params[name]))
