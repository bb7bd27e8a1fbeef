"""Every path of a study's folder, and the names of its run folders (DESIGN section 4)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.study.spec import StudySpec

CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"
UNUSABLE_CHECKPOINT = "checkpoint.unusable.pt"
# What the projector shows of a trial's own model; TensorBoard's name for the place. It stays for the best trial only.
BEST_EMBEDDINGS = "plugins/org_tensorflow_tensorboard_projector"
# What a request to stop says.
STOP_AT_NEXT_STEP = "at the next step\n"
STOP_AT_ONCE = "at once\n"
_SEPARATORS = frozenset({os.sep, os.altsep or os.sep, "\0"})


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """The paths of one study.

    Attributes:
        root: absolute; what `tensorboard --logdir` is given.
    """

    root: Path

    @property
    def study_file(self) -> Path:
        """Return the path of the resolved study file."""
        return self.root / "study.yaml"

    @property
    def database(self) -> Path:
        """Return the path of Optuna's storage."""
        return self.root / "study.db"

    @property
    def environment(self) -> Path:
        """Return the path of the record of versions, commit and devices."""
        return self.root / "environment.json"

    @property
    def prior(self) -> Path:
        """Return the path of what is known from other studies."""
        return self.root / "prior.json"

    @property
    def lock(self) -> Path:
        """Return the path of the lock that a runner holds."""
        return self.root / "lock"

    @property
    def report(self) -> Path:
        """Return the path of the report."""
        return self.root / "report.html"

    @property
    def stop_request(self) -> Path:
        """Return the path of the file that asks the runner to stop."""
        return self.root / "stop"

    def taken_stop_request(self) -> str:
        """Return what the request to stop says, empty when it cannot be read, and remove it."""
        try:
            text = self.stop_request.read_bytes().decode("utf-8", "replace")
            self.stop_request.unlink(missing_ok=True)
        except OSError:
            return ""
        return text

    def trial_dir(self, folder: str) -> Path:
        """Return the path of the run folder of that name.

        Raises:
            ValueError: the name, read from a damaged or hostile database, leads elsewhere, or the folder is a link.
        """
        self.check_run_folder(folder)
        return self.root / folder

    def check_run_folder(self, folder: str) -> None:
        """Check the name of a run folder; cheap enough for ten thousand of them.

        Raises:
            ValueError: as `trial_dir`.
        """
        leads_elsewhere = folder in ("", ".", "..") or not _SEPARATORS.isdisjoint(folder)
        if leads_elsewhere or os.path.islink(f"{self.root}{os.sep}{folder}"):  # noqa: PTH114  # a Path costs ten times as much
            raise ValueError(f"{folder!r} is no run folder: it leads elsewhere")

    def trial_file(self, folder: str) -> Path:
        """Return the path of a trial's readable record."""
        return self.trial_dir(folder) / "trial.json"

    def checkpoints(self, folder: str) -> tuple[Path, Path, Path]:
        """Return the paths of a trial's last checkpoint, of the one before, and of one that could not be used."""
        path = self.trial_dir(folder)
        return path / CHECKPOINT, path / PREVIOUS_CHECKPOINT, path / UNUSABLE_CHECKPOINT

    def embeddings(self, folder: str) -> Path:
        """Return the path of what the projector shows of a trial's own model."""
        return self.trial_dir(folder) / BEST_EMBEDDINGS


def folder_of(study: StudySpec) -> StudyFolder:
    """Return the folder that a study's results are or will be in."""
    return StudyFolder(root=Path(study.output).expanduser().absolute() / study.name)


def recorded(folder: StudyFolder) -> dict[str, Any]:
    """Return what a study's folder says of its last run; empty when it says nothing readable."""
    try:
        data = json.loads(folder.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
