"""A run of `sweep run` from lock to lock: check that the study fits its folder, write down what it is, run it.

Here the parts are put together: the runner gets its store, its slots and a way to make workers, and knows of no other.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweep import environment
from sweep.continuation import continued
from sweep.devices import Slot, plan_slots
from sweep.errors import SweepError, write_failed
from sweep.executors.inline import InlineWorker
from sweep.files import write_json, write_text
from sweep.layout import StudyFolder
from sweep.ledger import Ledger
from sweep.lock import locked, set_aside
from sweep.messages import Worker
from sweep.observer import Observer, RunOutcome
from sweep.records import TrialRecord, recorded_folder
from sweep.runner import Runner
from sweep.storage import StudyStore, read_records, remove_if_empty
from sweep.study import StudySpec
from sweep.study_file import read_study, write_study
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
        with locked(folder, observer.notice):
            observer.notice(f"the old study is now in {set_aside(folder)}")
    with locked(folder, observer.notice), _told_what_to_do(folder):
        folder.stop_request.unlink(missing_ok=True)  # it was meant for an earlier run
        remove_if_empty(folder)
        study = taken_up(study, folder)
        _renew_columns(study, folder, observer)
        write_text(folder.study_file, f"{write_study(study)}# resolved from {study_path}\n", sync=True)
        write_json(folder.environment, environment.describe(study_path, study.import_dir, slots))
        store = StudyStore(folder, study)
        try:
            known = store.records()
            _remove_orphans(folder, known)
            if retry_failed:
                known = [store.reopen(record) if record.state is TrialState.FAILED else record for record in known]
            ledger = Ledger(study, folder, store, known, observer)
            runner = Runner(study, folder, ledger, slots, worker_maker(study, inline), observer)
            on_start(runner)
            return runner.run()
        finally:
            store.close()


def _renew_columns(study: StudySpec, folder: StudyFolder, observer: Observer) -> None:
    """Give the trials that there are the HPARAMS columns of a study that was extended: TensorBoard reads any trial's.

    Before the study file is written: what is interrupted here is done again.
    """
    if not study.earlier or not folder.study_file.exists():
        return
    if read_study(folder.study_file, find_objective=False).shown == study.shown:
        return
    from sweep.tensorboard.hparams import replace_experiment

    records = read_records(folder)
    observer.notice(f"the study was extended: renewing the HPARAMS columns of {len(records)} trials")
    for record in records:
        replace_experiment(folder.trial_dir(record.folder), study.shown)


def _remove_orphans(folder: StudyFolder, known: Sequence[TrialRecord]) -> None:
    """Remove run folders whose trials the database has forgotten: a power cut can take its last moments.

    Those trials are planned again, perhaps with other parameters, and TensorBoard would show both.
    """
    names = {record.folder for record in known}
    for path in folder.root.glob("[0-9][0-9][0-9][0-9]*/trial.json"):
        if path.parent.name not in names and recorded_folder(path) == path.parent.name:
            for pattern in ("events.out.tfevents*", "checkpoint*.pt", "log.txt", "trial.json"):
                for ours in path.parent.glob(pattern):
                    ours.unlink()
            with contextlib.suppress(OSError):  # the objective's own files stay
                path.parent.rmdir()


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
        raise write_failed(str(error), str(folder.root)) from error


def taken_up(study: StudySpec, folder: StudyFolder) -> StudySpec:
    """Return the study as it would go on in its folder: `study` itself when nothing was run there yet.

    Raises:
        SweepError: the study file was changed in a way that makes old and new trials incomparable.
    """
    if not folder.study_file.exists():
        return study
    stored = read_study(folder.study_file, find_objective=False)
    return continued(stored, study, str(folder.root)) if read_records(folder) else study


def worker_maker(study: StudySpec, inline: bool) -> Callable[[Slot], Worker]:
    """Return what makes a slot's worker: a process, or for `inline` a thread of this process."""
    loop = functools.partial(serve, study)
    if inline:
        return lambda slot: InlineWorker(slot, loop)
    from sweep.executors.local import LocalWorker

    return lambda slot: LocalWorker(slot, loop)
