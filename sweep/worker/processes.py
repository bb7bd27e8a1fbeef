"""Processes that end with the one that started them, and what a process has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from sweep.worker.marks import VARIABLE

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36  # from <linux/prctl.h>


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


def adopt_orphans() -> None:
    """Become the parent of each process below this one whose parent ends, in whatever session it is; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def childless() -> bool:
    """Return whether this process has no child, not even one that has ended; takes a microsecond."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return False
    except ChildProcessError:
        return True


def children() -> set[int]:
    """Return this process's children, also those that have ended and were not waited for; Linux only."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*") if not childless() else ():
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
            # The name, which may hold anything, is in brackets; then state and parent follow.
            if int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return found


class Guardian:
    """A tiny process that kills process groups, and removes a file of each, when this process ends, however it ends.

    A group may have a mark: then processes outside it with this mark are killed too, see `marks`.

    It runs only while it has a group to watch. Several threads may call.
    """

    # Without the environment and this package, so that it starts at once.
    _CODE = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
watched = {}
for line in sys.stdin:
    verb, group, mark, file = line.rstrip("\\n").split(" ", 3)
    if verb == "watch":
        watched[int(group)] = mark, file
    else:
        watched.pop(int(group), None)
for group, (mark, file) in watched.items():
    for end, args in ((os.killpg, (group, signal.SIGKILL)), (os.unlink, (file,))):
        try:
            end(*args)
        except OSError:
            pass
marks = {mark.encode() for mark, file in watched.values() if mark}
found = bool(marks) and os.path.isdir("/proc/self")
for _ in range(20 * found):
    found = False
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/" + name + "/environ", "rb") as file:
                variables = file.read().split(b"\\0")
            if marks.intersection(variables) and os.stat("/proc/" + name).st_uid == os.getuid():
                os.kill(int(name), signal.SIGKILL)
                found = True
        except OSError:
            pass
    if not found:
        break
"""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def watch(self, group: int, mark: str = "", file: str = "") -> None:
        """Kill this group and what has this mark, and remove this file, when this process ends."""
        with self._lock:
            self._groups.add(group)
            if self._process is None:
                command = [sys.executable, "-I", "-S", "-c", self._CODE]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1, start_new_session=True
                )
            self._send(f"watch {group} {mark and f'{VARIABLE}={mark}'} {file}\n")

    def forget(self, group: int) -> None:
        """Do nothing about this group: it has ended."""
        with self._lock:
            self._groups.discard(group)
            self._send(f"forget {group}  \n")
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
