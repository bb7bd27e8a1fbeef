"""What a worker's process does around the worker's loop: its session, signals, output, and the pipes to the runner."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import multiprocessing.resource_tracker
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib.externals.loky.backend import get_context, resource_tracker

from sweep.storage.regular import open_own
from sweep.worker.devices import Slot
from sweep.worker.executors import dynamo
from sweep.worker.processes import adopt_orphans, call_process, die_with_parent
from sweep.worker.protocol import Channel

_FOR_THE_RUNNER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAFE_PATH, _OURS = "PYTHONSAFEPATH", "sweep"


def start_process(target: Callable[..., None], args: tuple[Any, ...], env: Mapping[str, str]) -> Any:
    """Start a process without the user's main module, whose environment is set before it imports torch.

    Signals for the runner are blocked in this thread from then on, and in the process until it has handlers of its own.
    """
    for tracker in (resource_tracker, multiprocessing.resource_tracker):
        tracker.ensure_running()  # now, since starting one unblocks signals
    signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_RUNNER)
    # Else a file such as types.py in the working directory is imported in place of Python's own.
    safe = {} if _SAFE_PATH in os.environ else {_SAFE_PATH: _OURS}
    process = get_context("loky").Process(target=target, args=args, env={**env, **safe})
    process.start()
    return process


def become_child(parent: int, name: str, closed: Sequence[int]) -> None:
    """Make this new process the leader of a session, which ends with its parent.

    Args:
        parent: the id of the process that started this one.
        name: what `top` and `ps` show.
        closed: file descriptors that are to lead nowhere.
    """
    os.setsid()  # the terminal's Ctrl-C is for the runner
    die_with_parent(signal.SIGKILL)
    adopt_orphans()
    if os.environ.get(_SAFE_PATH) == _OURS:  # not for what a trial starts
        del os.environ[_SAFE_PATH]
    # Whatever this session inherited: an ignored SIGCHLD hides how a child ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _FOR_THE_RUNNER)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the kernel knew that this process is to end with it
    call_process(name)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in closed:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def be_worker(pipes: Any, serve: Callable[[Channel, Slot, Any], None], slot: Slot, log: str, parent: int) -> None:
    """Serve as the worker of a slot until the runner is gone.

    Args:
        pipes: that of commands and events, and the one through which the runner asks to stop.
        serve, slot: the worker's loop, and where it computes.
        log: the file for what is printed outside trials.
        parent: the id of the process that started this one.
    """
    become_child(parent, f"sweep-slot-{slot.index}", [0])
    dynamo.defer()
    _ignore_signals_for_the_runner()
    pipe, stop_pipe = pipes
    poll = select.poll()
    poll.register(stop_pipe.fileno(), select.POLLIN)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log takes what the runner's terminal could not show
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    channel = Channel(send=pipe.send, recv=pipe.recv, stop_requested=lambda: bool(poll.poll(0)))
    multiprocessing.set_start_method(None, force=True)  # loky set its own; a DataLoader's workers need the usual one
    with _output_to(Path(log)):
        try:
            serve(channel, slot, _output_to)
        except Exception:
            traceback.print_exc()  # the runner shows the end of the log
            sys.stderr.flush()
            os._exit(1)


def _ignore_signals_for_the_runner() -> None:
    """Ignore what a batch system or a terminal sends to all processes: the runner stops the trial in order."""
    worker = os.getpid()

    def ignore(number: int, _frame: object) -> None:
        if os.getpid() != worker:  # a process that the objective forked: the signal ends it
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in _FOR_THE_RUNNER:
        signal.signal(number, ignore)  # not SIG_IGN, which a program that the objective starts would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_RUNNER)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Append this process's stdout and stderr, native code's too, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # a full disk, or closed: only what was printed is lost
                stream.flush()
        for copy, original in zip(saved, (1, 2), strict=True):
            os.dup2(copy, original)
            os.close(copy)
