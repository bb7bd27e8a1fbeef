"""Embeddings on disk as TensorBoard's projector reads them: points, labels and thumbnails.

    projector_config.pbtxt          lists the embeddings; paths below its own folder only
    projector/NAME/tensors.tsv      one point a line
    projector/NAME/labels.tsv       one label a line
    projector/NAME/thumbnails.png   all thumbnails in one square picture, row by row

According to the plugin's source (tensorboard 2.21, plugins/projector/projector_plugin.py) a run has one such file, in its own
folder or, with precedence, in `plugins/org_tensorflow_tensorboard_projector` below it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.storage.files import write_text
from sweep.storage.regular import make_folders, open_new


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Points to show.

    Attributes:
        vectors: (n, dimensions) numbers.
        labels: n names, by which the points can be coloured.
        images: (n, height, width, 3) bytes, the thumbnails.
    """

    vectors: np.ndarray[Any, Any]
    labels: Sequence[str] | None = None
    images: np.ndarray[Any, np.dtype[np.uint8]] | None = None


def write(folder: Path, embeddings: Mapping[str, Embedding], above: int = 1) -> None:
    """Write embeddings, by name, into a folder; the configuration last, so that it never names a missing file.

    Args:
        folder: of the run, or below it.
        embeddings: by name.
        above: how many folders of the path, from its end, are the run's and below it: none of them may be a link.

    Raises:
        OSError: a file cannot be written, or one of these folders is a link.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    for name, embedding in embeddings.items():
        word = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
        digest = "" if word == name.replace(" ", "_") else f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        place = Path("projector") / f"{word}{digest}"
        make_folders(folder / place, above=len(place.parts) + above)
        entry = config.embeddings.add(tensor_name=name, tensor_path=str(place / "tensors.tsv"))
        entry.tensor_shape.extend(embedding.vectors.shape)
        whole = np.issubdtype(embedding.vectors.dtype, np.integer)
        with open_new(folder / entry.tensor_path) as file:
            np.savetxt(file, embedding.vectors, fmt="%d" if whole else "%.5g", delimiter="\t")
        if embedding.labels is not None:
            entry.metadata_path = str(place / "labels.tsv")
            write_text(folder / entry.metadata_path, "".join(f"{label}\n" for label in embedding.labels))
        if embedding.images is not None:
            entry.sprite.image_path = str(place / "thumbnails.png")
            entry.sprite.single_image_dim.extend([embedding.images.shape[2], embedding.images.shape[1]])
            _write_sprite(folder / entry.sprite.image_path, embedding.images)
    write_text(folder / "projector_config.pbtxt", text_format.MessageToString(config))


def _write_sprite(path: Path, images: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    from PIL import Image

    count, height, width, _ = images.shape
    side = math.ceil(math.sqrt(count))
    # Always a square, even if the last rows stay empty: the projector computes each place from the width.
    sheet = np.zeros((side * side, height, width, 3), dtype=np.uint8)
    sheet[:count] = images
    rows = sheet.reshape(side, side, height, width, 3).swapaxes(1, 2)
    with open_new(path) as file:
        # A third of the time of Pillow's usual level 6, and no larger for images like these.
        Image.fromarray(rows.reshape(side * height, side * width, 3)).save(file, format="PNG", compress_level=1)
