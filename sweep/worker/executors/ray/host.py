"""The actor on a node: a worker of that machine, and the node's copy of its trial's folder."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from sweep.storage.folder import LOG
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialResult, TrialSpec
from sweep.worker.devices import Slot
from sweep.worker.executors.local import LocalWorker
from sweep.worker.executors.ray.folder_copy import Change, Watched, apply
from sweep.worker.loop import serve
from sweep.worker.protocol import Command, Died, LoadFailed
from sweep.worker.versions import compared
from sweep.worker.visible import visible_gpus

_PREFIX = "sweep-node-"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a host is made of.

    Attributes:
        study: whose trials it runs.
        get: returns the objective; None to import the one that the study names.
        imports: what its worker imports before the study's code.
        slot: as the runner planned it; the node adds which GPUs it is.
        sign: a file in the study's folder and its content: a node that finds it shares the folder.
    """

    study: StudySpec
    get: Callable[[], Any] | None
    imports: Sequence[str]
    slot: Slot
    sign: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What a host says of itself: its node, what is installed there, and whether it shares the study's folder."""

    node: str
    versions: dict[str, str | None]
    shared: bool


class Host:
    """Run the trials of one slot; every method may be called while `next_event` waits."""

    def __init__(self, order: Order) -> None:
        self._lock = threading.Lock()
        self._waits = False
        self._watched: Watched | None = None
        self._folder: Path | None = None
        self._shared = _holds(*order.sign)
        _remove_leftovers()
        self._root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        study = replace(order.study, import_dir=str(_working_folder()))
        # Ray chooses the GPUs, and says which in this process's environment.
        gpus = tuple(visible_gpus()) if order.slot.torch_device == "cuda" else ()
        chosen = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)}
        slot = replace(order.slot, gpus=gpus, env={**order.slot.env, **chosen})
        self._worker = LocalWorker(slot, functools.partial(serve, study, get=order.get, imports=order.imports), order.imports)

    def joined(self) -> Joined:
        """Return what the runner asks first."""
        node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
        return Joined(node=node, versions=compared(), shared=self._shared)

    def next_event(self, command: Command, changes: list[Change]) -> tuple[bytes, list[Change]]:
        """Give the worker a command; return its event, packed, and what changed in the trial's folder.

        Args:
            command: for a trial, its directory is that of the runner.
            changes: all of the runner's copy of the trial's folder, if a trial begins that has one.
        """
        with self._lock:
            if isinstance(command, TrialSpec) and not self._shared:
                command = self._begin(command, changes)
            self._waits = True
        event = self._worker.next_event(command).result()
        if isinstance(event, Died | LoadFailed) and _working_folder() is None:
            event = Died(exit_code=None, lost=True, reason="the study's files are gone there, as they are when Ray ends")
        with self._lock:
            self._waits = False
            found = self._watched.changes() if self._watched is not None else []
            if isinstance(event, TrialResult | Died):
                self._forget()
        return pickle.dumps(event), found

    def log_changes(self) -> list[Change]:
        """Return what has come into the trial's log while its next event is awaited."""
        with self._lock:
            return self._watched.changes(LOG) if self._watched is not None and self._waits else []

    def answer(self) -> None:
        """Return at once, which shows that the node is there."""

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop."""
        self._worker.stop()

    def kill(self) -> None:
        """Kill the worker's process."""
        self._worker.kill()

    def suspended(self) -> bool:
        """Return whether the worker's process is suspended."""
        return self._worker.suspended()

    def close(self) -> None:
        """End the worker, and remove what it left on this node."""
        self._worker.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _begin(self, spec: TrialSpec, changes: list[Change]) -> TrialSpec:
        self._forget()
        self._folder = self._root / Path(spec.dir).name
        if changes:
            apply(self._folder, changes, ray.get)
        self._watched = Watched(self._folder, ray.put)
        self._watched.mark()
        return replace(spec, dir=str(self._folder))

    def _forget(self) -> None:
        """Remove the copy of a trial that has ended here; the runner has it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._watched = None


def _working_folder() -> Path | None:
    """Return this process's working folder, into which Ray has put the study's files; None if Ray has removed it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _holds(path: str, content: str) -> bool:
    try:
        return Path(path).read_text() == content
    except (OSError, ValueError):
        return False


def _remove_leftovers() -> None:
    """Remove what hosts left on this node that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if pid.isdigit() and folder.lstat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)
