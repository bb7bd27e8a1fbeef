"""How the process of a worker is started: as a copy of a template where that can be had, else from scratch."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

from joblib.externals.loky.backend import get_context, resource_tracker

from sweep.worker.devices import Slot
from sweep.worker.executors.process import FOR_THE_RUNNER, be_worker
from sweep.worker.executors.template import Template, TemplateDied, TemplateUnfit
from sweep.worker.protocol import Channel

_TEMPLATES = 2  # so many are tried: one may have been killed a moment ago
COPIES = sys.platform == "linux"
# multiprocessing reaps any child at any start or join; two threads doing so at once lose an exit code.
_reaping = threading.Lock()


class WorkerProcess(Protocol):
    """A process as the executor sees it.

    Attributes:
        pid: its id.
        death: what `multiprocessing.connection.wait` can wait for, readable when the process is dead; None where the system has
            no such thing.
    """

    pid: int
    death: Any

    def is_alive(self) -> bool:
        """Tell whether it has not ended yet."""

    def end(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit code as `multiprocessing` counts, None if it did not end or nobody knows."""


class Starter:
    """Start the processes of one slot's worker; the template lives until the last starter that used it is closed.

    Args:
        slot: where they compute.
        serve: the worker's loop.
        log: the file for what is printed outside trials.
        imports: what the template imports beforehand.
        copied: whether to use a template at all.
    """

    def __init__(
        self, slot: Slot, serve: Callable[[Channel, Slot, Any], None], log: str, imports: Sequence[str], copied: bool
    ) -> None:
        self._slot, self._serve, self._log, self._imports, self._copied = slot, serve, log, tuple(imports), copied
        self._cancelled = False
        self._asked: Template | None = None  # while it is waited for

    def start(self, lines: Sequence[Connection]) -> WorkerProcess:
        """Return a new process that serves at the other ends of these lines.

        Raises:
            OSError: there can be none, or the start was cancelled.
        """
        self._cancelled = False
        for _ in range(_TEMPLATES if self._copied else 0):
            template = self._asked = _templates.borrow(self, self._slot, self._imports)
            args = self._serve, self._slot, self._log, template.pid
            try:
                self._go_on()
                return template.spawn(be_worker, *args, lines=lines, env=self._slot.env)
            except TemplateDied as error:
                self._go_on(error)
            except TemplateUnfit:
                self._copied = False
                _templates.give_back(self)
                break
            finally:
                self._asked = None
        return _FromScratch(be_worker, (lines, self._serve, self._slot, self._log, os.getpid()), self._slot)

    def _go_on(self, error: Exception | None = None) -> None:
        if self._cancelled:
            raise OSError(errno.ECANCELED, "the start was cancelled") from error

    def cancel(self) -> None:
        """Have a start that waits for the template's imports fail at once; other threads may call."""
        self._cancelled = True
        if (template := self._asked) is not None:
            template.kill()

    def close(self) -> None:
        """Let go of the template."""
        _templates.give_back(self)


class _Templates:
    """The templates of this process, by what they were started with. Several threads may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, Template] = {}
        self._borrowers: dict[Hashable, set[object]] = {}

    def borrow(self, who: object, slot: Slot, imports: Sequence[str]) -> Template:
        """Return the template for a slot."""
        # Which GPU it is, is read long after the imports.
        env = {name: value for name, value in slot.env.items() if name != "CUDA_VISIBLE_DEVICES"}
        key = (tuple(sorted(env.items())), tuple(imports))
        with self._lock:
            if key in self._made and not self._made[key].is_alive():
                self._made.pop(key).close()
            if key not in self._made:
                with _reaping:
                    _start_trackers()
                    self._made[key] = Template(env, imports)
            self._borrowers.setdefault(key, set()).add(who)
            return self._made[key]

    def give_back(self, who: object) -> None:
        """End the templates that nobody uses any more."""
        with self._lock:
            for key, borrowers in list(self._borrowers.items()):
                borrowers.discard(who)
                if not borrowers:
                    del self._borrowers[key]
                    if key in self._made:
                        with _reaping:
                            self._made.pop(key).close()


_templates = _Templates()


@contextlib.contextmanager
def imports_under_way(slot: Slot, imports: Sequence[str]) -> Iterator[None]:
    """Have the imports of the workers on slots like this one done while this process is busy with other things."""
    if not COPIES:
        yield
        return
    me = object()

    def borrow() -> None:
        with contextlib.suppress(OSError):  # whoever needs a process will be told
            _templates.borrow(me, slot, imports)

    thread = threading.Thread(target=borrow)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        _templates.give_back(me)


class _FromScratch:
    """A process that loky starts: without the user's main module, with an environment of its own before torch is imported."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], slot: Slot) -> None:
        with _reaping:
            _start_trackers()
            # The process has them blocked until it has handlers of its own: the terminal's Ctrl-C is for the runner.
            signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_RUNNER)
            self._process = get_context("loky").Process(target=target, args=args, env=dict(slot.env))
            self._process.start()
        self.pid: int = self._process.pid
        self.death = _death_of(self.pid)

    def is_alive(self) -> bool:
        """Tell whether it has not ended yet."""
        with _reaping:
            return bool(self._process.is_alive())

    def end(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit code, None if it did not end."""
        with _reaping:
            self._process.join(timeout)
            code: int | None = self._process.exitcode
        if code is not None and self.death is not None:
            os.close(self.death)
            self.death = None
        return code


def _start_trackers() -> None:
    # Before signals are blocked for a process: starting one unblocks them.
    resource_tracker.ensure_running()
    multiprocessing.resource_tracker.ensure_running()


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
