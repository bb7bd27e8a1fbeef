"""Processes that a study's workers started, found again by a mark in their environment.

A program that a trial starts may leave its worker's process group (`start_new_session=True`, daemons), and outlive it. Each
worker is given a variable that its children inherit: `SWEEP_STUDY=<the study's folder>.<what started it>`. On Linux the
environment of a process can be read from /proc, also when nobody is left who knew the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

VARIABLE = "SWEEP_STUDY"
_ROUNDS = 20  # while one is killed, it may start another


def mark_of(folder: Path) -> str:
    """Return the mark of a study's folder, which exists; a folder of the same path on another file system has another one."""
    status = folder.stat()
    text = f"{folder.resolve()} {status.st_dev} {status.st_ino}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def of_process(env: Mapping[str, str]) -> str:
    """Return the mark of a new process that starts others, from the variables of its slot."""
    return f"{env.get(VARIABLE, '')}.{uuid.uuid4().hex[:12]}"


def end_marked(mark: str) -> list[int]:
    """Kill this user's processes with this mark, but neither this one nor its parent; return their ids."""
    ended: list[int] = []
    for _ in range(_ROUNDS):
        found = [pid for pid in marked(mark) if pid not in ended]
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        ended += found
        if not found:
            break
    return ended


def marked(mark: str) -> Iterator[int]:
    """Yield the processes of this user with exactly this mark, or with one that it begins and a dot ends."""
    wanted = f"{VARIABLE}={mark}".encode()
    own = {os.getpid(), os.getppid()}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or it is somebody else's
            variables = (entry / "environ").read_bytes().split(b"\0")
            ours = any(one == wanted or one.startswith(wanted + b".") for one in variables)
            if ours and entry.stat().st_uid == os.getuid() and int(entry.name) not in own:
                yield int(entry.name)
