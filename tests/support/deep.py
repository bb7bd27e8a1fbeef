"""Folders that are nested deeper than Python can recurse, and deeper than a path can say."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def deep_folders(folder: Path, depth: int) -> Iterator[None]:
    """Make folders in one another while the block runs; pytest could not remove them."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=place)  # in a folder that is open
            inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
            os.close(place)
            place = inner
        yield
    finally:
        os.close(place)
        subprocess.run(["rm", "-rf", folder / "d"], check=True)
