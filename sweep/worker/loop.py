"""A worker: the loop that a slot's process runs, from the first import to the last trial.

    commands in ──► serve ──► Load      import the objective, and what it needs: once
                          ├─► Prepare   the objective's prepare(params): once, in one worker
                          └─► TrialSpec `sweep.worker.attempt`: objective(trial) ─► TrialResult

The user's code runs in the process's main thread, so it may install signal handlers. The executor gives `serve` a channel and a
function that redirects what a trial prints.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.storage.folder import LOG
from sweep.study import plain
from sweep.study.code.suggesting import calls_suggest
from sweep.study.objective import ObjectiveNotFound, load
from sweep.study.spec import StudySpec
from sweep.study.trial import GroupSpec, TrialResult, TrialSpec, with_lists
from sweep.worker import cuda, determinism, randomness, torch_use
from sweep.worker.attempt import Objective
from sweep.worker.devices import Slot
from sweep.worker.group import varies_of
from sweep.worker.optuna_trial import for_optuna
from sweep.worker.protocol import Channel, Load, Loaded, LoadFailed, Prepare, Prepared, PrepareFailed, Progress
from sweep.worker.script.objective import objective_of
from sweep.worker.several import run_group
from sweep.worker.single import LogTo, run_trial
from sweep.worker.tracebacks import user_traceback

# Slow to import, and every trial needs them.
IMPORTS = (
    "sweep.worker.checkpoint",
    "sweep.worker.determinism",
    "sweep.worker.randomness",
    "sweep.tensorboard.trial_log",
    "sweep.worker.process_state",
)
# Those of a study whose code uses torch.
TORCH_IMPORTS = ("torch", *IMPORTS, "sweep.tensorboard.writer", "sweep.worker.tensors", "sweep.worker.torch_state")

_BLAS_SETTERS = tuple(f"{prefix}set_num_threads{end}" for prefix in ("scipy_openblas_", "openblas_") for end in ("", "64_"))
_BLAS_SETTERS += ("MKL_Set_Num_Threads",)


def serve(
    study: StudySpec,
    channel: Channel,
    slot: Slot,
    log_to: LogTo,
    *,
    get: Callable[[], Objective] | None = None,
    imports: Sequence[str] = IMPORTS,
) -> None:
    """Obey commands until the channel closes.

    Args:
        study, channel, slot: what the trials belong to, what commands come from, and where this worker computes.
        log_to: redirects what is printed inside it to a file.
        get: returns the objective; None to import the one that the study names.
        imports: modules that are imported before the objective.
    """
    get = get or functools.partial(_named, study)
    objective: Objective | None = None
    varies: tuple[str, ...] | None = None
    state: Any = None
    with contextlib.ExitStack() as at_the_end, contextlib.suppress(EOFError):  # the runner is gone
        for command in iter(channel.recv, None):
            if objective is None:
                try:
                    found, state = _load(get, imports, study, slot, at_the_end)
                    varies, objective = varies_of(found), found
                except BaseException as error:
                    known = isinstance(error, ObjectiveNotFound)
                    text = plain.text(error)
                    reason = text if known else f"importing it raised {type(error).__name__}: {text}"
                    channel.send(LoadFailed(reason=reason, traceback="" if known else user_traceback(error)))
                    continue
            if isinstance(command, Load):
                channel.send(Loaded(prepare=hasattr(objective, "prepare"), varies=varies))
            elif isinstance(command, Prepare):
                _prepare(channel, objective, command, state)
            elif isinstance(command, TrialSpec | GroupSpec):
                # In a copy of the context: what the trial sets there ends with it.
                args = channel, _InThisProcess(objective, state), command, study, slot, log_to
                *others, result = contextvars.copy_context().run(_run, *args)
                left = state.put_back()
                if not cuda.give_memory_back() and not result.spent:
                    left.append("a CUDA that reports errors only")
                if left:
                    result = replace(result, spent=True)
                    first = command.starting[0] if isinstance(command, GroupSpec) else command
                    _tell(Path(first.dir), log_to, left)
                for other in others:  # of a group, whose process ends with the last one, if it has to
                    channel.send(other)
                    channel.recv()
                channel.send(result)
    if state is not None:
        state.close()  # it may be the user's own process


def _run(
    channel: Channel, objective: Objective, command: TrialSpec | GroupSpec, study: StudySpec, slot: Slot, log_to: LogTo
) -> list[TrialResult]:
    if isinstance(command, GroupSpec):
        return run_group(channel, objective, command, study, slot, log_to)
    return [run_trial(channel, objective, command, study, slot, log_to)]


def _named(study: StudySpec) -> Objective:
    if study.command is not None:
        return objective_of(study)
    return load(str(study.objective), study.import_dir)


def _load(
    get: Callable[[], Objective], imports: Sequence[str], study: StudySpec, slot: Slot, at_the_end: contextlib.ExitStack
) -> tuple[Objective, Any]:
    """Import the objective and everything slow; return the objective, and the state that each trial is to find."""
    for name in imports:  # ours first: a file of the study's folder may have the name of a module that they need
        importlib.import_module(name)
    from sweep.worker.module_state import Modules
    from sweep.worker.process_state import ProcessState

    # Also for libraries that were imported before the environment was set.
    _set_blas_threads(slot.threads)
    from_torch = torch_use.WhenImported()
    at_the_end.callback(from_torch.close)
    at_the_end.enter_context(determinism.environment(study.determinism, slot))
    from_torch.call(functools.partial(_set_up_torch, study, slot, at_the_end))
    if not torch_use.loaded():
        from_torch.call(randomness.seed_torch)  # of the trial that imports it
    modules = Modules(study.import_dir)
    objective = get()
    modules.remember_function(objective)
    state = ProcessState(modules)
    from_torch.call(state.add_torch)
    if study.suggests or (study.command is None and calls_suggest(objective)):
        objective = for_optuna(objective, study)
    return objective, state


def _set_up_torch(study: StudySpec, slot: Slot, at_the_end: contextlib.ExitStack) -> None:
    """Make torch's settings."""
    import torch

    torch.set_num_threads(slot.threads)
    at_the_end.enter_context(determinism.settings(study.determinism, slot))  # before the objective can use CUDA
    if ":" in slot.torch_device:  # inline, where every GPU is visible: also for code that says only `cuda` in this thread
        torch.cuda.set_device(slot.torch_device)


def _set_blas_threads(threads: int) -> None:
    """Set the number of threads of the libraries that NumPy computes with, which read the environment only at their import."""
    with contextlib.suppress(OSError):  # not Linux: no copy, so the environment was read
        lines = Path("/proc/self/maps").read_text().splitlines()
        for file in {line.split(maxsplit=5)[5] for line in lines if "openblas" in line or "libmkl_rt" in line}:
            library = ctypes.CDLL(file)
            for name in _BLAS_SETTERS:
                if hasattr(library, name):
                    getattr(library, name)(threads)


class _InThisProcess:
    """The objective, but such that a process that it forks and that returns from it ends there."""

    def __init__(self, objective: Any, state: Any) -> None:
        self._objective, self._state = objective, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def __call__(self, trial: Any) -> Any:
        return self._call(self._objective, trial)

    def fused(self, group: Any) -> Any:
        """Train several trials together."""
        return self._call(self._objective.fused, group)

    def _call(self, function: Callable[[Any], Any], given: Any) -> Any:
        process = os.getpid()
        code: Any = 0
        try:
            return function(given)
        except BaseException as error:
            if os.getpid() == process:
                raise
            code = error.code if isinstance(error, SystemExit) else 1
            if not isinstance(error, SystemExit):
                traceback.print_exc()
        finally:
            if os.getpid() != process:
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()
                os._exit(code if isinstance(code, int) else int(code is not None))
            self._state.put_back_first()


def _tell(folder: Path, log_to: LogTo, left: list[str]) -> None:
    """Write into a trial's log why the next one does not get this process."""
    with contextlib.suppress(OSError), log_to(folder / LOG):
        print(f"sweep: this trial left what cannot be put back: {', '.join(left)}", file=sys.stderr, flush=True)


def _prepare(channel: Channel, objective: Any, command: Prepare, state: Any) -> None:
    try:
        steps = objective.prepare({name: with_lists(value) for name, value in command.params.items()})
        for progress in steps if isinstance(steps, Iterator) else ():
            channel.send(Progress.of(progress))
            channel.recv()
        channel.send(Prepared(spent=bool(state.put_back())))
    except SweepError as error:
        parts = (error.what, error.where, error.why, error.do)
        what, where, why, do = (None if part is None else plain.text(part) for part in parts)
        channel.send(PrepareFailed(id=plain.text(error.id), what=what or "", where=where, why=why, do=do))
    except BaseException as error:  # sys.exit too: every command has an event as its answer
        what = "the objective's prepare(params) raised"
        channel.send(PrepareFailed(id="prepare-failed", what=what, why=user_traceback(error)))
