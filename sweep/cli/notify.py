"""`--notify COMMAND`: run a command at the end of a session, with what came out as JSON on its standard input."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweep.cli.target import Target
from sweep.errors import SweepError, one_line

_PATIENCE_S = 60.0
_POLL_S = 0.05
_SHOWN = ("study", "dir", "counts", "total", "best", "front")


def notification(command: str | None, target: Target, signals: Sequence[int]) -> Callable[[str, int], None]:
    """Return what is to be called at the end of a session, with why it ended and the exit code; it prints a line if it fails.

    Args:
        command: as it was typed; None for no notification.
        target: the study.
        signals: the numbers of those that came; a handler adds to them, and the next one ends the command.

    Raises:
        SweepError: it is no command, or there is no such program.
    """
    words = [] if command is None else _words(command)

    def tell(ended_by: str, exit_code: int) -> None:
        if words and (failure := _failure(words, _result(target, ended_by, exit_code), signals)):
            print(f"the command of --notify {failure}: {shlex.join(words)}", file=sys.stderr)

    return tell


def _words(command: str) -> list[str]:
    do = "sweep run STUDY --notify \"sh -c 'cat > result.json'\""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SweepError("notify-not-a-command", f"--notify {command} is no command: {error}", do=do) from None
    if not words or shutil.which(words[0]) is None:
        what = f"there is no program {words[0]}" if words else "it is empty"
        raise SweepError("notify-not-a-command", f"--notify {command} cannot be run: {what}", do=do)
    return words


def _failure(words: Sequence[str], result: Mapping[str, Any], signals: Sequence[int]) -> str | None:
    """Run a command with a result on its standard input, and return how it failed, if it did."""
    before, deadline = len(signals), time.monotonic() + _PATIENCE_S
    try:
        # Files: a pipe would hold up this program if the command does not read, and the command if nobody reads what it prints.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
            given.write(json.dumps(result).encode())
            given.seek(0)
            process = subprocess.Popen(words, stdin=given, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
            while process.poll() is None and time.monotonic() < deadline and len(signals) == before:
                time.sleep(_POLL_S)
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "was ended before its own end"
            printed.seek(0)
            lines = printed.read().decode("utf-8", "replace").strip().splitlines()
    except OSError as error:
        return f"could not be run ({error.strerror})"
    if not process.returncode:
        return None
    return f"failed with {process.returncode}" + (f" ({one_line(lines[-1])})" if lines else "")


def _result(target: Target, ended_by: str, exit_code: int) -> dict[str, Any]:
    found: dict[str, Any] = {"study": target.study.name, "dir": os.fspath(target.folder.root)}
    try:
        status = target.snapshot().status_json()
        found |= {key: status[key] for key in _SHOWN if key in status}
    except SweepError as error:  # the folder is gone, or the database is damaged: the command is to know that, too
        found["error"] = str(error)
    report = target.folder.report
    return found | {"ended_by": ended_by, "exit_code": exit_code, "report": os.fspath(report) if report.exists() else None}
