"""Processes that are copies of one which has the heavy imports behind it, so that a worker starts in milliseconds.

    runner                            template, one for an environment           worker
    spawn(...) ── what to call, 3 descriptors ══ socket ══►  fork() ───────────► main(...)
    ◄──────────────────────────────────── its id ───────────┘
    exit code ◄════════════ its exit pipe ═════════════════  waitpid() ◄──────── ends, however

Importing torch takes seconds and fills 300 MB with pages that no two processes would share. The template imports it once, starts
no thread, computes nothing, never touches a GPU (CUDA does not survive a fork), and waits. The user's code is imported by each
worker for itself. One that dies is replaced at once. Linux only: what the system's own libraries do elsewhere does not survive
a fork.

The template belongs to the runner as the workers do: it ends when the last of them is closed, and the kernel kills it when the
runner dies. Workers die with the template.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from joblib.externals.loky.backend import get_context

from sweep.worker.executors.process import FOR_THE_RUNNER
from sweep.worker.processes import call_process, die_with_parent

_ENDING_S = 2.0
_POLL_S = 0.1


class TemplateUnfit(Exception):
    """The template cannot be copied: something that it imported started threads."""


class TemplateDied(Exception):
    """The template was killed; another one can be started."""


class Copy:
    """A copy of the template, as the process that asked for it sees it.

    Attributes:
        pid: the process's id.
        death: a descriptor that becomes readable when the process is dead.
    """

    def __init__(self, pid: int, death: Connection) -> None:
        self.pid, self.death = pid, death
        self._code: int | None = None
        self._ended = False

    def is_alive(self) -> bool:
        """Tell whether it has not ended yet."""
        return not self._ended and not self.death.poll(0)

    def end(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit code as `multiprocessing` counts, None if it did not end or nobody knows."""
        if not self._ended and self.death.poll(timeout):
            self._ended = True
            with contextlib.suppress(EOFError, OSError):  # the template died before it could tell
                self._code = int(self.death.recv_bytes())
            self.death.close()
        return self._code


class Template:
    """A process that has imported some modules and waits to be copied. Several threads may call.

    Args:
        env: variables that it starts with, beside those of this process.
        imports: the modules; one that cannot be imported is left to whoever needs it.
    """

    def __init__(self, env: Mapping[str, str], imports: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._lost = False
        # The kernel's signal comes when the *thread* that made the process ends, so this thread lives as long as the template.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="template")
        context = get_context("loky")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_wait_to_be_copied, args=(theirs, tuple(imports), os.getpid()), env=dict(env))
        self._thread.submit(self._start).result()
        theirs.close()
        self.pid: int = self._process.pid

    def _start(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_RUNNER)  # and so it has, until a copy unblocks them
        self._process.start()

    def is_alive(self) -> bool:
        """Tell whether copies can be had of it."""
        with self._lock:
            return not self._lost and bool(self._process.is_alive())

    def spawn(self, target: Callable[..., None], *args: Any, lines: Sequence[Connection], env: Mapping[str, str]) -> Copy:
        """Start a copy that calls `target(lines, *args)` and then exits.

        Args:
            target, args: pickled here, unpickled in the copy.
            lines: connections that the copy gets; they stay open here.
            env: variables that the copy has, beside those of this process.

        Raises:
            TemplateUnfit: it cannot be copied.
            TemplateDied: there is no such process any more.
        """
        death, told = get_context("loky").Pipe(duplex=False)
        asked = pickle.dumps((target, args)), {**os.environ, **env}, list(sys.path), str(Path.cwd())
        with self._lock:
            try:
                self._line.send(asked)
                with socket.fromfd(self._line.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
                    socket.send_fds(end, [b"."], [told.fileno(), *(line.fileno() for line in lines)])
                pid = self._line.recv()
            except (EOFError, OSError) as error:
                self._lost = True
                death.close()
                raise TemplateDied from error
            finally:
                told.close()
        if pid is None:
            death.close()
            raise TemplateUnfit
        return Copy(pid, death)

    def kill(self) -> None:
        """Kill it, and with it its copies, at once; who waits for a copy learns that it has died."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it; its copies must have ended."""
        with self._lock:
            self.kill()
            self._process.join(_ENDING_S)
            self._line.close()
        self._thread.shutdown()


# ---------------------------------------------------------------- in the template


def _wait_to_be_copied(line: Connection, imports: Sequence[str], runner: int) -> None:
    os.setsid()  # the terminal's Ctrl-C is for the runner
    die_with_parent(signal.SIGKILL)
    if os.getppid() != runner:
        os._exit(1)
    call_process("sweep-template")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):  # what an import prints, it prints again where it is needed
        os.dup2(nothing, number)
    for name in imports:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector leaves the shared pages alone
    told: dict[int, int] = {}  # of each copy: where its exit code goes
    watched: dict[int, int] = {}  # descriptors that become readable when a copy is dead
    while True:
        ready = wait([line, *watched], _POLL_S if len(watched) < len(told) else None)
        for descriptor in set(watched).intersection(ready):
            os.close(descriptor)
            _tell_the_end(watched.pop(descriptor), told, 0)
        for pid in set(told).difference(watched.values()):
            _tell_the_end(pid, told, os.WNOHANG)
        if line in ready:
            _copy(line, told, watched)


def _copy(line: Connection, told: dict[int, int], watched: dict[int, int]) -> None:
    try:
        asked = line.recv()
        with socket.fromfd(line.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
            _, (code_line, *given), _, _ = socket.recv_fds(end, 1, 8)
    except (EOFError, OSError):
        os._exit(0)  # the runner is gone
    if len(list(Path("/proc/self/task").iterdir())) > 1:  # a lock that another thread holds would be held for ever
        os.close(code_line)
        line.send(None)
    elif (pid := os.fork()) == 0:
        for descriptor in (line.fileno(), code_line, *told.values(), *watched):
            os.close(descriptor)
        _become(asked, given)
    else:
        told[pid] = code_line
        with contextlib.suppress(OSError):  # an old kernel, or a container that forbids it: then it is asked for now and then
            watched[os.pidfd_open(pid)] = pid
        line.send(pid)
    for descriptor in given:
        os.close(descriptor)


def _become(asked: Any, given: Sequence[int]) -> None:
    """Be the copy; never return."""
    code = 1
    try:
        pickled, environ, path, folder = asked
        for name in set(os.environ) - set(environ):
            del os.environ[name]
        os.environ.update(environ)
        sys.path[:] = path
        os.chdir(folder)
        target, args = pickle.loads(pickled)  # noqa: S301  # this program sent it
        target([Connection(descriptor) for descriptor in given], *args)
        code = 0
    finally:
        os._exit(code)


def _tell_the_end(pid: int, told: dict[int, int], options: int) -> None:
    found, status = os.waitpid(pid, options)
    if found:
        with Connection(told.pop(pid), readable=False) as line, contextlib.suppress(OSError):
            line.send_bytes(str(os.waitstatus_to_exitcode(status)).encode())
