"""Every path of a study's folder, and the names of its run folders (DESIGN section 4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sweep.trial import Params, Scalar

# TensorBoard adds its own long file name below the folder; most file systems end a name at 255 bytes.
_LONGEST_TAG = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


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
    def lock(self) -> Path:
        """Return the path of the lock that a runner holds."""
        return self.root / "lock"

    def trial_dir(self, folder: str) -> Path:
        """Return the path of the run folder of that name."""
        return self.root / folder

    def trial_file(self, folder: str) -> Path:
        """Return the path of a trial's readable record."""
        return self.root / folder / "trial.json"


def run_folder_name(number: int, params: Params, swept: list[str]) -> str:
    """Return a run folder's name: the zero-padded number, then the comment tag of the swept parameters.

    Never a path separator or a character that a shell would take for its own, never longer than 126 characters for
    the first ten thousand trials: a longer tag is cut and closed with a short hash of the whole.
    """
    tag = "".join(f"_{name}={_word(params[name])}" for name in swept if name in params)
    if len(tag) > _LONGEST_TAG:
        digest = hashlib.sha256(tag.encode()).hexdigest()[:8]
        tag = f"{tag[: _LONGEST_TAG - 9]}-{digest}"
    return f"{number:04d}{tag}"


def _word(value: Scalar) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return _UNSAFE.sub("-", text)
