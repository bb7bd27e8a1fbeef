"""Pictures for the IMAGES tab, (height, width, 3) bytes, drawn by matplotlib without its global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
_COLUMNS = 8


def image_grid(images: Pixels, titles: Sequence[str] | None) -> Pixels:
    """Return a grid of images (n, height, width, 3), with a title of one or two lines above each."""
    count, height, width, _ = images.shape
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    lines = max(title.count("\n") for title in titles) + 1 if titles else 0
    gap, above = max(1, width // 8), math.ceil(height * (0.06 + 0.13 * lines))
    # One picture for all: separate plots would take two seconds to draw.
    sheet = np.full((rows * (height + above), columns * (width + gap), 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(columns * 1.4, rows * 1.4 * (height + above) / (width + gap)), dpi=90)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for number, image in enumerate(images):
        top, left = number // columns * (height + above) + above, number % columns * (width + gap) + gap // 2
        sheet[top : top + height, left : left + width] = image
        if titles:
            axes.text(left + width / 2, top - above / 12, titles[number], fontsize=7, ha="center", va="bottom")
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return _rendered(figure)


def confusion_matrix(counts: np.ndarray[Any, Any], names: Sequence[str], *, numbers: bool) -> Pixels:
    """Return a confusion matrix; each row is coloured by its shares, so that rare classes are visible too.

    Args:
        counts: (classes, classes); rows are true classes, columns predicted ones.
        names: of the classes.
        numbers: whether to write the counts into the cells.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(4.0, 0.62 * len(names))
    figure = Figure(figsize=(size + 1.2, size), dpi=90)
    axes = figure.add_axes((0.17, 0.17, 0.66, 0.8))  # fixed: measuring the labels takes twice as long as drawing
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in np.argwhere(counts > 0) if numbers else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, cax=figure.add_axes((0.86, 0.17, 0.025, 0.8)), label="share of the true class")
    return _rendered(figure)


def _rendered(figure: Figure) -> Pixels:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves it unannotated
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[no-untyped-call]  # as above
