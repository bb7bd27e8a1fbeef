"""Where an attempt at a trial starts: at its own last checkpoint, at that of the trial that it goes on from, or at nothing.

The event files are cut back to what the checkpoint knows of them: a trial that goes on from another study's has none yet.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep.errors import one_line
from sweep.storage.folder import PARENT_CHECKPOINT
from sweep.study.spec import FromSpec
from sweep.tensorboard import event_files
from sweep.worker import checkpoint, determinism
from sweep.worker.checkpoint import Checkpoint, CheckpointDamaged


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """Where an attempt starts.

    Attributes:
        checkpoint: what it goes on from; None if the trial starts at its beginning.
        moved: how the device or the software differs from what made the checkpoint; empty where they do not.
        of_parent: the checkpoint is that of the trial of another study that this one goes on from.
        trouble: why there is none, although the trial must not start at its beginning.
    """

    checkpoint: Checkpoint | None = None
    moved: str = ""
    of_parent: bool = False
    trouble: str = ""


def starting_point(folder: Path, identity: Mapping[str, Any], origin: Mapping[str, str], start: FromSpec | None) -> StartingPoint:
    """Find the checkpoint to start from and cut the event files back to it.

    Args:
        folder: the run folder.
        identity: the trial's.
        origin: what would make a checkpoint now.
        start: the study whose trials those of this study go on from, if they do.
    """

    def warn(text: str) -> None:
        print(f"sweep: {one_line(text)}; trying an earlier checkpoint", file=sys.stderr, flush=True)

    for candidate in checkpoint.candidates(folder, identity, warn):
        try:
            event_files.cut_back(folder, candidate.events)
        except event_files.NotEnoughRecords as error:
            warn(str(error))
            continue
        print(f"resumes after step {candidate.position.step or 0}", flush=True)
        return _told(StartingPoint(checkpoint=candidate, moved=determinism.moved(candidate.origin, origin)))
    event_files.cut_back(folder, {})
    if start is None:
        return StartingPoint()
    try:
        found = checkpoint.read(folder / PARENT_CHECKPOINT)
    except (FileNotFoundError, CheckpointDamaged) as error:
        why = "it is gone" if isinstance(error, FileNotFoundError) else str(error)
        return StartingPoint(trouble=f"the checkpoint of the trial that this one goes on from cannot be used: {why}")
    at = found.position
    print(f"goes on from trial {found.identity['number']} of {one_line(start.study)} after step {at.step or 0}", flush=True)
    found = replace(found, position=replace(at, total=None, seconds=0.0))  # it has taken no time yet
    return _told(StartingPoint(checkpoint=found, moved=determinism.moved(found.origin, origin), of_parent=True))


def _told(point: StartingPoint) -> StartingPoint:
    if point.moved:
        print(f"sweep: digits may differ after the interruption: {point.moved}", flush=True)
    return point
