"""The event files that a script writes itself, read while they grow: reports for the trial, everything else for its run.

    the script's event files ── each new record ──► scalars at a step of the metric ──► report(step, metrics)
                                                ├─► other scalars ──────────────────┐
                                                └─► images, histograms, text, graphs┴► the trial's own event file

Everything is copied into the trial's one event file, since TensorBoard reads the files of a run one after the other, so that two
growing ones would lose points, and since a checkpoint can cut back only files of this process. The script's own files are not
shown: `${logdir}` is outside TensorBoard's folder, and those in the run folder are removed when the trial ends.

A scalar of the metric and the other scalars of its step are one report, made when a scalar of a later step is there or the script
has ended. Scalars of other steps, such as a loss of each batch with its own count, are points of their curves.

A folder below that of the first file is part of a tag's name, since `add_scalars` makes one for each curve; without what torch
puts into such names that differs from trial to trial: the time and the host of `SummaryWriter(comment=...)`, and the time alone
that `add_hparams` takes. The latter's last metrics belong to the curves of the same name, at their last step.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.storage.regular import files_below, open_regular
from sweep.tensorboard import event_files
from sweep.tensorboard.run_writer import OWN_SUFFIX, RunWriter

_OF_THE_TRIAL = ("hparams", "custom_scalars")  # plugins whose records the trial's own writer makes
_TIME = re.compile(r"[0-9]{9,}(\.[0-9]+)?")  # `str(time.time())`
_TIME_AND_HOST = re.compile(rf"[A-Z][a-z]{{2}}[0-9]{{2}}_[0-9]{{2}}-[0-9]{{2}}-[0-9]{{2}}_{re.escape(socket.gethostname())}")


@dataclass(kw_only=True)
class _File:
    """An event file of the script: where the next record begins, the prefix of its tags, and whether `add_hparams` made it."""

    place: int = 0
    prefix: str = ""
    last_metrics: bool = False
    scalar_tags: set[str] = field(default_factory=set)  # TensorFlow's writer marks only the first record of a tag


class ScriptEvents:
    """Read the event files of one script.

    Args:
        logdir, folder: where they may be: a folder outside the run folder, and the run folder.
        run: the trial's own.
        metric: the tag whose steps are reports.
        report: called with a step and its metrics; what it raises is passed on.
    """

    def __init__(
        self, logdir: Path, folder: Path, run: RunWriter, metric: str, report: Callable[[int, dict[str, float]], None]
    ) -> None:
        self._folders, self._run, self._metric, self._report = (logdir, folder), run, metric, report
        self._files: dict[Path, _File] = {}
        self._root: Path | None = None
        self._before = set(_event_files(folder))
        self._written: dict[str, int] = run.state_dict()["last_step"]  # the last step of each tag, by an earlier attempt
        self._last: dict[str, int] = {}  # the last step of each tag
        self._waiting: list[tuple[str, float, int, float]] = []
        self._step: int | None = None  # of the metric, if its report is still to be made
        self._found: dict[str, float] = {}
        self._reported: Collection[str] | None = None  # tags that the script reports another way

    def read(self, seconds: float = math.inf) -> bool:
        """Read what was written since the last call, for this long; return whether that was all."""
        end = time.monotonic() + seconds
        for folder in self._folders:
            for path in _event_files(folder):
                if path not in self._files and path not in self._before:
                    self._root = self._root or path.parent
                    last_metrics = _TIME.fullmatch(path.parent.name) is not None
                    self._files[path] = _File(prefix=_prefix(path.parent, self._root), last_metrics=last_metrics)
        for path, known in self._files.items():
            for event in self._new_events(path, known):
                self._copy(event, known)
                if time.monotonic() > end:
                    return False
        return True

    def _new_events(self, path: Path, known: _File) -> Iterator[Any]:
        """Iterate over the records that were added; one that is damaged is left out."""
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event

        file = open_regular(path)
        if file is None:
            return
        with file:
            file.seek(known.place)
            for start, length in event_files.records(file):
                known.place = start + length + event_files.CHECKSUM
                file.seek(start)
                with contextlib.suppress(DecodeError):
                    yield Event.FromString(file.read(length))

    def give_way(self, reported: Collection[str]) -> None:
        """Make no more reports, since the script reports these tags another way; points of other tags are still copied."""
        self._reported, self._step = reported, None

    def finish(self) -> None:
        """Read the rest, now that the script has ended, and report the last step."""
        self.read()
        if self._step is None and self._found and self._metric not in self._found and self._reported is None:
            last = max(step for _, _, step, _ in self._waiting) if self._waiting else 0
            self._waiting = []
            self._report(last, self._found)  # so that the error names what was written instead of the metric
        self._complete_step()

    def remove(self) -> None:
        """Remove the script's event files, whose records are copied."""
        for path in {*self._files, *self._before}:
            with contextlib.suppress(OSError):  # it is gone, or a folder
                path.unlink()

    def _copy(self, event: Any, known: _File) -> None:
        others = []
        for value in event.summary.value:
            number = _scalar(value, known.scalar_tags)
            if number is not None:
                tag = known.prefix + value.tag
                step = self._last.get(tag, event.step) if known.last_metrics and not event.step else event.step
                self._scalar(tag, number, step, event.wall_time)
            elif value.metadata.plugin_data.plugin_name not in _OF_THE_TRIAL:
                others.append(value)
        if others or event.graph_def or event.HasField("tagged_run_metadata"):
            kept = [type(value).FromString(value.SerializeToString()) for value in others]
            if event.HasField("summary"):
                del event.summary.value[:]
                event.summary.value.extend(kept)
            self._run.add_record(event)

    def _scalar(self, tag: str, number: float, step: int, when: float) -> None:
        if step <= self._written.get(tag, step - 1):
            return
        self._last[tag] = step
        if self._step is not None and step > self._step:
            self._complete_step()
        self._found[tag] = number
        self._waiting.append((tag, number, step, when))
        if self._reported is not None:
            self._complete_step()
        elif tag == self._metric:
            self._step = step

    def _complete_step(self) -> None:
        """Report the step that is complete; the scalars of other steps become points of their curves."""
        step, self._step, waiting, self._waiting = self._step, None, self._waiting, []
        for tag, number, at, when in waiting:
            if at != step and tag not in (self._reported or ()):
                self._run.add_scalar(tag, number, at, when)
        if step is not None:
            self._report(step, {tag: number for tag, number, at, _ in waiting if at == step})


def _event_files(folder: Path) -> list[Path]:
    """Return the event files in a folder: the highest in the tree first, then in the order of time.

    The trial's own are left out, and those in the folder of wandb, which copies what a script writes.
    """
    try:
        found = [path for path in files_below(folder, event_files.PATTERN) if not path.name.endswith(OWN_SUFFIX)]
        found = [path for path in found if path.relative_to(folder).parts[0] != "wandb"]
        return sorted(found, key=lambda path: (len(path.parts), path.name))
    except OSError:  # the script removed a folder meanwhile
        return []


def _prefix(folder: Path, root: Path) -> str:
    """Return a prefix for the tags of a folder other than the first one; see above."""
    if folder == root:
        return ""
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else (folder.name,)
    kept = (_TIME_AND_HOST.sub("", part).strip() for part in parts if not _TIME.fullmatch(part))
    return "".join(f"{part}/" for part in kept if part)


def _scalar(value: Any, scalar_tags: set[str]) -> float | None:
    """Return a scalar's number, torch's or TensorFlow's; None of anything else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        return None
    if value.metadata.plugin_data.plugin_name == "scalars":
        scalar_tags.add(value.tag)
    if value.tag not in scalar_tags:
        return None
    from tensorboard.util.tensor_util import make_ndarray

    with contextlib.suppress(TypeError, ValueError):  # several numbers, or none
        return float(make_ndarray(value.tensor).item())
    return None
