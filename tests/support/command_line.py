"""`sweep` as a user runs it: a real process that is waited for, or one that runs beside the test."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

COMMAND = (sys.executable, "-m", "sweep")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the output, read as JSON."""
        return json.loads(self.out)


def run_sweep(
    *words: str, here: Path, env: Mapping[str, str] | None = None, timeout: float = 240, command: Sequence[str] = COMMAND
) -> Done:
    """Run `sweep` in a folder and wait for its end.

    Args:
        words: of the command line, the verb first.
        here: the working directory.
        env: variables that are set besides those of the test.
        timeout: seconds after which the test fails.
        command: what to run instead of `sweep`.
    """
    done = subprocess.run(
        [*command, *words],
        cwd=here,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def in_terminal(*words: str, here: Path, typed: tuple[str, bytes] | None = None, timeout: float = 60) -> Done:
    """Run `sweep` in a pseudo-terminal and wait for its end; the output has everything that the terminal got.

    Args:
        words: of the command line, the verb first.
        here: the working directory.
        typed: a text, and the keys that are pressed soon after it was shown.
        timeout: seconds after which the output is read no more.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS="120", LINES="40")
        os.chdir(here)
        os.execv(COMMAND[0], [*COMMAND, *words])  # noqa: S606  # a fresh program in the pseudo-terminal, no shell wanted
    shown, deadline = b"", time.monotonic() + timeout
    with contextlib.suppress(OSError):  # the end of a terminal
        while time.monotonic() < deadline:
            shown += os.read(terminal, 65536)
            if typed is not None and typed[0].encode() in shown:
                time.sleep(0.3)
                os.write(terminal, typed[1])
                typed = None
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return Done(code=code, out=shown.decode(), err="")


class Running:
    """A `sweep` that runs beside the test; its output is read line by line as it comes.

    Args:
        words: of the command line, the verb first.
        here: the working directory.
        env: variables that are set besides those of the test.
        open_files: the limit of open files that the process has; None for that of the test.
    """

    def __init__(self, *words: str, here: Path, env: Mapping[str, str] | None = None, open_files: int | None = None) -> None:
        limit = None if open_files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=here,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limit,  # noqa: PLW1509  # one call in the child, which takes no lock
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def out(self) -> str:
        """Return all output so far; errors are in it."""
        return "".join(self.lines)

    def running(self) -> bool:
        """Return whether the process has not ended."""
        return self.process.poll() is None

    def wait_until(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Return the first true answer; fail with the output when the process ends or the time is up before."""
        deadline = time.monotonic() + seconds
        while not (answer := what()):
            assert self.running(), f"it ended with {self.process.returncode} before what was waited for:\n{self.out}"
            assert time.monotonic() < deadline, f"waited in vain; it printed:\n{self.out}"
            time.sleep(0.02)
        return answer

    def line(self, part: str, seconds: float = 60) -> str:
        """Return the first line with this part as soon as it is printed."""
        found = self.wait_until(lambda: [line for line in [*self.lines] if part in line], seconds)
        return str(found[0])

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Return its processes whose names begin like this; without a name all of them, itself first."""
        try:
            first = psutil.Process(self.process.pid)
            found = [first, *first.children(recursive=True)]
            return [process for process in found if process.name().startswith(name)] if name else found
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self.process.send_signal(number)

    def end(self, seconds: float = 60) -> int:
        """Wait for the end of the process and of its output; return the exit code, -9 after SIGKILL."""
        code = self.process.wait(seconds)
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process if it still runs."""
        self.process.kill()
        self.end()
