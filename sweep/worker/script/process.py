"""A script's process group, and lines as they arrive through pipes, sockets and files."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sweep.worker.handle import TrialFailed
from sweep.worker.processes import Guardian, die_with_parent


class Script:
    """A program in its own process group, which ends with this process, and when the script is closed.

    Args:
        words, folder, environment: the program and its arguments, its working directory, and all its variables.

    Attributes:
        outputs: the pipes of its stdout and stderr.

    Raises:
        TrialFailed: it cannot be started.
    """

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                # This thread lives as long as the script. The guardian ends the rest of the group, also on other systems.
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509  # between fork and exec, takes no locks
            )
        except OSError as error:
            raise TrialFailed(f"the command cannot be started: {error.strerror}: {error.filename}") from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.outputs: tuple[IO[bytes], IO[bytes]] = self._process.stdout, self._process.stderr
        self._guardian = Guardian()
        self._guardian.watch(self._process.pid)
        self._terminated = False

    @property
    def code(self) -> int:
        """Wait for the end; return the exit code, or minus the number of the signal that ended it."""
        return self._process.wait()

    def gone(self) -> bool:
        """Return whether the main process has ended; it is not reaped yet, so that no other group can get its number."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def terminate(self) -> None:
        """Send SIGTERM to the group, once."""
        if not self._terminated:
            self._terminated = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the group."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the group, reap the main process, and close the pipes."""
        self.kill()
        self._process.wait()
        self._guardian.forget(self._process.pid)
        for pipe in self.outputs:
            pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


class GrowingFile:
    """The lines of a file that grows; if it is written anew, it is read from its beginning.

    Args:
        path: it need not exist yet.
        from_end: an earlier attempt has read what it holds already.
    """

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._place = path.stat().st_size if from_end and path.exists() else 0

    def lines(self, *, last: bool = False) -> list[str]:
        """Return the whole lines that were added since the last call; with `last`, an unfinished one too."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._place:
                    self._place = 0
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return []
        if not last:
            data = data[: data.rfind(b"\n") + 1]
        self._place += len(data)
        return data.decode("utf-8", "replace").splitlines()


def line_reader(selector: selectors.BaseSelector, source: Any, take: Callable[[str], None]) -> None:
    """Call a function with each line of a pipe or a socket when the selector finds it; close the source at its end."""
    rest = b""

    def read() -> None:
        nonlocal rest
        try:
            data = os.read(source.fileno(), 1 << 16)
        except OSError:  # the other process was killed
            data = b""
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            selector.unregister(source)
            source.close()
            lines, rest = [*lines, *filter(None, [rest])], b""
        for line in lines:
            take(line.decode("utf-8", "replace"))

    selector.register(source, selectors.EVENT_READ, read)
