"""Run trials in this process, one at a time: for debugging (breakpoints work, prints are shown) and for fast tests.

The objective runs in its own thread, since it blocks in `trial.report` while the runner decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sweep.storage.regular import open_own
from sweep.study.trial import GroupSpec, TrialResult, TrialSpec
from sweep.worker.devices import Slot, in_this_process
from sweep.worker.processes import keep_exit_codes
from sweep.worker.protocol import Channel, Command, Died, Event, Load, Prepared, belongs


class InlineWorker:
    """A worker that is a thread of this process.

    Args:
        slot: its device; the slot's environment variables are not applied, this process has its own and sees every GPU.
        serve: the worker's loop, called with a channel and a log.
    """

    def __init__(self, slot: Slot, serve: Callable[[Channel, Slot, Any], None]) -> None:
        self.slot = in_this_process(slot)
        keep_exit_codes()
        self._commands: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._attempt: Command = Load()  # the one in flight, if it starts trials
        self._waiting: Future[Event] | None = None
        self._serve = serve
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the thread; the future is its next event."""
        if self._thread.ident is None:
            self._thread.start()
        if isinstance(command, TrialSpec | GroupSpec):
            self._attempt = command
            self._stop.clear()
        self._waiting = Future()
        self._commands.put(command)
        return self._waiting

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop at its next step."""
        self._stop.set()

    def kill(self) -> None:
        """Ask the trial in flight to stop at its next step, since nothing can kill a thread."""
        self.stop()

    def suspended(self) -> bool:
        """Return False: a thread is suspended only with the runner."""
        return False

    def close(self) -> None:
        """Ask the thread to end; one that computes ends with this process, since nothing can kill a thread."""
        for _ in range(2):  # the first may end a trial that waits in `report`, then the second ends the thread
            self._commands.put(None)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Died(exit_code=None, log="the sweep was closed"))

    def _run(self) -> None:
        channel = Channel(send=self._answer, recv=self._commands.get, stop_requested=self._stop.is_set)
        while True:
            try:
                self._serve(channel, self.slot, _header_only)
                return
            except BaseException:  # like a process that dies, after which the next command has a new one
                self._answer(Died(exit_code=None, log=traceback.format_exc()))

    def _answer(self, event: Event) -> None:
        if isinstance(event, TrialResult | Prepared):
            event = dataclasses.replace(event, spent=False)  # this process cannot be replaced
        if belongs(event, self._attempt) and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(event)


@contextlib.contextmanager
def _header_only(log: Path) -> Iterator[None]:
    """Leave prints on the terminal, for debugging."""
    with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a", encoding="utf-8") as file:
        file.write("run inline: prints went to the terminal\n")
    yield
