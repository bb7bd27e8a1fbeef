"""Pictures for the IMAGES tab, (height, width, 3) bytes, drawn by Pillow: matplotlib takes ten times as long."""

from __future__ import annotations

import functools
import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tensorboard.compat.proto.summary_pb2 import Summary

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
_COLUMNS = 8
_SHOWN = 112  # pixels of an image's width
_GAP, _LINE = 8, 14  # between images, from line to line
_SMALL, _FONT = 9, 11  # letters: of titles, and of all else
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_CELL, _LARGEST = 48, 960  # pixels of a cell, and of all cells of a row at most
_TALLEST = 3 * _SHOWN  # a higher image is compressed
_LONGEST_NAME, _LONGEST_TITLE = 24, 60  # letters
# ColorBrewer's Blues (https://colorbrewer2.org), for shares from 0 to 1.
_BLUES = np.array([[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], dtype=float)


def summary(tag: str, picture: Pixels) -> Summary:
    """Return the record of a picture for the IMAGES tab."""
    height, width, colours = picture.shape
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "PNG", compress_level=1)  # half the time of Pillow's 6, for a tenth more bytes
    image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=encoded.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def image_grid(images: Pixels, titles: Sequence[str] | None) -> Pixels:
    """Return a grid of images (n, height, width, 3), with a title of one or two lines above each."""
    count, height, width, _ = images.shape
    columns = min(_COLUMNS, count)
    lines = max(title.count("\n") for title in titles) + 1 if titles else 0
    shown = _SHOWN, min(_TALLEST, max(1, round(_SHOWN * height / width)))
    right, down = shown[0] + 2 * _GAP, shown[1] + lines * _LINE + _GAP
    sheet = Image.new("RGB", (columns * right, math.ceil(count / columns) * down + _GAP), _WHITE)
    draw = ImageDraw.Draw(sheet)
    scaling = Image.Resampling.NEAREST if width <= _SHOWN and height <= shown[1] else Image.Resampling.BOX
    for number, image in enumerate(images):
        left, top = number % columns * right + _GAP, number // columns * down + _GAP + lines * _LINE
        sheet.paste(Image.fromarray(image).resize(shown, scaling), (left, top))
        for line, text in enumerate(reversed(titles[number].split("\n")) if titles else ()):
            middle = left + shown[0] / 2, top - 5 - line * (_LINE - 2)
            draw.text(middle, _fitting(text, right - 4), _BLACK, _font(_SMALL), anchor="ms")
    return np.asarray(sheet)


def confusion_matrix(counts: np.ndarray[Any, Any], names: Sequence[str], *, numbers: bool) -> Pixels:
    """Return a confusion matrix; each row is coloured by its shares, so that rare classes are visible too.

    Args:
        counts: (classes, classes); rows are true classes, columns predicted ones.
        names: of the classes.
        numbers: whether to write the counts into the cells.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = min(_CELL, max(1, _LARGEST // len(names)))
    side, named = cell * len(names), cell >= _LINE
    words = [_cut(name, _LONGEST_NAME) for name in names] if named else []
    longest = max((math.ceil(_font().getlength(word)) for word in words), default=0)
    left, below = longest + 2 * _LINE + _GAP, round(longest * math.sqrt(0.5)) + 3 * _LINE
    sheet = Image.new("RGB", (left + side + 90, max(_LINE + side + below, 12 * _LINE)), _WHITE)
    draw = ImageDraw.Draw(sheet)
    cells = np.kron(_blue(shares), np.ones((cell, cell, 1), dtype=np.uint8))
    sheet.paste(Image.fromarray(cells), (left, _LINE))
    for row, column in np.argwhere(counts > 0) if numbers else ():
        place = left + (column + 0.5) * cell, _LINE + (row + 0.5) * cell
        draw.text(place, _count(counts[row, column]), _WHITE if shares[row, column] > 0.5 else _BLACK, _font(), anchor="mm")
    for number, word in enumerate(words):
        middle = round((number + 0.5) * cell)
        draw.text((left - _GAP, _LINE + middle), word, _BLACK, _font(), anchor="rm")
        turned = _turned(word, 45)
        sheet.paste(_BLACK, (left + middle - turned.width + 6, _LINE + side + 4), turned)
    draw.text((left + side / 2, sheet.height - 4), "predicted", _BLACK, _font(), anchor="mb")
    true = _turned("true", 90)
    sheet.paste(_BLACK, (2, _LINE + (side - true.height) // 2), true)
    _scale(sheet, left + side + 16, side)
    return np.asarray(sheet)


def _scale(sheet: Image.Image, left: int, side: int) -> None:
    """Draw what the colours mean, beside the cells."""
    draw = ImageDraw.Draw(sheet)
    column = _blue(np.linspace(1, 0, side)[:, np.newaxis])
    sheet.paste(Image.fromarray(np.repeat(column, 14, axis=1)), (left, _LINE))
    for tenths in range(0, 11, 2):
        draw.text((left + 18, _LINE + round((1 - tenths / 10) * (side - 1))), f"{tenths / 10:.1f}", _BLACK, _font(), anchor="lm")
    label = _turned("share of the true class", 90)
    sheet.paste(_BLACK, (left + 42, max(2, _LINE + (side - label.height) // 2)), label)


def _blue(shares: np.ndarray[Any, Any]) -> Pixels:
    """Return the colours (..., 3) of shares from 0 to 1."""
    at = np.linspace(0, 1, len(_BLUES))
    return np.stack([np.interp(shares, at, _BLUES[:, part]) for part in range(3)], axis=-1).round().astype(np.uint8)


def _turned(text: str, degrees: int) -> Image.Image:
    """Return a text, counterclockwise by some degrees, as a mask."""
    mask = Image.new("L", (math.ceil(_font().getlength(text)) + 2, _LINE + 2))
    ImageDraw.Draw(mask).text((1, 1), text, 255, _font())
    return mask.rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def _count(number: int) -> str:
    """Return a count in at most five letters."""
    return str(number) if number < 100_000 else f"{number / 1e3:.0f}k" if number < 10_000_000 else f"{number:.0e}"


def _cut(text: str, most: int) -> str:
    """Return a text on one line, of at most this many letters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fitting(text: str, width: int) -> str:
    """Return a title, cut if it is wider than this many pixels."""
    text = _cut(text, _LONGEST_TITLE)
    while len(text) > 1 and _font(_SMALL).getlength(text) > width:
        text = f"{text.rstrip('…')[:-1]}…"
    return text


@functools.cache
def _font(size: int = _FONT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return matplotlib's font, which has the letters of most languages, without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf")).is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)
