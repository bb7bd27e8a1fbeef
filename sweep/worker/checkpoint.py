"""Checkpoints: what a trial needs to resume exactly where it was interrupted.

    checkpoint.pt            the last one, an ordinary torch file: torch.load(path, weights_only=True)
    checkpoint.previous.pt   the one before, while the trial runs

The reports of a long trial are in a file beside them (`sweep.worker.history`).
A checkpoint is written under another name, synced, and renamed, so the file is whole or missing. The comment of a torch file,
which is a zip archive, has a digest, which shows damage; then the checkpoint before is used. Checkpoints are read with
`weights_only=True`, so that no code in them can run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sweep.storage.files import sync_folder
from sweep.storage.folder import CHECKPOINT, PREVIOUS_CHECKPOINT, UNUSABLE_CHECKPOINT
from sweep.storage.regular import NotRegular, open_new, open_own
from sweep.study.trial import Position, Scalar
from sweep.worker import state, torch_file
from sweep.worker.history import HistoryDamaged, whole

VERSION = 1
_COMMENT = re.compile(rb"sweep checkpoint (\d+) sha256:([0-9a-f]{64})")
_COMMENT_BYTES = len(f"sweep checkpoint {VERSION} sha256:".encode()) + 64
_BLOCK = 1 << 20


def passed(_effect: str) -> None:
    """Do nothing. Called after each lasting effect of a save; tests replace it to kill the process there."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One moment of a trial.

    Attributes:
        identity: number, parameters and seed of the trial that it belongs to.
        position: how far the trial is, and what it has reported; when saved, without the history.
        state: what the objective gave.
        randomness: the states of the random number generators.
        origin: what made it, as `determinism.origin` returned it; empty in those of earlier versions.
        events: how many records each event file held, by path in the run folder.
        writer: the state of the trial's log.
        reports: what `History.stored` returned, where the history is; when read, what is to be given to `History`.
    """

    identity: dict[str, Any]
    position: Position
    state: dict[str, Any]
    randomness: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    writer: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, Any] = field(default_factory=dict)


_STORED = ("identity", "state", "randomness", "events", "writer")


class CheckpointDamaged(Exception):
    """A checkpoint cannot be used; the message says why."""


def identity(number: int, params: Mapping[str, Scalar], seed: int) -> dict[str, Any]:
    """Return what distinguishes the checkpoints of one trial from those of another."""
    return {"number": number, "params": dict(params), "seed": seed}


def save(folder: Path, checkpoint: Checkpoint, *, checked: bool = False) -> None:
    """Write a checkpoint; the one before is kept.

    Args:
        folder: the run folder.
        checkpoint: what to write.
        checked: the objective's state was checked a moment ago.

    Raises:
        OSError: it cannot be written; the earlier ones are unharmed.
        TypeError: it holds something that could not be read back; nothing was written.
    """
    at = checkpoint.position
    position = {name: getattr(at, name) for name in at.__dataclass_fields__ if name != "history"}
    if not checked:
        state.check(checkpoint.state)
    state.check([position, checkpoint.identity, checkpoint.events, checkpoint.writer], "checkpoint")
    reports = checkpoint.reports or {"history": [list(point) for point in at.history]}
    data = {name: getattr(checkpoint, name) for name in (*_STORED, "origin")}
    data |= {"version": VERSION, "position": position | reports}
    last, previous = folder / CHECKPOINT, folder / PREVIOUS_CHECKPOINT
    unfinished = folder / f".{CHECKPOINT}.unfinished"
    try:
        with open_new(unfinished) as file:
            _write(data, file)
            passed("written")
            os.fsync(file.fileno())
        passed("synced")
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    if last.exists():
        last.replace(previous)
        passed("kept the previous")
    unfinished.replace(last)
    passed("renamed")
    sync_folder(folder)
    passed("folder synced")


def candidates(folder: Path, wanted: Mapping[str, Any], warn: Callable[[str], None]) -> Iterator[Checkpoint]:
    """Iterate over a trial's usable checkpoints, the newest first; one that is not used is renamed.

    Args:
        folder: the run folder.
        wanted: the trial's `identity`; another trial's checkpoint is not used.
        warn: called with the reason why one is not used.

    Raises:
        OSError, MemoryError: one cannot be read now, but perhaps later.
    """
    (folder / f".{CHECKPOINT}.unfinished").unlink(missing_ok=True)
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            found = read(path)
            if found.identity != wanted:
                raise CheckpointDamaged("it belongs to another trial")
        except CheckpointDamaged as error:
            warn(f"{name} cannot be used: {error}")
        else:
            yield found
        # Neither this function nor its caller could use it. It must not become the previous one of the next save.
        path.replace(folder / UNUSABLE_CHECKPOINT)


def read(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        CheckpointDamaged: it is not whole, or of another version.
        OSError, MemoryError: it cannot be read now.
    """
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            _verify(file)
            file.seek(0)
            data = torch_file.load(file)
        position = data["position"]
        reports = {name: position.pop(name) for name in ("history", "earlier") if name in position}
        history = whole(path.parent, reports.get("earlier"), reports["history"])
        fields = {name: data[name] for name in _STORED}
        origin = {str(name): str(value) for name, value in data.get("origin", {}).items()}  # earlier versions stored none
        return Checkpoint(**fields, origin=origin, position=Position(**position, history=history), reports=reports)
    except HistoryDamaged as error:
        raise CheckpointDamaged(str(error)) from None
    except NotRegular as error:
        raise CheckpointDamaged(error.strerror) from None
    except (CheckpointDamaged, OSError, MemoryError):
        raise
    except Exception as error:  # torch may raise anything for a damaged or hostile file
        raise CheckpointDamaged(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from None


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state to a file that another process reads with `take_state`; what had its name is removed."""
    with open_new(path) as file:
        torch_file.save(dict(state), file)


def take_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote, and remove the file; no code in it can run."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        found = torch_file.load(file)
    path.unlink()
    return found


class _Hashed:
    """A file that computes the digest of what is written, and keeps an OSError, which torch replaces by a RuntimeError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self.digest.update(data)
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write(data: dict[str, Any], file: BinaryIO) -> None:
    hashed = _Hashed(file)
    try:
        torch_file.save(data, hashed)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if hashed.error is not None:
            raise hashed.error from None
        raise TypeError(f"the state cannot be stored: {type(error).__name__}: {error}") from error
    # A zip archive ends with the length of its comment, 0 here, and the comment.
    comment = f"sweep checkpoint {VERSION} sha256:{hashed.digest.hexdigest()}".encode()
    file.seek(-2, os.SEEK_END)
    file.write(len(comment).to_bytes(2, "little") + comment)
    file.flush()


def _verify(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END) - _COMMENT_BYTES - 2
    if size <= 0:
        raise CheckpointDamaged("it is cut off")
    file.seek(size + 2)
    comment = _COMMENT.fullmatch(file.read())
    if comment is None:
        raise CheckpointDamaged("it is cut off, or no checkpoint of this program")
    if int(comment[1]) != VERSION:
        raise CheckpointDamaged(f"it is of version {int(comment[1])}, this program knows {VERSION}")
    digest = hashlib.sha256()
    file.seek(0)
    for start in range(0, size, _BLOCK):
        digest.update(file.read(min(_BLOCK, size - start)))
    digest.update(b"\0\0")  # the length of the comment when the digest was computed
    if digest.hexdigest().encode() != comment[2]:
        raise CheckpointDamaged("its digest does not match: the file was damaged")
