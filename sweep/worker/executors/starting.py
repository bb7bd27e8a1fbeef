"""What starts the processes of workers: templates, shared by the workers of this process, or the system."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from sweep.worker.devices import GPU_CHECK, THREAD_VARIABLES, Slot
from sweep.worker.executors.process import be_worker, start_process
from sweep.worker.executors.template import Template
from sweep.worker.marks import VARIABLE, end_marked, of_process
from sweep.worker.protocol import Channel

COPIES = sys.platform == "linux"
# What a copy gets for itself: which GPUs are its own, and its number of threads. The template uses no GPU and has one thread.
_OF_A_COPY = {"CUDA_VISIBLE_DEVICES", *THREAD_VARIABLES, *GPU_CHECK}
# multiprocessing reaps any child at any start or join; two threads doing so at once lose an exit code.
_reaping = threading.Lock()


_lock = threading.Lock()
_lent: dict[Hashable, tuple[Template, set[object]]] = {}  # by what a template was started with; with its borrowers


def borrow(borrower: object, slot: Slot, imports: Sequence[str]) -> Template:
    """Return a template for processes of this slot and of any other one; it lives until its last borrower gives it back.

    Raises:
        OSError: it cannot be started.
    """
    env = {name: value for name, value in slot.env.items() if name not in _OF_A_COPY}
    key = (tuple(sorted(env.items())), tuple(imports))
    with _lock:
        template, borrowers = _lent.pop(key, (None, set()))
        if template is not None and not template.is_alive():
            template.close()
            template = None
        if template is None:
            with _reaping:
                template = Template(env, imports)
        _lent[key] = template, {*borrowers, borrower}
        return template


def give_back(borrower: object) -> None:
    """End the templates that have no other borrower."""
    with _lock:
        for key, (template, borrowers) in list(_lent.items()):
            borrowers.discard(borrower)
            if not borrowers:
                del _lent[key]
                with _reaping:
                    template.close()


@contextlib.contextmanager
def imports_under_way(slot: Slot, imports: Sequence[str]) -> Iterator[None]:
    """Start the template for slots like this one, so that it imports while this process does something else."""
    if not COPIES:
        yield
        return
    borrower = object()
    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(borrow, borrower, slot, imports)  # if it raises, the start of a worker raises the same
            yield
    finally:
        give_back(borrower)


class FromScratch:
    """A worker's process that imports everything itself; used as a `Copy` is."""

    def __init__(self, pipes: Sequence[Connection], serve: Callable[[Channel, Slot, Any], None], slot: Slot, log: str) -> None:
        self.mark = of_process(slot.env)
        with _reaping:
            self._process = start_process(be_worker, (pipes, serve, slot, log, os.getpid()), {**slot.env, VARIABLE: self.mark})
        self.pid: int = self._process.pid
        self.death: int | None = None  # a descriptor that becomes readable when the process dies
        with contextlib.suppress(AttributeError, OSError):  # not Linux, an old kernel, or a container that forbids it
            self.death = os.pidfd_open(self.pid)

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
        if code is not None:
            end_marked(self.mark)
        return code
