"""Run trials in warm processes of this machine, one for each slot, so that one that dies breaks only its own trial.

    runner thread                       slot's thread                    process (main thread)
    next_event(command) ── submit ──►   send ══════ pipe ══════════════► recv, serve(...)
    Future ◄───────────── result ────   recv ◄═════ pipe ══════════════  send(event)
                                        EOFError: the process died ─► Died(exit code), a new process next time
    stop() ─────────────────────────── a byte ══ second pipe ══════════► trial.stop_requested, whatever it is doing

The processes come from loky's context (joblib): they start without importing the user's main module and take an
environment of their own before torch is imported. Each leads a session of its own, so the terminal's Ctrl-C reaches
only the runner, and killing the group takes grandchildren along. A worker dies with its runner, even with one that is
killed with -9: one that waits sees the pipe close, one that computes gets SIGKILL from the kernel (PR_SET_PDEATHSIG on
Linux), and the guardian, a tiny process that sees its own pipe close, kills the groups, grandchildren too.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.resource_tracker
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from joblib.externals.loky.backend import get_context, resource_tracker

from sweep.devices import Slot
from sweep.files import tail
from sweep.messages import Channel, Command, Died, Event
from sweep.processes import Guardian, die_with_parent
from sweep.trial import Decision, TrialResult

_DYING_S = 2.0
_POLL_S = 0.5
# multiprocessing reaps any child at any start or join; two threads doing so at once lose an exit code.
_reaping = threading.Lock()
guardian = Guardian()
_FOR_THE_RUNNER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class LocalWorker:
    """A worker that is a process of this machine.

    Args:
        slot: its device and environment.
        serve: the worker's loop, called in the process with a channel, the slot and a log; picklable.
    """

    def __init__(self, slot: Slot, serve: Callable[[Channel, Slot, Any], None]) -> None:
        self.slot = slot
        self._serve = serve
        # PR_SET_PDEATHSIG fires when the *thread* that made the process ends, so this thread lives as long as the worker.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"slot-{slot.index}")
        self._process: Any = None
        self._pipe: Any = None
        self._stop_line: Any = None
        self._closed = self._doomed = False
        descriptor, name = tempfile.mkstemp(prefix="sweep-worker-", suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        guardian.remove_at_end(self._log)

    @property
    def pid(self) -> int | None:
        """Return the process's id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the worker and promise its next event; start the process if there is none."""
        return self._thread.submit(self._exchange, command)

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop at its next step."""
        with contextlib.suppress(OSError, AttributeError):  # the process is gone, or there was none yet
            self._stop_line.send_bytes(b"stop")

    def kill(self) -> None:
        """Kill the process with everything that it started; the event that is awaited becomes `Died`."""
        self._doomed = True
        process = self._process
        if process is not None and process.pid is not None:  # None: it is being made, and killed when it is
            _kill_group(process.pid)

    def close(self) -> None:
        """Kill the process with everything that it started, for good."""
        self._closed = True
        self.kill()
        self._thread.shutdown(wait=True)
        if self._process is not None:
            self._died()
        self._log.unlink(missing_ok=True)
        guardian.keep_at_end(self._log)

    def _exchange(self, command: Command) -> Event:
        if self._closed:
            return Died(exit_code=None)
        if not isinstance(command, Decision) and self._process is not None and (self._doomed or not self._process.is_alive()):
            self._died()  # after its last event: that is not the fault of what comes now
        try:
            if self._process is None:
                self._start()
            self._pipe.send(command)
            self._wait_for_event()
            event: Event = self._pipe.recv()
        except (EOFError, OSError):
            return self._died()
        if isinstance(event, TrialResult) and event.spent:
            self._died()  # the next call has a new process
        return event

    def _wait_for_event(self) -> None:
        """Wait for the pipe, or for the process's death: what it forked may hold the pipe open after it."""
        death = _death_of(self._process.pid)
        if death is None:
            while not self._pipe.poll(_POLL_S) and self._process.is_alive():
                pass
        else:
            try:
                wait([self._pipe, death])
            finally:
                os.close(death)
        if not self._pipe.poll(0):
            raise EOFError

    def _start(self) -> None:
        context = get_context("loky")
        self._doomed = False
        with _reaping:
            # The process has them blocked until it has handlers of its own: the terminal's Ctrl-C is for the runner.
            # The trackers first: starting one unblocks them.
            resource_tracker.ensure_running()
            multiprocessing.resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_RUNNER)
            self._pipe, theirs = context.Pipe()
            stop_line, self._stop_line = context.Pipe(duplex=False)
            lines = theirs, stop_line
            self._process = context.Process(
                target=_main, args=(lines, self._serve, self.slot, str(self._log), os.getpid()), env=dict(self.slot.env)
            )
            self._process.start()
            for line in lines:
                line.close()
            guardian.watch(self._process.pid)
        if self._closed or self._doomed:  # close() or kill() came while the process was being made
            _kill_group(self._process.pid)

    def _died(self) -> Died:
        process, self._process = self._process, None
        if process is None:
            return Died(exit_code=None)
        with _reaping:
            process.join(timeout=_DYING_S)  # the pipe breaks a moment before the process has an exit code
        _kill_group(process.pid)  # what it started, and itself if only its pipe broke
        with _reaping:
            process.join()
            code = process.exitcode
            guardian.forget(process.pid)
        self._pipe.close()
        self._stop_line.close()
        return Died(exit_code=code, log=tail(self._log))


def _death_of(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process dies, None where the system has no such thing."""
    try:
        return os.pidfd_open(pid)
    except AttributeError:  # not Linux
        return None
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a container that forbids it
            return None
        raise


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # the group is made by the process itself, a moment after its start
        try:
            kill(pid, signal.SIGKILL)
            return
        except (ProcessLookupError, PermissionError):
            continue


class _PipeChannel:
    """A worker's end of its two pipes."""

    def __init__(self, pipe: Any, stop_line: Any) -> None:
        self.send, self.recv = pipe.send, pipe.recv
        self._stop_line = stop_line  # open as long as this is
        self._poll = select.poll()
        self._poll.register(stop_line.fileno(), select.POLLIN)

    def stop_requested(self) -> bool:
        return bool(self._poll.poll(0))


def _main(lines: Any, serve: Callable[[Channel, Slot, Any], None], slot: Slot, log: str, runner: int) -> None:
    os.setsid()
    _die_with(runner)
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

    for number in _FOR_THE_RUNNER:
        signal.signal(number, ignore)  # not SIG_IGN, which a program that the objective starts would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_RUNNER)


def _die_with(runner: int) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != runner:
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
