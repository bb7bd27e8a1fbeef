"""Run a file of this package in a short-lived process of its own: what it loads may hang or crash."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DYING_S = 2.0


class ProbeFailed(Exception):
    """The process gave no answer; the text says why."""


def run_probe(name: str, *words: str, env: Mapping[str, str], seconds: float) -> Any:
    """Run a file of this folder as a program, and return the JSON that it prints last.

    Args:
        name: the file's, without `.py`; it imports nothing of this package.
        words: the program's arguments.
        env: all its variables.
        seconds: it is killed after them.

    Raises:
        ProbeFailed: it died, printed something else, or took too long.
    """
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # it was deleted: torch does not find its own libraries there
        folder = Path(os.sep)
    # -P: a file of the working directory, or of this folder, is not taken for one of Python's own.
    command = [sys.executable, "-P", str(Path(__file__).with_name(f"{name}.py")), *words]
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace"
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"no answer within {seconds:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # the driver holds it: it is left behind
                process.communicate(timeout=_DYING_S)
    if process.returncode < 0:
        number = -process.returncode
        raise ProbeFailed(f"the process died: {signal.strsignal(number) or f'signal {number}'}")
    try:
        return json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        raise ProbeFailed((err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]) from None
