"""Processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # from <linux/prctl.h>


def die_with_parent(number: signal.Signals) -> None:
    """Let the kernel send this process a signal when the thread that started it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def call_process(name: str) -> None:
    """Give this process a name for `top` and `ps`, which show 15 letters; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode())


def keep_exit_codes() -> bool:
    """Let this process learn how its children end, although it inherited an ignored SIGCHLD; return whether it does."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # only the main thread can
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN


class Guardian:
    """A tiny process that kills process groups, and removes a file of each, when this process ends, however it ends.

    It runs only while it has a group to watch. Several threads may call.
    """

    # Without the environment and this package, so that it starts at once.
    _CODE = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
files = {}
for line in sys.stdin:
    verb, group, file = line.rstrip("\\n").split(" ", 2)
    if verb == "watch":
        files[int(group)] = file
    else:
        files.pop(int(group), None)
for group, file in files.items():
    for end, args in ((os.killpg, (group, signal.SIGKILL)), (os.unlink, (file,))):
        try:
            end(*args)
        except OSError:
            pass
"""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int, file: str = "") -> None:
        """Kill this group, and remove this file, when this process ends."""
        with self._lock:
            self._groups.add(group)
            if self._process is None:
                command = [sys.executable, "-I", "-S", "-c", self._CODE]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1, start_new_session=True
                )
            self._send(f"watch {group} {file}\n")

    def forget(self, group: int) -> None:
        """Do nothing about this group: it has ended."""
        with self._lock:
            self._groups.discard(group)
            self._send(f"forget {group} \n")
            if not self._groups and self._process is not None:
                assert self._process.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
                self._process.wait()
                self._process = None

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line)
