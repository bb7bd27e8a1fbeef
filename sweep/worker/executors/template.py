"""Workers as copies of one process that has imported what they need, so that each starts in milliseconds.

    runner                            template, one for an environment           worker
    spawn(...) ── function, pipes ═════ socket ════════════►  fork() ──────────► target(pipes, ...)
    ◄───────────────────────────────── process id ───────────┘
    exit code ◄════════════ exit pipe ═════════════════════  waitpid() ◄──────── the end

Importing torch takes seconds and fills 300 MB of memory, which the copies share. The template imports it once, if the study's
code uses it (`sweep.study.training_code.uses_torch`); what every worker needs fills 50 MB. The template starts no thread,
computes nothing and never uses a GPU (CUDA does not survive a fork). Each copy has its own environment, its own number of threads
and GPUs of its own, and imports the user's code itself. A template that dies is replaced at once. Linux only: elsewhere the
system's libraries do not survive a fork.

When a worker has ended, the template is the parent of what the worker had started and left, in whatever session, and kills it
before it sends the exit code.

The template ends when the last worker is closed, and the kernel kills it when the runner dies, as it kills the workers when the
template dies.
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
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from sweep.worker.devices import GPU_CHECK, THREAD_VARIABLES
from sweep.worker.executors.process import become_child, start_process
from sweep.worker.marks import VARIABLE, end_marked, of_process
from sweep.worker.processes import children

_ENDING_S = 2.0
_ROUNDS = 100
_POLL_S = 0.1


class TemplateUnfit(Exception):
    """The template cannot be copied: a module that it imported has started threads, or an import failed halfway."""


class TemplateDied(Exception):
    """The template was killed; another one can be started."""


class Copy:
    """A copy of the template, as the process that asked for it sees it; `death` becomes readable when the copy is dead."""

    def __init__(self, pid: int, death: Connection, mark: str) -> None:
        self.pid, self.death, self.mark = pid, death, mark
        self._code: int | None = None
        self._ended = False

    def is_alive(self) -> bool:
        """Return whether the process has not ended yet."""
        return not self._ended and not self.death.poll(0)

    def end(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit code as `multiprocessing` counts, None if it did not end or is not known."""
        if not self._ended and self.death.poll(timeout):
            self._ended = True
            try:
                self._code = int(self.death.recv_bytes())
            except (EOFError, OSError):  # the template died first, with all its copies
                end_marked(self.mark)
            self.death.close()
        return self._code


class Template:
    """A process that has imported some modules and waits to be copied. Several threads may call.

    Args:
        env: variables that it starts with besides those of this process.
        imports: the modules; one that cannot be imported is left to the workers.
    """

    def __init__(self, env: Mapping[str, str], imports: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._lost = False
        # The kernel's signal comes when the *thread* that made the process ends, so this thread lives as long as the template.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="template")
        self._pipe, theirs = Pipe()
        args = theirs, tuple(imports), os.getpid()
        self.mark = of_process(env)
        env = {**env, **dict.fromkeys(THREAD_VARIABLES, "1"), **GPU_CHECK, VARIABLE: self.mark}
        self._process = self._thread.submit(start_process, _wait_to_be_copied, args, env).result()
        theirs.close()
        self.pid: int = self._process.pid

    def is_alive(self) -> bool:
        """Return whether the template can be copied, as far as is known."""
        with self._lock:
            return not self._lost and bool(self._process.is_alive())

    def spawn(self, target: Callable[..., None], *args: Any, pipes: Sequence[Connection], env: Mapping[str, str]) -> Copy:
        """Start a copy that calls `target(pipes, *args)` and then exits.

        Args:
            target, args: pickled here, unpickled in the copy.
            pipes: connections that the copy gets; they stay open here.
            env: variables that the copy has besides those of this process.

        Raises:
            TemplateUnfit: it cannot be copied.
            TemplateDied: the template is dead.
        """
        death, exit_pipe = Pipe(duplex=False)
        try:
            folder = str(Path.cwd())
        except FileNotFoundError:  # it was deleted; the copy has the template's, which is the same
            folder = "."
        request = pickle.dumps((target, args)), {**os.environ, **env, VARIABLE: self.mark}, list(sys.path), folder
        with self._lock:
            try:
                self._pipe.send(request)
                with _socket_of(self._pipe) as end:
                    socket.send_fds(end, [b"."], [exit_pipe.fileno(), *(pipe.fileno() for pipe in pipes)])
                pid = self._pipe.recv()
            except (EOFError, OSError) as error:
                self._lost = True
                death.close()
                raise TemplateDied from error
            finally:
                exit_pipe.close()
        if pid is None:
            death.close()
            raise TemplateUnfit
        return Copy(pid, death, self.mark)

    def kill(self) -> None:
        """Kill the template and its copies at once; a `spawn` that waits raises `TemplateDied`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the template; its copies must have ended."""
        with self._lock:
            self.kill()
            self._process.join(_ENDING_S)
            self._pipe.close()
        self._thread.shutdown()


def _socket_of(pipe: Connection) -> socket.socket:
    return socket.fromfd(pipe.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)


# ---------------------------------------------------------------- in the template


def _wait_to_be_copied(pipe: Connection, imports: Sequence[str], runner: int) -> None:
    become_child(runner, "sweep-template", range(3))  # what an import prints, it prints again where it is needed
    whole = True
    for name in imports:
        try:
            importlib.import_module(name)
        except BaseException:  # half a module is imported now: a process of its own shows why
            whole = False
            break
    gc.collect()
    gc.freeze()  # else the collector would write to the shared pages
    exit_pipes: dict[int, int] = {}  # of each copy: where its exit code goes
    deaths: dict[int, int] = {}  # copies by the descriptors that become readable when they are dead
    while True:
        ready = wait([pipe, *deaths], _POLL_S if len(deaths) < len(exit_pipes) else None)
        for descriptor in set(deaths).intersection(ready):
            os.close(descriptor)
            _send_exit_code(deaths.pop(descriptor), exit_pipes, 0)
        for pid in set(exit_pipes).difference(deaths.values()):
            _send_exit_code(pid, exit_pipes, os.WNOHANG)
        if pipe in ready:
            _copy(pipe, exit_pipes, deaths, whole=whole)


def _copy(pipe: Connection, exit_pipes: dict[int, int], deaths: dict[int, int], *, whole: bool) -> None:
    try:
        request = pipe.recv()
        with _socket_of(pipe) as end:
            _, (exit_pipe, *given), _, _ = socket.recv_fds(end, 1, 8)
    except (EOFError, OSError):
        os._exit(0)  # the runner is gone
    # A lock that another thread holds would be held for ever.
    if not whole or len(list(Path("/proc/self/task").iterdir())) > 1:
        os.close(exit_pipe)
        pipe.send(None)
    elif (pid := os.fork()) == 0:
        for descriptor in (pipe.fileno(), exit_pipe, *exit_pipes.values(), *deaths):
            os.close(descriptor)
        _become(request, given)
    else:
        exit_pipes[pid] = exit_pipe
        with contextlib.suppress(OSError):  # an old kernel, or a container that forbids it: then the copy is polled
            deaths[os.pidfd_open(pid)] = pid
        pipe.send(pid)
    for descriptor in given:
        os.close(descriptor)


def _become(request: Any, given: Sequence[int]) -> None:
    """Be the copy; never return."""
    code = 1
    try:
        pickled, environ, path, folder = request
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


def _send_exit_code(pid: int, exit_pipes: dict[int, int], options: int) -> None:
    found, status = os.waitpid(pid, options)
    if found:
        _end_orphans(exit_pipes)
        with Connection(exit_pipes.pop(pid), readable=False) as pipe, contextlib.suppress(OSError):
            pipe.send_bytes(str(os.waitstatus_to_exitcode(status)).encode())


def _end_orphans(known: Collection[int]) -> None:
    """Kill what an ended worker has left, and what that leaves: its children come to this process."""
    for _ in range(_ROUNDS):
        orphans = children().difference(known)
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if not orphans:
            break
