"""A script's process group."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from sweep.study.command import trouble
from sweep.worker.endings import TrialFailed
from sweep.worker.processes import Guardian, die_with_parent, keep_exit_codes


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
        if not keep_exit_codes():
            raise TrialFailed("the command cannot be started: this process ignores SIGCHLD, so how a command ends would be lost")
        try:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                preexec_fn=_begin,  # noqa: PLW1509  # between fork and exec, takes no locks
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte, or a text that no program can be given
            raise TrialFailed(_not_started(error, words[0])) from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.outputs: tuple[IO[bytes], IO[bytes]] = self._process.stdout, self._process.stderr
        self._guardian = Guardian()
        self._terminated = False
        try:
            self._guardian.watch(self._process.pid)
        except OSError:
            self.close()
            raise

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


def _begin() -> None:
    # This thread lives as long as the script. The guardian ends the rest of the group, also on other systems.
    die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a script with SIGTERM blocked cannot be asked to end


def _not_started(error: OSError | ValueError, path: str) -> str:
    reason = f"{error.strerror}: {error.filename or path}" if isinstance(error, OSError) else str(error)
    message, hint = trouble(path) or (reason, _HINTS.get(getattr(error, "errno", None) or 0, ""))
    return f"the command cannot be started: {message}" + f"\n{hint}" * bool(hint)


_HINTS = {
    errno.E2BIG: (
        "its words and variables are too long for the system; a script gets parameters without words by"
        " `from sweep import trial` and trial.params"
    ),
    errno.ENOEXEC: "it is no program for this machine",
    errno.EAGAIN: "too many processes or threads run for this user (`ulimit -u`): use fewer workers",
    errno.EMFILE: "too many files are open in this process (`ulimit -n`)",
    errno.ENOMEM: "the system is out of memory: use fewer workers",
}
