"""A worker: the loop that a slot's process runs, from the first import to the last trial.

    commands in ──► serve ──► Load      import the objective (torch, TensorBoard): once
                          ├─► Prepare   the objective's prepare(params): once, in one worker
                          └─► TrialSpec `sweep.worker.attempt`: objective(trial) ─► TrialResult

The user's code runs in the process's main thread, so it may install signal handlers. The executor gives `serve` a channel and a
function that redirects what a trial prints.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.study import plain
from sweep.study.objective import ObjectiveNotFound, load
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialSpec
from sweep.worker.attempt import LogTo, Objective, run_trial
from sweep.worker.devices import Slot
from sweep.worker.protocol import Channel, Load, Loaded, LoadFailed, Prepare, Prepared, PrepareFailed, Progress
from sweep.worker.script.objective import objective_of
from sweep.worker.tracebacks import user_traceback

# Slow to import, and every trial needs them.
IMPORTS = ("torch", "sweep.worker.checkpoint", "sweep.tensorboard.writer")


def serve(study: StudySpec, channel: Channel, slot: Slot, log_to: LogTo, *, get: Callable[[], Objective] | None = None) -> None:
    """Obey commands until the channel closes.

    Args:
        study, channel, slot: what the trials belong to, what commands come from, and where this worker computes.
        log_to: redirects what is printed inside it to a file.
        get: returns the objective; None to import the one that the study names.
    """
    get = get or functools.partial(_named, study)
    objective: Objective | None = None
    with contextlib.suppress(EOFError):  # the runner is gone
        for command in iter(channel.recv, None):
            if objective is None:
                try:
                    objective = _load(get, slot)
                except BaseException as error:
                    text = f"importing it raised {type(error).__name__}: {plain.text(error)}"
                    reason = plain.text(error) if isinstance(error, ObjectiveNotFound) else text
                    channel.send(LoadFailed(reason=reason, traceback=user_traceback(error)))
                    continue
            if isinstance(command, Load):
                channel.send(Loaded(prepare=hasattr(objective, "prepare")))
            elif isinstance(command, Prepare):
                _prepare(channel, objective, command)
            elif isinstance(command, TrialSpec):
                channel.send(run_trial(channel, objective, command, study, slot, log_to))


def _named(study: StudySpec) -> Objective:
    if study.command is not None:
        return objective_of(study.command, Path(study.import_dir), study.metric.name)
    return load(str(study.objective), study.import_dir)


def _load(get: Callable[[], Objective], slot: Slot) -> Objective:
    objective = get()
    for name in IMPORTS:  # now, before a trial waits for them
        importlib.import_module(name)
    import torch

    # Also for a torch that was imported before the environment was set.
    torch.set_num_threads(slot.threads)
    return objective


def _prepare(channel: Channel, objective: Any, command: Prepare) -> None:
    try:
        steps = objective.prepare(dict(command.params))
        for progress in steps if isinstance(steps, Iterator) else ():
            channel.send(Progress.of(progress))
            channel.recv()
        channel.send(Prepared())
    except SweepError as error:
        parts = (error.what, error.where, error.why, error.do)
        what, where, why, do = (None if part is None else plain.text(part) for part in parts)
        channel.send(PrepareFailed(id=plain.text(error.id), what=what or "", where=where, why=why, do=do))
    except BaseException as error:  # sys.exit too: every command has an event as its answer
        what = "the objective's prepare(params) raised"
        channel.send(PrepareFailed(id="prepare-failed", what=what, why=user_traceback(error)))
