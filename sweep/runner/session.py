"""One session of `sweep run`, from lock to release: check that the study fits its folder, record what is run, run it.

The parts are put together here: the runner gets its store, its slots and a function that makes workers.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.runner import environment
from sweep.runner.changed_code import CodeHistory
from sweep.runner.changed_constants import constants_texts
from sweep.runner.drawing import Drawing
from sweep.runner.engine import Engine, Here, check_engine
from sweep.runner.fuse_measuring import with_fuse
from sweep.runner.fusing import shared, with_seats
from sweep.runner.gpu_sharing import GpuSharing, may_grow, mps_text, slots_for
from sweep.runner.ledger import Ledger
from sweep.runner.observers import Observer, SessionOutcome, ended_json
from sweep.runner.other_sessions import announced, shared_text, usage_of
from sweep.runner.runner import Runner
from sweep.runner.timers import RunningClock, SessionTimer
from sweep.search.imported import count_imported, imported_text
from sweep.storage.checked import check_params
from sweep.storage.database import CODES, ENDED, OUTLINE, damage_reported, read_records
from sweep.storage.files import write_json, write_text
from sweep.storage.folder import StudyFolder
from sweep.storage.integrity import check_ours, check_whole, set_aside, set_orphans_aside
from sweep.storage.lock import Lock, locked
from sweep.storage.messages import explained
from sweep.storage.outline import outline
from sweep.storage.parents import keep_checkpoints
from sweep.storage.store import StudyStore, remove_if_empty
from sweep.storage.stored_study import continued_study, stored_study
from sweep.study.file.writing import write_study
from sweep.study.objective import packed
from sweep.study.record import TrialRecord
from sweep.study.space import Constant
from sweep.study.spec import StudySpec
from sweep.study.training_code import code_of, uses_torch
from sweep.study.trial import TrialState
from sweep.tensorboard.columns import note_column, with_columns
from sweep.tensorboard.remarked import renew_remarks
from sweep.worker.devices import Slot, cpu_cores, device_notes
from sweep.worker.executors.inline import InlineWorker
from sweep.worker.loop import IMPORTS, TORCH_IMPORTS, serve
from sweep.worker.marks import VARIABLE, end_marked, mark_of
from sweep.worker.protocol import Worker

# What workers on other machines are told of this process's environment, as those of this machine inherit it.
_INHERITED = ("SWEEP_DATA",)


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
    keep: bool = False,
    warn: Callable[[str], object] | None = None,
    on_start: Callable[[Runner], object] = lambda runner: None,
    signals: Sequence[int] = (),
) -> SessionOutcome:
    """Run a study in its folder, or resume it.

    Args:
        study_path: the file that the study was read from, for the record.
        objective: the function itself, when it is in no module.
        inline: run one trial at a time in this process, for debugging.
        fresh: move the folder aside and start over.
        retry_failed: run failed trials again, under their own numbers.
        keep: go on beside trials that other code has trained.
        warn: shows that results of other code stay; default: the observer.
        on_start: is called with the runner before it runs, to be able to stop it.
        signals: the numbers of those that came, in order; what `on_start` installs adds to them.

    Raises:
        SweepError: see `Runner.run`; also when another process runs the study, or the study does not fit what is stored.
    """
    check_engine(study.workers, inline=inline)
    slots = slots_for(study.workers)[: 1 if inline else None]
    get_objective = _objective_getter(objective, inline)
    check_ours(folder)
    if fresh and folder.root.exists():
        with locked(folder, observer.notice):
            observer.notice(f"the old study is now in {set_aside(folder)}")
    clock = RunningClock()
    usage = usage_of(slots, folder.root)
    with (
        clock.ticking(),
        locked(folder, observer.notice) as lock,
        _write_errors_explained(folder, lock),
        announced(usage) as others,
    ):
        timer = SessionTimer(clock)
        folder.stop_request.unlink(missing_ok=True)  # it was for an earlier session
        folder.check_files()
        mark = mark_of(folder.root)
        if left := end_marked(mark):
            observer.notice(f"ended {len(left)} process{'es' * (len(left) > 1)} that an earlier session had left behind")
        slots = [replace(slot, env={**slot.env, VARIABLE: mark}) for slot in slots]
        check_whole(folder)
        known = read_records(folder)
        set_orphans_aside(folder, known, observer.notice)
        remove_if_empty(folder)
        study = continued_study(study, folder)
        _check_params(study, folder, known)
        code = CodeHistory(study, folder, found := code_of(study, objective), known)
        if text := code.check(keep=keep, retry_failed=retry_failed):
            (warn or observer.notice)(text)
        imports = TORCH_IMPORTS if uses_torch(study, found, objective) else IMPORTS
        maker = functools.partial(worker_maker, study, inline, get_objective, imports)
        study = with_fuse(study, folder, slots, maker, observer.notice, inline=inline)
        slots = with_seats(slots, study.workers.fuse or 1)

        renew_columns(study, folder, observer, code)
        write_text(folder.study_file, text := f"{write_study(study)}# resolved from {study_path}\n", sync=True)
        write_json(folder.environment, environment.describe(study_path, study.import_dir, slots, study.workers))
        if count := count_imported(folder):
            observer.notice(f"study {study.name}: {imported_text(count)}")
        told = (
            *constants_texts(study, known),
            keep_checkpoints(study, folder, known),
            shared_text(usage, others),
            *device_notes(study.workers.devices, slots),
            mps_text(slots),
        )
        for text in filter(None, told):
            observer.notice(text)

        with (
            _engine(study, folder, slots, inline, get_objective, imports, mark) as engine,
            _open_store(folder, study, lock, observer) as store,
        ):
            known = store.records()
            store.note({CODES: code.stored, OUTLINE: outline(study, text), ENDED: None})
            store.interrupt([replace(run, state=TrialState.WAITING) for run in known if run.state is TrialState.RUNNING])
            if retry_failed:
                known = [store.reopen(run) if run.has_failed else run for run in known]
            with damage_reported(folder):
                drawing = Drawing((folder.trial_dir(run.folder) for run in known if run.state.finished), observer.notice)
                ledger = Ledger(study, folder, store, known, observer, len(slots), clock, code, drawing.ended)
            sharing = None if inline else _sharing(study, slots, clock)
            runner = Runner(study, folder, ledger, slots, engine, observer, timer, sharing)
            on_start(runner)
            return _run(runner, drawing, ledger, store, study, folder, signals)


def _run(
    runner: Runner,
    drawing: Drawing,
    ledger: Ledger,
    store: StudyStore,
    study: StudySpec,
    folder: StudyFolder,
    signals: Sequence[int],
) -> SessionOutcome:
    """Run what is left; then store how the session ended, and show in TensorBoard what the user has said of trials meanwhile."""
    with drawing:
        outcome = runner.run()
    with contextlib.suppress(sqlite3.Error, SweepError):  # all results are stored
        store.note({ENDED: ended_json(outcome, signals)})
    with contextlib.suppress(OSError, SweepError):  # the next session does it again
        renew_remarks(study, folder)
        ledger.read_remarks()  # it may have ended before a further trial did
    return outcome


@contextlib.contextmanager
def _engine(
    study: StudySpec,
    folder: StudyFolder,
    slots: Sequence[Slot],
    inline: bool,
    get: Callable[[], Any] | None,
    imports: Sequence[str],
    mark: str,
) -> Iterator[Engine]:
    """Have what makes workers: this machine, which imports their modules while the study is opened, or a cluster."""
    if inline:
        yield Here(make_worker=shared(worker_maker(study, inline, get, imports)))
    elif study.workers.engine == "ray":
        from sweep.worker.executors.ray.cluster import RayCluster

        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        cluster = RayCluster(study, folder.root, get, imports, inherited | {VARIABLE: mark})
        with cluster.connected():
            yield cluster
    else:
        from sweep.worker.executors.starting import imports_under_way

        with imports_under_way(slots[0], imports):
            yield Here(make_worker=shared(worker_maker(study, inline, get, imports)))


def _check_params(study: StudySpec, folder: StudyFolder, known: Sequence[TrialRecord]) -> None:
    with damage_reported(folder):
        for record in known:
            check_params(record, study)


def _sharing(study: StudySpec, slots: Sequence[Slot], clock: RunningClock) -> GpuSharing | None:
    if not may_grow(study.workers, slots) or slots[0].seats > 1:
        return None
    return GpuSharing(slots, cpu_cores(), clock, threads=study.workers.threads)


def _open_store(folder: StudyFolder, study: StudySpec, lock: Lock, observer: Observer) -> contextlib.closing[StudyStore]:
    return contextlib.closing(StudyStore(folder, study, lock.check, observer.notice))


@contextlib.contextmanager
def _write_errors_explained(folder: StudyFolder, lock: Lock) -> Iterator[None]:
    """Raise a failed write as a message: what is stored stays good, and the study can be resumed."""
    try:
        yield
    except (OSError, sqlite3.Error, SweepError) as error:
        lock.check()  # if the folder is gone, that is the cause
        raise explained(error, folder) from (None if isinstance(error, SweepError) else error)


def _objective_getter(objective: Callable[..., Any] | None, inline: bool) -> Callable[[], Any] | None:
    """Return a function that gives workers an objective that is in no module; None when they import it."""
    if objective is None:
        return None
    # Pickled once and here, where an error is shown; unpickled by the worker's loop, which reports an error.
    return (lambda: objective) if inline else functools.partial(pickle.loads, packed(objective))


def worker_maker(
    study: StudySpec, inline: bool, get_objective: Callable[[], Any] | None = None, imports: Sequence[str] = IMPORTS
) -> Callable[[Slot], Worker]:
    """Return a function that makes a slot's worker: a process, or for `inline` a thread of this one."""
    loop = functools.partial(serve, study, get=get_objective, imports=imports)
    if inline:
        return lambda slot: InlineWorker(slot, loop)
    from sweep.worker.executors.local import LocalWorker

    return lambda slot: LocalWorker(slot, loop, imports)


def renew_columns(study: StudySpec, folder: StudyFolder, observer: Observer, code: CodeHistory | None = None) -> None:
    """Give earlier trials the HPARAMS columns that the study has now: TensorBoard reads the columns from any trial.

    Call this before the study file and the codes are written: then the next session does again what is interrupted here.
    """
    renew_remarks(study, folder)
    before = stored_study(folder) if study.earlier and folder.study_file.exists() else study
    if before.shown == study.shown and not (code and code.adds_column):
        return
    from sweep.tensorboard.hparams import renew

    records = read_records(folder)
    noted = any(record.note for record in records)
    if any(
        not isinstance(domain, Constant) and before.parameters.get(name) != domain for name, domain in study.parameters.items()
    ):
        observer.notice(f"the parameters have changed: renewing the HPARAMS columns of {len(records)} trials")
    for record in records:
        columns = (code.columns(record) if code else {}) | (note_column(study, record.note) if noted else {})
        renew(folder.trial_dir(record.folder), *with_columns(record.params, study.shown, columns))
