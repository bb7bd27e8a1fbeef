"""Processes that end with the one that started them."""

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
    """Let the kernel send this process a signal when the thread that started it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def call_process(name: str) -> None:
    """Give this process a name for `top` and `ps`, which show 15 letters; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode())


class Guardian:
    """A tiny process that kills process groups and removes files when this process ends, however it ends.

    It runs only while it has a group to watch. Several threads may call.
    """

    # Without the environment and this package, so that it starts at once.
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
                    self._send("remove", file)
            self._send("watch", group)

    def forget(self, group: int) -> None:
        """Do not kill this group: it has ended."""
        with self._lock:
            self._groups.discard(group)
            self._send("forget", group)
            if not self._groups and self._process is not None:
                assert self._process.stdin is not None
                for file in self._files:
                    self._send("keep", file)  # this process has not ended
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
                self._process.wait()
                self._process = None

    def remove_at_end(self, file: Path) -> None:
        """Remove this file if this process ends while there is a group to watch."""
        with self._lock:
            self._files.add(file)
            self._send("remove", file)

    def keep_at_end(self, file: Path) -> None:
        """Do not remove this file."""
        with self._lock:
            self._files.discard(file)
            self._send("keep", file)

    def _send(self, verb: str, what: int | Path) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(f"{verb} {what}\n")
