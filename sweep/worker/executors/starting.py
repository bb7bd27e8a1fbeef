"""How the process of a worker is started: as a copy of a template where the system allows it, else from scratch."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from sweep.worker.devices import Slot
from sweep.worker.executors.process import be_worker, start_process
from sweep.worker.executors.template import Copy, Template, TemplateDied, TemplateUnfit
from sweep.worker.protocol import Channel

_TRIES = 2  # the first template may have been killed a moment ago
COPIES = sys.platform == "linux"
# multiprocessing reaps any child at any start or join; two threads doing so at once lose an exit code.
_reaping = threading.Lock()


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
        self._awaited: Template | None = None

    def start(self, pipes: Sequence[Connection]) -> Copy | FromScratch:
        """Return a new process that serves at the other ends of these pipes.

        Raises:
            OSError: the process cannot be started, or `cancel` was called.
        """
        self._cancelled = False
        for _ in range(_TRIES if self._copied else 0):
            template = self._awaited = _templates.borrow(self, self._slot, self._imports)
            args = self._serve, self._slot, self._log, template.pid
            try:
                self._check_cancelled()
                return template.spawn(be_worker, *args, pipes=pipes, env=self._slot.env)
            except TemplateDied as error:
                self._check_cancelled(error)
            except TemplateUnfit:
                self._copied = False
                _templates.give_back(self)
                break
            finally:
                self._awaited = None
        return FromScratch(pipes, self._serve, self._slot, self._log)

    def _check_cancelled(self, error: Exception | None = None) -> None:
        if self._cancelled:
            raise OSError(errno.ECANCELED, "the start was cancelled") from error

    def cancel(self) -> None:
        """Make a start that waits for the template's imports fail at once; may be called by any thread."""
        self._cancelled = True
        if (template := self._awaited) is not None:
            template.kill()

    def close(self) -> None:
        """Give the template back."""
        _templates.give_back(self)


class _Templates:
    """The templates of this process, by what they were started with. Several threads may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: dict[Hashable, tuple[Template, set[object]]] = {}  # with its borrowers

    def borrow(self, borrower: object, slot: Slot, imports: Sequence[str]) -> Template:
        # A copy learns which GPU is its own; the template never uses one.
        env = {name: value for name, value in slot.env.items() if name != "CUDA_VISIBLE_DEVICES"}
        key = (tuple(sorted(env.items())), tuple(imports))
        with self._lock:
            template, borrowers = self._lent.pop(key, (None, set()))
            if template is not None and not template.is_alive():
                template.close()
                template = None
            if template is None:
                with _reaping:
                    template = Template(env, imports)
            self._lent[key] = template, {*borrowers, borrower}
            return template

    def give_back(self, borrower: object) -> None:
        """End the templates that have no other borrower."""
        with self._lock:
            for key, (template, borrowers) in list(self._lent.items()):
                borrowers.discard(borrower)
                if not borrowers:
                    del self._lent[key]
                    with _reaping:
                        template.close()


_templates = _Templates()


@contextlib.contextmanager
def imports_under_way(slot: Slot, imports: Sequence[str]) -> Iterator[None]:
    """Start the template for slots like this one, so that it imports while this process does something else."""
    if not COPIES:
        yield
        return
    borrower = object()

    def borrow() -> None:
        with contextlib.suppress(OSError):  # the start of a worker raises it again
            _templates.borrow(borrower, slot, imports)

    thread = threading.Thread(target=borrow)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        _templates.give_back(borrower)


class FromScratch:
    """A worker's process that imports everything itself; used as a `Copy` is."""

    def __init__(self, pipes: Sequence[Connection], serve: Callable[[Channel, Slot, Any], None], slot: Slot, log: str) -> None:
        with _reaping:
            self._process = start_process(be_worker, (pipes, serve, slot, log, os.getpid()), slot.env)
        self.pid: int = self._process.pid
        self.death = _death_of(self.pid)

    def is_alive(self) -> bool:
        """Return whether the process has not ended yet."""
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
