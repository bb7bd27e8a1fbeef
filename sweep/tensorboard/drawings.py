"""Pictures and embeddings that are drawn after a trial's end, so that its worker can train the next trial meanwhile.

    worker     leave(event file, ...)   writes what is to be drawn into a file of the run folder
    runner     draw(run folder)         draws it, into the run's closed event file and the projector's files, and removes the file

If the runner is killed, the next session finds the file and does the same; records that had been added already are cut off first,
so that each picture is there once. Importing this module imports neither torch nor Pillow.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.storage.folder import BEST_EMBEDDINGS, PICTURES, UNFINISHED
from sweep.storage.regular import open_new, read_own
from sweep.tensorboard import event_files, projector
from sweep.tensorboard.projector import Embedding

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch import Tensor

_GRID_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a picture of the IMAGES tab shows; plain data.

    Attributes:
        tag, step: of its record.
        values: of a grid the images (n, height, width, 3), bytes; of a confusion matrix the counts (classes, classes).
        texts: the images' titles, None for none; the classes' names.
        is_grid: whether it is a grid of images, not a confusion matrix.
        numbers: whether the counts are written into the cells.
        at: seconds since the epoch, of its record.
    """

    tag: str
    step: int
    values: np.ndarray[Any, Any]
    texts: list[str] | None
    is_grid: bool
    numbers: bool = False
    at: float = field(default_factory=time.time)

    def summary(self) -> Summary:
        """Draw it; return the record."""
        from sweep.tensorboard import figures  # imports Pillow, only when there is something to draw

        if self.is_grid:
            return figures.summary(self.tag, figures.image_grid(self.values, self.texts))
        return figures.summary(self.tag, figures.confusion_matrix(self.values, self.texts or [], numbers=self.numbers))


def image_grid(tag: str, step: int, images: Tensor, titles: Sequence[str] | None) -> Picture:
    """Return a picture of the first 32 images, as `pixels` takes them, with their titles."""
    shown = pixels(images[:_GRID_IMAGES])
    return Picture(tag=tag, step=step, values=shown, texts=[*titles[: len(shown)]] if titles else None, is_grid=True)


def pixels(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return images (n, ...) or (n, channels, ...) as (n, height, width, 3) bytes; floats outside 0 to 1 are scaled."""
    found = images.detach().cpu()
    values = (found.float() if found.is_floating_point() else found).numpy()  # NumPy has no bfloat16
    if values.ndim == 3:
        values = values[:, np.newaxis]
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
        low, high = values.min(), values.max()
        if low < 0 or high > 1:
            with np.errstate(all="ignore"):  # infinite ones
                values = (values - low) / max(high - low, 1e-12)
        values = (np.nan_to_num(values) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (len(values), 3, *values.shape[2:])).transpose(0, 2, 3, 1))


def write_embeddings(run_folder: Path, embeddings: Mapping[str, Embedding]) -> None:
    """Write the embeddings of a trial's own model where TensorBoard's projector finds them."""
    projector.write(run_folder / BEST_EMBEDDINGS, embeddings, above=1 + len(Path(BEST_EMBEDDINGS).parts))


def leave(event_file: Path, pictures: Sequence[Picture], embeddings: Mapping[str, Embedding]) -> None:
    """Write what is to be drawn of a run whose event file is closed.

    Raises:
        OSError: it cannot be written.
    """
    records = event_files.count(event_file)
    named = {name: vars(one) | {"vectors": None, "images": one.images is not None} for name, one in embeddings.items()}
    described = {"pictures": [vars(one) | {"values": None} for one in pictures], "embeddings": named}
    arrays = [one.values for one in pictures]
    for one in embeddings.values():
        arrays += [one.vectors] if one.images is None else [one.vectors, one.images]
    content = io.BytesIO()
    np.savez(content, np.array(json.dumps({"file": event_file.name, "records": records} | described)), *arrays)
    path = event_file.with_name(PICTURES)
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    with open_new(unfinished) as file:
        file.write(content.getvalue())
    unfinished.replace(path)


def forget(run_folder: Path) -> None:
    """Remove what is left for a run, which is trained again."""
    (run_folder / PICTURES).unlink(missing_ok=True)


def is_left(run_folder: Path) -> bool:
    """Return whether something is left to be drawn for a run."""
    return os.path.lexists(f"{run_folder}{os.sep}{PICTURES}")  # called for each of many: a Path takes longer


def draw(run_folder: Path, *, again: bool = False, best: Callable[[], bool] = lambda: True) -> None:
    """Draw what is left for a run.

    Args:
        run_folder: the run's.
        again: whether a process that was killed may have done so already.
        best: whether the trial's embeddings stay, at the moment.

    Raises:
        OSError: the disk is full; the pictures are still left.
        Exception: what is left cannot be read, drawn or added; nothing is left any more.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    from sweep.storage.retention import remove_embeddings  # not in workers, which need less

    try:
        head, pictures, embeddings = _read(run_folder / PICTURES)
        events = [Event(wall_time=one.at, step=one.step, summary=one.summary()) for one in pictures]
        file = event_files.found(run_folder / Path(head["file"]).name)
        if again and file is not None:
            event_files.cut_after(file, int(head["records"]))
    except BaseException:
        forget(run_folder)
        raise
    if file is not None:  # else somebody has removed it
        event_files.append(file, [event.SerializeToString() for event in events])
    if embeddings and best():
        write_embeddings(run_folder, embeddings)
        if not best():  # a better trial has ended meanwhile
            remove_embeddings(run_folder / BEST_EMBEDDINGS)
    forget(run_folder)


def _read(path: Path) -> tuple[dict[str, Any], list[Picture], dict[str, Embedding]]:
    with np.load(io.BytesIO(read_own(path)), allow_pickle=False) as content:
        described, *arrays = (content[f"arr_{number}"] for number in range(len(content.files)))  # as `savez` names them
    head: dict[str, Any] = json.loads(str(described))
    left = iter(arrays)
    pictures = [Picture(**{**one, "values": next(left)}) for one in head["pictures"]]
    embeddings = {
        name: Embedding(**{**one, "vectors": next(left), "images": next(left) if one["images"] else None})
        for name, one in head["embeddings"].items()
    }
    return head, pictures, embeddings
