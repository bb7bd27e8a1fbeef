"""Read a study's folder in tests, with nothing but TensorBoard, torch and the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.study.record import TrialRecord
from sweep.tensorboard import event_files

Points = dict[str, list[tuple[int, float]]]


def scalars(folder: Path) -> Points:
    """Return every point of every curve of a run, in the order in which TensorBoard reads them."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def hparams_tags(folder: Path) -> dict[str, Any]:
    """Return the contents of the HPARAMS plugin's records of a run, by tag."""
    found = EventAccumulator(str(folder))
    found.Reload()
    return dict(found.PluginTagToContent("hparams"))


def points(folder: Path) -> list[tuple[str, str, int]]:
    """Return plugin, tag and step of everything in a run's event files, in order; a graph has the tag `graph`."""
    found = []
    for event in _events(folder):
        if event.graph_def:
            found.append(("graphs", "graph", event.step))
        for value in event.summary.value:
            kind = value.metadata.plugin_data.plugin_name or value.WhichOneof("value") or ""
            found.append((kind, value.tag, event.step))
    return found


def event_records(folder: Path, *, timings: tuple[str, ...] = ()) -> list[bytes]:
    """Return every record of a run's event files in order, without when, by whom and in which file each was written.

    Args:
        timings: tags whose values are times, which are left out.
    """
    found = []
    for event in _events(folder):
        event.wall_time = 0
        if event.graph_def:  # bytes of their own, in which the order of a map is by chance
            event.graph_def = GraphDef.FromString(event.graph_def).SerializeToString(deterministic=True)
        for value in event.summary.value:
            if value.tag in timings:
                value.ClearField("value")
            if value.metadata.plugin_data.plugin_name == "hparams":
                data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                data.session_start_info.ClearField("start_time_secs")
                data.session_end_info.ClearField("end_time_secs")
                data.experiment.ClearField("time_created_secs")
                value.metadata.plugin_data.content = data.SerializeToString(deterministic=True)
        found.append(event.SerializeToString(deterministic=True))
    return found


def _events(folder: Path) -> Iterator[Event]:
    """Iterate over everything in a run's event files, in order."""
    for path in sorted(folder.glob(event_files.PATTERN)):
        yield from (event for _, _, event in event_files.events(path))


def records(study_folder: Path) -> list[TrialRecord]:
    """Return the trials of a study as they are in its database."""
    return read_records(StudyFolder(root=study_folder))


def outcome(study_folder: Path, *, timings: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return everything that must not depend on interruptions: each trial's params, metrics, points and last weights.

    Args:
        study_folder: such as runs/fashion.
        timings: curves whose values are times, of which only the steps are compared.
    """
    found = []
    for record in records(study_folder):
        folder = study_folder / record.folder
        points = scalars(folder)
        for tag in timings:
            points[tag] = [(step, 0.0) for step, _ in points[tag]]
        kept = folder / "checkpoint.pt"
        state = torch.load(kept, weights_only=True)["state"] if kept.exists() else {}
        found.append(
            {
                "number": record.number,
                "state": str(record.state),
                "params": record.params,
                "seed": record.seed,
                "metrics": record.metrics,
                "points": points,
                "weights": _bits(state),
                "ends": len([tag for tag in hparams_tags(folder) if "session_end" in tag]),
            }
        )
    folders = {path.name for path in study_folder.iterdir() if path.is_dir()} - {"parents"}  # of a second round
    assert folders == {record.folder for record in records(study_folder)}, "a run folder without a trial, or the other way round"
    return found


def _bits(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return (
            state.dtype,
            state.shape,
            state.stride(),
            state.contiguous().view(torch.uint8).tolist() if state.dim() else state.item(),
        )
    if isinstance(state, dict):
        return {key: _bits(value) for key, value in state.items() if key != "seconds"}
    return [_bits(value) for value in state] if isinstance(state, (list, tuple)) else state
