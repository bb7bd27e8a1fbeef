"""A script's process group, and lines as they come out of pipes, sockets and files."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sweep.worker.handle import TrialFailed
from sweep.worker.processes import Guardian, die_with_parent
from sweep.worker.protocol import death_of


class Script:
    """A program in a process group of its own, which ends with the block at the latest, and with this process.

    Args:
        words: the program and its arguments.
        folder: its working directory.
        environment: the whole of it.

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
                # This thread lives as long as the script. The guardian sees to the rest of the group, and to other systems.
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509  # a fork before it execs, no locks taken
            )
        except OSError as error:
            raise TrialFailed(f"the command cannot be started: {error.strerror}: {error.filename}") from None
        self._guardian = Guardian()
        self._guardian.watch(self._process.pid)
        self._terminated = False

    def __enter__(self) -> Script:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        self._process.wait()
        self._guardian.forget(self._process.pid)
        for pipe in (self.stdout, self.stderr):
            pipe.close()

    @property
    def stdout(self) -> IO[bytes]:
        """Return the pipe of what it prints."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def stderr(self) -> IO[bytes]:
        """Return the pipe of its complaints."""
        assert self._process.stderr is not None
        return self._process.stderr

    @property
    def code(self) -> int:
        """Return the exit code of a script that is gone, minus the signal's number if one ended it."""
        return self._process.wait()

    @property
    def how_it_ended(self) -> str:
        """Say how a script that is gone ended."""
        return f"exited with code {self.code}" if self.code >= 0 else f"was ended by {death_of(-self.code)}"

    def gone(self) -> bool:
        """Tell whether the main process has ended; it is not reaped yet, so that its group's number stays its own."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def terminate(self) -> None:
        """Ask the group to end, once."""
        if not self._terminated:
            self._terminated = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


class GrowingFile:
    """The lines of a file as it grows; one that was written anew is read from its beginning.

    Args:
        path: it need not be there yet.
        from_end: what is in it already has been read by an earlier attempt.
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
    """Give each line that comes through a pipe or a socket to a function, as the selector finds it; close it at its end."""
    rest = b""

    def read() -> None:
        nonlocal rest
        try:
            data = os.read(source.fileno(), 1 << 16)
        except OSError:  # the other side is gone by force
            data = b""
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            selector.unregister(source)
            source.close()
            lines, rest = [*lines, *filter(None, [rest])], b""
        for line in lines:
            take(line.decode("utf-8", "replace"))

    selector.register(source, selectors.EVENT_READ, read)
