"""The runner's side of a worker on a node: commands go there, events and the trial's files come back."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RuntimeEnvSetupError

from sweep.study import plain
from sweep.study.trial import TrialResult, TrialSpec, TrialState
from sweep.worker.devices import Slot
from sweep.worker.executors.ray.folder_copy import FoldersDiffer, Watched, apply
from sweep.worker.executors.ray.host import Host, Joined, Order
from sweep.worker.protocol import Command, Died, Event, Loaded, LoadFailed, unpacked

_LOG_EVERY_S = 2.0
_SILENT_S = 12.0
_CLOSING_S = 2.0
_CALLS = 4  # at a time: the event that is awaited, the log, and a request to stop or end

_REMOTE = ray.remote(Host)


class RayWorker:
    """A worker on some node of the cluster, which Ray chooses when it has what the slot asks for.

    Args:
        order: what the host is made of.
        options: Ray's for the actor: what it asks for.
        check: called with what a new host says of itself; returns why it cannot be used, or None.
    """

    def __init__(self, order: Order, options: Mapping[str, Any], check: Callable[[Joined], str | None]) -> None:
        self.slot: Slot = order.slot
        self._order, self._check = order, check
        self._options = {"max_concurrency": _CALLS, "max_restarts": 0, **options}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"slot-{order.slot.index}")
        self._lock = threading.Lock()
        self._actor: Any = None
        self._joined: Joined | None = None
        self._closed = False
        self._folder: Path | None = None  # of the trial in flight

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the host, which is made if there is none; the future is its next event."""
        return self._thread.submit(self._exchange, command)

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop at its next step."""
        self._tell("stop")

    def kill(self) -> None:
        """Kill the worker's process, or the host that waits for a node; an event that is awaited becomes `Died`."""
        if self._joined is None:
            self._end_actor()
        else:
            self._tell("kill")

    @property
    def waits(self) -> bool:
        """Return whether the host has not begun yet: it may wait for room on the cluster."""
        return self._actor is not None and self._joined is None

    def suspended(self) -> bool:
        """Return False: the runner does not ask another machine five times a second."""
        return False

    def close(self) -> None:
        """End the host and its worker at once, and make no other."""
        with self._lock:
            self._closed = True
        self._end_actor()
        self._thread.shutdown(wait=True)

    def _exchange(self, command: Command) -> Event:
        joined = self._joined
        try:
            if (actor := self._host()) is None:
                return Died(exit_code=None)
            if joined is None:
                joined = self._joined = ray.get(actor.joined.remote())
                if (why := self._check(joined)) is not None:
                    return LoadFailed(reason=why, traceback="")
            event = self._ask(actor, joined, command)
        except (RayError, FoldersDiffer) as error:
            self._end_actor()
            return Died(exit_code=None, lost=not _cannot_begin(error), reason=_why(error, joined))
        except OSError as error:  # the study's folder cannot be written
            self._end_actor()
            return TrialResult(state=TrialState.WAITING, metrics={}, error=plain.text(error), cause="write-failed")
        if isinstance(event, Died) and event.lost:
            self._end_actor()
            return replace(event, reason=f"the worker on {joined.node} is gone: {event.reason}")
        return replace(event, node=joined.node) if isinstance(event, Loaded) else event

    def _host(self) -> Any:
        """Return the host, which is made if there is none; None if there is to be none any more."""
        with self._lock:
            if self._actor is None and not self._closed:
                self._actor = _REMOTE.options(**self._options).remote(self._order)
            return self._actor

    def _ask(self, actor: Any, joined: Joined, command: Command) -> Event:
        sent = []
        if isinstance(command, TrialSpec):
            self._folder = None if joined.shared else Path(command.dir)
            sent = Watched(self._folder, ray.put).changes() if self._folder is not None else []
        answer = actor.next_event.remote(command, sent)
        while not ray.wait([answer], timeout=_LOG_EVERY_S)[0]:
            if self._folder is not None:  # in a shared folder two attempts could write: there Ray decides, after a minute
                ray.get(actor.answer.remote(), timeout=_SILENT_S)
                self._follow(ray.get(actor.log_changes.remote()))
        packed, changes = ray.get(answer)
        self._follow(changes)
        return unpacked(packed)

    def _follow(self, changes: Any) -> None:
        if changes and self._folder is not None:
            apply(self._folder, changes, ray.get)

    def _tell(self, what: str) -> None:
        with contextlib.suppress(RayError, AttributeError):  # it is gone, or there was none yet
            getattr(self._actor, what).remote()

    def _end_actor(self) -> None:
        with self._lock:
            actor, joined, self._actor, self._joined = self._actor, self._joined, None, None
        if actor is not None and not sys.is_finalizing():
            with contextlib.suppress(RayError):
                if joined is not None:  # so that it removes what it has on its node
                    ray.wait([actor.close.remote()], timeout=_CLOSING_S)
            with contextlib.suppress(RayError):
                ray.kill(actor)


def _cannot_begin(error: Exception) -> bool:
    """Return whether a host's own start failed, as it would again, and no machine was lost."""
    return isinstance(error, RuntimeEnvSetupError) or (isinstance(error, ActorDiedError) and error.actor_init_failed)


def _why(error: Exception, joined: Joined | None) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, GetTimeoutError):
        lines = [f"it has not answered for {_SILENT_S:.0f} s"]
    if joined is not None:
        return f"the worker on {joined.node} is gone: {lines[0].rstrip('.')}"
    return f"no worker could be started: {lines[-1 if _cannot_begin(error) else 0].strip().rstrip('.')}"
