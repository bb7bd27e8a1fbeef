"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # from <linux/prctl.h>


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when the thread that started it ends; Linux only, elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def call_process(name: str) -> None:
    """Give this process a name for `top` and `ps`, of which 15 letters are shown; Linux only, elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode())


class Guardian:
    """A tiny process that tidies up when this process ends, however it ends: it kills process groups and removes files.

    It lives only while it has a group to watch. Several threads may call.
    """

    # Kept apart from the environment and from this package: it must come up at once and need nothing.
    _CODE = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, files = set(), set()
for line in sys.stdin:
    verb, what = line.rstrip("\\n").split(" ", 1)
    {"watch": groups.add, "forget": groups.discard, "remove": files.add, "keep": files.discard}[verb](what)
for group in groups:
    try:
        os.killpg(int(group), signal.SIGKILL)
    except OSError:
        pass
for file in files:
    try:
        os.unlink(file)
    except OSError:
        pass
"""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._files: set[Path] = set()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int) -> None:
        """Kill this group when this process ends."""
        with self._lock:
            self._groups.add(group)
            if self._process is None:
                command = [sys.executable, "-I", "-S", "-c", self._CODE]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1, start_new_session=True
                )
                for file in self._files:
                    self._tell("remove", file)
            self._tell("watch", group)

    def forget(self, group: int) -> None:
        """Leave this group alone: it has ended."""
        with self._lock:
            self._groups.discard(group)
            self._tell("forget", group)
            if not self._groups and self._process is not None:
                assert self._process.stdin is not None
                for file in self._files:
                    self._tell("keep", file)  # this process lives
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
                self._process.wait()
                self._process = None

    def remove_at_end(self, file: Path) -> None:
        """Remove this file when this process ends while it has a group to watch."""
        with self._lock:
            self._files.add(file)
            self._tell("remove", file)

    def keep_at_end(self, file: Path) -> None:
        """Leave this file alone."""
        with self._lock:
            self._files.discard(file)
            self._tell("keep", file)

    def _tell(self, verb: str, what: int | Path) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(f"{verb} {what}\n")
