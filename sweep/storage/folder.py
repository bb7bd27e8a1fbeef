"""Every path of a study's folder, and the names of its run folders (`sweep/docs/design.md`, section 4)."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.storage.files import read_json
from sweep.storage.regular import NotRegular, check_regular, read_own
from sweep.study.spec import StudySpec

LOG = "log.txt"  # of a run: what its objective has printed
TRIAL = "trial.json"  # the readable record of a run; in the copy of a trial, what makes the folder one
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"
UNUSABLE_CHECKPOINT = "checkpoint.unusable.pt"
PARENT_CHECKPOINT = "checkpoint.parent.pt"  # that of the trial that this one goes on from
HISTORY = "checkpoint.history.jsonl"  # a long trial's earlier reports
PICTURES = ".pictures.npz"  # what is still to be drawn of a run that has ended
UNFINISHED = ".unfinished"  # the end of a name while its content is written
SLOT_NOTES = "slot_notes"  # their key in `environment.json`
WAITING_SLOTS = "waiting_slots"  # the same
# TensorBoard's folder for the projector, here with the embeddings of the trial's own model; only the best trial keeps it.
BEST_EMBEDDINGS = "plugins/org_tensorflow_tensorboard_projector"
# The first line of a request to stop; the second one is the session that it is for, of older versions there is none.
STOP_AT_NEXT_STEP = "at the next step\n"
STOP_AT_ONCE = "at once\n"
PARENTS = "parents"  # the folder of the copies that `parent_dir` is in
_LONGEST_NAME = 255  # bytes, in most file systems
_SEPARATORS = frozenset({os.sep, os.altsep or os.sep, "\0"})


class _Inside:
    """The path of a file in a study's folder.

    Args:
        name: the file's.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: StudyFolder, owner: type) -> Path:
        return folder.root / self.name


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """The paths of one study.

    Attributes:
        root: absolute; the argument of `tensorboard --logdir`.
    """

    root: Path
    study_file = _Inside("study.yaml")  # the resolved study
    database = _Inside("study.db")  # of Optuna's form
    environment = _Inside("environment.json")  # versions, commit, devices and slot notes of the last session
    imported_trials = _Inside("prior.json")
    remarks = _Inside("remarks.json")  # notes, and which trials are dropped
    lock = _Inside("lock")  # held by the session that runs
    report = _Inside("report.html")
    stop_request = _Inside("stop")  # asks the session to stop

    @property
    def signs(self) -> tuple[Path, ...]:
        """Return the paths of which the folder of a study that has run has several, even if one is lost."""
        return self.study_file, self.database, self.environment, self.lock

    @property
    def word(self) -> str:
        """Return the folder's path as a word for a shell."""
        return shlex.quote(os.fspath(self.root))

    def check_files(self) -> None:
        """Check that none of the study's own files is a link, a named pipe or such.

        Raises:
            NotRegular: one is.
        """
        for name, part in vars(StudyFolder).items():
            # The report is written beside its place and renamed, once the trials are done: it costs none of them.
            if isinstance(part, _Inside) and name != "report":
                check_regular(f"{self.root}{os.sep}{part.name}")

    def stamps(self) -> tuple[tuple[str, int, int], ...]:
        """Return times and sizes of the study's own files, of which one changes whenever anything is stored."""
        found = []
        for name, part in vars(StudyFolder).items():
            for suffix in ("", "-wal") if isinstance(part, _Inside) and name != "report" else ():
                path = f"{getattr(self, name)}{suffix}"
                with contextlib.suppress(OSError):
                    seen = os.lstat(path)
                    found.append((path, seen.st_mtime_ns, seen.st_size))
        return tuple(found)

    def taken_stop_request(self, session: str) -> str | None:
        """Remove the request to stop, and return its first line; empty if it cannot be read, None if it is for another session.

        Args:
            session: the one that asks.
        """
        try:
            text = read_own(self.stop_request).decode("utf-8", "replace")
            self.stop_request.unlink(missing_ok=True)
        except OSError:
            return ""
        first, _, other = text.partition("\n")
        return f"{first}\n" if not other.strip() or other.strip() == session else None

    def trial_dir(self, folder: str) -> Path:
        """Return the path of the run folder with this name.

        Raises:
            ValueError: the path is outside the study's folder; the database is damaged or was tampered with.
            NotRegular: it is a link.
        """
        self.check_run_folder(folder)
        return self.root / folder

    def check_run_folder(self, folder: str) -> None:
        """Check the name of a run folder; fast enough for ten thousand of them.

        Raises:
            ValueError, NotRegular: as `trial_dir`.
        """
        if folder in ("", ".", "..") or not _SEPARATORS.isdisjoint(folder) or len(os.fsencode(folder)) > _LONGEST_NAME:
            raise ValueError(f"{folder[:_LONGEST_NAME]!r} is not a run folder: it leads elsewhere")
        path = f"{self.root}{os.sep}{folder}"
        if os.path.islink(path):  # noqa: PTH114  # a Path takes ten times as long
            raise NotRegular(errno.ELOOP, "it is a link, where a run's folder belongs, and leads elsewhere", path)

    def trial_file(self, folder: str) -> Path:
        """Return the path of a run's readable record."""
        return self.trial_dir(folder) / TRIAL

    def checkpoints(self, folder: str) -> tuple[Path, ...]:
        """Return the paths of a run's last checkpoint, the one before it, its parent's, and one that could not be used."""
        names = CHECKPOINT, PREVIOUS_CHECKPOINT, PARENT_CHECKPOINT, UNUSABLE_CHECKPOINT
        return tuple(self.trial_dir(folder) / name for name in names)

    def parent_dir(self, number: int, repeat: int) -> Path:
        """Return the path of the copy of a checkpoint, of another study's run, from which trials of this study go on.

        Raises:
            NotRegular: it is a link.
        """
        path = self.root / PARENTS / (f"{number:04d}_repeat={repeat}" if repeat else f"{number:04d}")
        for part in (path.parent, path):
            if part.is_symlink():
                raise NotRegular(errno.ELOOP, "it is a link, where a folder of the study belongs, and leads elsewhere", str(part))
        return path

    def history(self, folder: str) -> Path:
        """Return the path of the earlier reports of a run, which its checkpoints count on."""
        return self.trial_dir(folder) / HISTORY

    def embeddings(self, folder: str) -> Path:
        """Return the path of the embeddings of a trial's own model."""
        return self.trial_dir(folder) / BEST_EMBEDDINGS


def folder_of(study: StudySpec) -> StudyFolder:
    """Return the folder of a study's results, which may not exist yet."""
    return StudyFolder(root=Path(study.output).expanduser().absolute() / study.name)


def near(path: Path) -> str:
    """Return a path as it can be typed here: relative to the working directory, if that still exists."""
    try:
        return os.path.relpath(path)
    except OSError:
        return os.fspath(path)


def slot_notes(folder: StudyFolder) -> list[dict[str, Any]]:
    """Return what the last session decided about its slots (`sweep.runner.slot_notes`), the first decision first."""
    notes = recorded(folder).get(SLOT_NOTES)
    return [one for one in notes if isinstance(one, dict) and isinstance(one.get("text"), str)] if isinstance(notes, list) else []


def waiting_slots(folder: StudyFolder) -> int:
    """Return how many slots of the last session waited for room on a cluster when it last said so."""
    count = recorded(folder).get(WAITING_SLOTS)
    return count if type(count) is int else 0


def recorded(folder: StudyFolder) -> dict[str, Any]:
    """Return the content of `environment.json`; empty if it is missing or damaged."""
    try:
        data = read_json(folder.environment)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
