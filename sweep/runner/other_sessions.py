"""The user's sessions on this machine see each other, so that two that share its cores or a GPU say so.

Each session leaves a small file in a private folder of the user's, and locks it: a file without a lock is of a session that died.
All of this is only a courtesy: where the folder cannot be written nothing is said, and nothing fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweep.worker.devices import Slot

_MOST_BYTES = 100_000  # of a file


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a session uses.

    Attributes:
        pid: its process.
        folder: the study's.
        threads: how many cores its workers keep busy.
        cores: those that it may use.
        gpus: the numbers, for people, of those that it uses, by their UUIDs.
    """

    pid: int
    folder: str
    threads: int
    cores: list[int]
    gpus: dict[str, str]


def usage_of(slots: Sequence[Slot], folder: Path) -> Usage:
    """Return what a session with these slots uses."""
    return Usage(
        pid=os.getpid(),
        folder=str(folder),
        threads=sum(slot.threads for slot in slots),
        cores=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1)),
        gpus={gpu.uuid: gpu.index for slot in slots for gpu in slot.gpus},
    )


@contextlib.contextmanager
def announced(own: Usage) -> Iterator[list[Usage]]:
    """Let other sessions see this one while the block runs; give those that run already."""
    with contextlib.ExitStack() as stack:
        others: list[Usage] = []
        with contextlib.suppress(OSError):
            place = _private_folder()
            others = _alive(place)
            stack.enter_context(_entry(place, own))
        yield others


def shared_text(own: Usage, others: Sequence[Usage]) -> str | None:
    """Return one line on what a session shares with others and how to share it well; None if there is enough for all."""
    gpus = [gpu for gpu in own.gpus if any(gpu in other.gpus for other in others)]
    beside = [other for other in others if not set(other.cores).isdisjoint(own.cores)]
    taken = sum(other.threads for other in beside)
    if gpus:
        who = [other for other in others if not set(other.gpus).isdisjoint(gpus)]
        what = f"gpu {', '.join(own.gpus[gpu] for gpu in gpus)}, too"
        do = "workers.devices chooses others"
    elif beside and own.threads + taken > len(own.cores):
        who, what = beside, f"{min(taken, len(own.cores))} of the {len(own.cores)} cores here"
        each = max(1, len(own.cores) // (len(beside) + 1))
        do = f"with workers.per_device={each} for each they share them"
    else:
        return None
    several = len(who) > 1
    names = ", ".join(f"{other.folder} (process {other.pid})" for other in who)
    verb = "use" if several else "uses"
    return f"{f'{len(who)} other sweeps' if several else 'another sweep'} {verb} {what}: {names}; {do}"


def _private_folder() -> Path:
    """Return the folder of the user's sessions, which nobody else can write.

    Raises:
        OSError: there can be none.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    place = Path(runtime, "sweep-sessions") if runtime else Path(tempfile.gettempdir(), f"sweep-sessions-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{place} is not a private folder")
    return place


def _alive(place: Path) -> list[Usage]:
    """Return what the sessions use that are alive; the files of others are removed."""
    found = []
    for path in sorted(place.glob("*.json")):
        # It has just ended, or another version wrote it.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:  # noqa: PTH123  # a path would be opened again
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(_read(file.read(_MOST_BYTES)))
                else:
                    path.unlink()
    return found


def _read(data: bytes) -> Usage:
    read = json.loads(data)
    return Usage(
        pid=int(read["pid"]),
        folder=str(read["folder"]),
        threads=int(read["threads"]),
        cores=[int(core) for core in read["cores"]],
        gpus={str(uuid): str(index) for uuid, index in read["gpus"].items()},
    )


@contextlib.contextmanager
def _entry(place: Path, own: Usage) -> Iterator[None]:
    # Under another name until it is locked: nobody may take it for one of a session that died.
    name = f"{own.pid}-{secrets.token_hex(4)}"
    new, path = place / f".{name}", place / f"{name}.json"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(asdict(own)).encode())
        new.rename(path)
    except OSError:
        os.close(descriptor)
        new.unlink(missing_ok=True)
        raise
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
