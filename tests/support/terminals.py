"""`sweep` with a terminal, a pipe or nothing at its standard input and output; nothing here reads what the test does not read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.command_line import COMMAND, Done

# A shell with job control: it starts the words in a process group of their own, in the foreground, as an interactive shell does.
_SHELL = """
import os, signal, sys
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    if sys.argv[1] == "nohup":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.argv[2], sys.argv[2:])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGHUP, lambda number, frame: os.killpg(pid, number))
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.tcsetpgrp(0, os.getpgrp())
    print("suspended", pid, flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
"""


def in_shell(script: str, here: Path, *, env: Mapping[str, str | None] | None = None, timeout: float = 60) -> Done:
    """Run a line of a shell in which `$SWEEP` is the program; a variable that is None is removed."""
    changed = {**os.environ, "SWEEP": f"{sys.executable} -m sweep", **(env or {})}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=here,
        env={name: value for name, value in changed.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout.decode("utf-8", "replace"), err=done.stderr.decode("utf-8", "replace"))


class Terminal:
    """A pseudo-terminal in which `sweep` runs in the foreground of a shell with job control.

    Args:
        words: of the command line, the verb first.
        here: the working directory.
        rows, columns: the size.
        env: variables that are set; None removes one.
        nohup: whether it ignores SIGHUP.
    """

    def __init__(
        self,
        *words: str,
        here: Path,
        rows: int = 40,
        columns: int = 120,
        env: Mapping[str, str | None] | None = None,
        nohup: bool = False,
    ) -> None:
        self.out = b""
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        changed = {**os.environ, "TERM": "xterm", "COLUMNS": None, "LINES": None, **(env or {})}

        def lead() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.shell = subprocess.Popen(
            [sys.executable, "-c", _SHELL, "nohup" if nohup else "", *COMMAND, *words],
            cwd=here,
            env={name: value for name, value in changed.items() if value is not None},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lead,  # noqa: PLW1509  # two calls in the child, which take no lock
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until: Callable[[str], Any] = lambda text: False, seconds: float = 60) -> str:
        """Read until the text so far is right, or to the end; return it."""
        deadline = time.monotonic() + seconds
        while not until(self.text):
            assert time.monotonic() < deadline, f"waited in vain; it printed:\n{self.text}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # the end of a terminal
                    break
                self.out += data
            elif self.shell.poll() is not None:
                break
        return self.text

    @property
    def text(self) -> str:
        """Return what was read so far."""
        return self.out.decode("utf-8", "replace")

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def close(self) -> None:
        """Close the terminal, as when the window or the connection goes away."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def end(self, seconds: float = 60) -> int:
        """Return the exit code."""
        return self.shell.wait(seconds)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.shell.wait(1)
        if self.shell.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self.shell.pid, signal.SIGKILL)
            self.shell.wait()


@contextlib.contextmanager
def unread(*words: str, here: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `sweep` into a pipe that is full already (of the letter x) and that nobody reads; it is killed with the block."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.write(theirs, b"x" * 4096)
    process = subprocess.Popen([*COMMAND, *words], cwd=here, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT)
    os.close(theirs)
    process.stdout = open(ours, "rb")  # noqa: PTH123, SIM115  # closed below
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
