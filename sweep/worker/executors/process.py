"""What a worker's process does around the worker's loop: its session, signals, output, the line to the runner."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.worker.devices import Slot
from sweep.worker.executors import dynamo
from sweep.worker.processes import call_process, die_with_parent
from sweep.worker.protocol import Channel

FOR_THE_RUNNER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _PipeChannel:
    """A worker's end of its two pipes."""

    def __init__(self, pipe: Any, stop_line: Any) -> None:
        self.send, self.recv = pipe.send, pipe.recv
        self._stop_line = stop_line  # open as long as this is
        self._poll = select.poll()
        self._poll.register(stop_line.fileno(), select.POLLIN)

    def stop_requested(self) -> bool:
        return bool(self._poll.poll(0))


def be_worker(lines: Any, serve: Callable[[Channel, Slot, Any], None], slot: Slot, log: str, parent: int) -> None:
    """Serve as the worker of a slot until the runner is gone.

    Args:
        lines: the pipe of commands and events, and the one that asks to stop.
        serve: the worker's loop.
        slot: where it computes.
        log: the file for what is printed outside trials.
        parent: the process that made this one, and without which it is not to live.
    """
    os.setsid()
    _die_with(parent)
    call_process(f"sweep-slot-{slot.index}")
    dynamo.defer()
    _leave_signals_to_the_runner()
    multiprocessing.set_start_method(None, force=True)  # loky made itself the default; DataLoader's workers need the usual one
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with _output_to(Path(log)):
        try:
            serve(_PipeChannel(*lines), slot, _output_to)
        except Exception:
            traceback.print_exc()  # for the runner to show: it reads the log's end
            sys.stderr.flush()
            os._exit(1)


def _leave_signals_to_the_runner() -> None:
    """Take no notice of what a batch system or a terminal sends to all processes: the runner stops the trial in order."""
    worker = os.getpid()

    def ignore(number: int, _frame: object) -> None:
        if os.getpid() != worker:  # a child that the objective forked, and now ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in FOR_THE_RUNNER:
        signal.signal(number, ignore)  # not SIG_IGN, which a program that the objective starts would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_RUNNER)


def _die_with(parent: int) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel was told


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send this process's stdout and stderr, native code's too, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a full disk: what was printed is lost, and nothing else
                stream.flush()
        for copy, original in zip(saved, (1, 2), strict=True):
            os.dup2(copy, original)
            os.close(copy)
