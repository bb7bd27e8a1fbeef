"""What a script writes for TensorBoard itself, read while it grows: reports for the trial, everything else for its run.

    the script's event files ── each new record ──► scalars with the metric of their step ──► report(step, metrics)
                                                ├─► other scalars ──────────────────────┐
                                                └─► images, histograms, text, graphs ───┴► the trial's own event file

All of it is copied into the trial's one event file, and the script's files are not shown: those of `${logdir}` lie outside
of what TensorBoard is given, those anywhere in the run folder are removed when the trial ends. The other way, leaving the
script's file and writing no scalars beside it, would show a run whose points TensorBoard reads from two growing files (it
reads one after the other, and never goes back), and could not be cut back to a checkpoint as one.

The metric is the clock: a step of it and the scalars of the same step make one report, as soon as a scalar of a later step
is there or the script has ended. A loss of each batch that counts by itself stays a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.tensorboard import event_files
from sweep.tensorboard.writer import OWN_SUFFIX, TrialWriter

_OF_THE_TRIAL = ("hparams", "custom_scalars")  # the study's own row and charts are there


@dataclass(kw_only=True)
class _File:
    """An event file of the script: where the next record begins, and what its tags begin with."""

    place: int = 0
    prefix: str = ""
    scalar_tags: set[str] = field(default_factory=set)  # of TensorFlow's writer, which says so once


class ScriptEvents:
    """Read the event files of one script.

    Args:
        logdir, folder: where they may be: outside of the run folder, and in it.
        writer: the trial's own.
        metric: the clock's tag.
        report: is given a step and its metrics; what it raises passes through.
    """

    def __init__(
        self, logdir: Path, folder: Path, writer: TrialWriter, metric: str, report: Callable[[int, dict[str, float]], None]
    ) -> None:
        self._folders, self._writer, self._metric, self._report = (logdir, folder), writer, metric, report
        self._files: dict[Path, _File] = {}
        self._root: Path | None = None
        self._before = {path for path in folder.rglob(event_files.PATTERN) if not path.name.endswith(OWN_SUFFIX)}
        self._written: dict[str, int] = writer.state_dict()["last_step"]  # by an attempt before
        self._waiting: list[tuple[str, float, int, float]] = []
        self._step: int | None = None  # of the metric, until its report
        self._found: dict[str, float] = {}
        self._reported: Collection[str] | None = None  # tags that come another way

    def read(self) -> None:
        """Take what was written since the last call."""
        for folder in self._folders:
            for path in sorted(folder.rglob(event_files.PATTERN)):
                if path not in self._files and path not in self._before and not path.name.endswith(OWN_SUFFIX):
                    self._root = self._root or path.parent
                    self._files[path] = _File(prefix=_prefix(path.parent, self._root))
        for path, known in self._files.items():
            self._read(path, known)

    def give_way(self, reported: Collection[str]) -> None:
        """Make no more reports, since the script reports another way; points of other tags than those are still copied."""
        self._reported, self._step = reported, None

    def finish(self) -> None:
        """Take the rest, now that the script has ended, and report the last step."""
        self.read()
        if self._step is None and self._found and self._metric not in self._found and self._reported is None:
            last = max(step for _, _, step, _ in self._waiting) if self._waiting else 0
            self._waiting = []
            self._report(last, self._found)  # for the message that names what there is instead of the metric
        self._turn()

    def remove(self) -> None:
        """Remove the script's event files from the run folder: the trial has ended, and all is copied."""
        for path in {*self._files, *self._before}:
            path.unlink(missing_ok=True)

    def _read(self, path: Path, known: _File) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        try:
            file = path.open("rb")
        except FileNotFoundError:  # the script tidied up
            return
        with file:
            file.seek(known.place)
            for start, length in event_files.records(file):
                file.seek(start)
                event = Event.FromString(file.read(length))
                known.place = start + length + event_files.CHECKSUM
                self._take(event, known)

    def _take(self, event: Any, known: _File) -> None:
        others = []
        for value in event.summary.value:
            number = _scalar(value, known.scalar_tags)
            if number is not None:
                self._scalar(known.prefix + value.tag, number, event.step, event.wall_time)
            elif value.metadata.plugin_data.plugin_name not in _OF_THE_TRIAL:
                others.append(value)
        if others or event.graph_def or event.HasField("tagged_run_metadata"):
            kept = [type(value).FromString(value.SerializeToString()) for value in others]
            if event.HasField("summary"):
                del event.summary.value[:]
                event.summary.value.extend(kept)
            self._writer.add_record(event)

    def _scalar(self, tag: str, number: float, step: int, when: float) -> None:
        if step <= self._written.get(tag, -1):
            return
        if self._step is not None and step > self._step:
            self._turn()
        self._found[tag] = number
        self._waiting.append((tag, number, step, when))
        if self._reported is not None:
            self._turn()
        elif tag == self._metric:
            self._step = step

    def _turn(self) -> None:
        """Report the step that is done; what waited and counts otherwise becomes points of its curves."""
        step, self._step, waiting, self._waiting = self._step, None, self._waiting, []
        for tag, number, at, when in waiting:
            if at != step and tag not in (self._reported or ()):
                self._writer.add_scalar(tag, number, at, when)
        if step is not None:
            self._report(step, {tag: number for tag, number, at, _ in waiting if at == step})


def _prefix(folder: Path, root: Path) -> str:
    """Return what tells the tags of a folder from those of the first one: `add_scalars` makes a folder for each curve."""
    if folder == root:
        return ""
    return f"{folder.relative_to(root) if folder.is_relative_to(root) else folder.name}/"


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

    return float(make_ndarray(value.tensor).item())
