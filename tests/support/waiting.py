"""Waiting in tests: until something is true, until something has a value, until processes have ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import psutil
import pytest


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Return the first true answer, or fail."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def eventually(read: Callable[[], Any], wanted: Any, seconds: float = 60) -> None:
    """Read until the answer is the wanted one; a failure shows the difference."""
    deadline = time.monotonic() + seconds
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == wanted


def alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not (the first process of a container may reap none)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: Collection[psutil.Process], seconds: float = 5) -> None:
    """Return when none of the processes runs, or fail."""
    wait_for(lambda: not any(map(alive, processes)), seconds)


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """Fail when the block leaves a process behind."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + 5
    while left := [p for p in psutil.Process().children(recursive=True) if p.pid not in before and _is_ours(p)]:
        if time.monotonic() > deadline:
            names = [" ".join(process.cmdline()) for process in left]
            for process in left:
                process.kill()
            pytest.fail(f"processes were left behind: {names}")
        time.sleep(0.05)


def _is_ours(process: psutil.Process) -> bool:
    # The resource trackers of multiprocessing and loky stay with the test process itself, by their design.
    try:
        return alive(process) and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
