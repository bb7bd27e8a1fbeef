"""The study's own files as one package for the nodes: what git would take, without what `.gitignore` leaves out."""

from __future__ import annotations

import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import SweepError

MOST_BYTES = 200 << 20
_LEFT_OUT = {"__pycache__", "node_modules", "site-packages"}


def package(folder: Path, without: Path, target: Path) -> int:
    """Write the files of a study's folder into a zip archive; return how many bytes they have.

    Args:
        folder: where the study file is.
        without: the folder of the results, which is left out if it is in there.
        target: the archive.

    Raises:
        SweepError: they are too many.
    """
    size = 0
    largest: dict[str, int] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            whole = folder / path
            if without in whole.parents or not whole.is_file() or whole.is_symlink():
                continue
            size += whole.stat().st_size
            top = path.parts[0]
            largest[top] = largest.get(top, 0) + whole.stat().st_size
            if size > MOST_BYTES:
                break
            archive.write(whole, path)
        if not largest:
            archive.writestr("empty", "")  # Ray refuses an archive without a file
    if size > MOST_BYTES:
        name = max(largest, key=lambda name: largest[name])
        raise SweepError(
            "code-too-large",
            f"the study's folder has more than {MOST_BYTES >> 20} MB to send to each node, most of it in {name}",
            where=str(folder),
            why="each node gets the files beside the study file, so that it can import the objective",
            do=f"echo {name} >> {folder / '.gitignore'}   leaves it out\nor move the study file into a folder of its own",
        )
    return size


def _files(folder: Path) -> Iterator[Path]:
    """Iterate over the paths of the files, as git sees them; all that are not hidden where there is no git."""
    try:
        with tempfile.TemporaryDirectory() as empty:
            inside = subprocess.run(["git", "-C", str(folder), "rev-parse"], capture_output=True, check=False).returncode == 0
            if not inside:
                subprocess.run(["git", "init", "-q", "--bare", empty], capture_output=True, check=True)
            where = ["-C", str(folder), *([] if inside else [f"--git-dir={empty}", f"--work-tree={folder}"])]
            command = ["git", *where, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            done = subprocess.run(command, capture_output=True, check=True)
        found = [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        found = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    yield from (path for path in found if _LEFT_OUT.isdisjoint(path.parts) and not path.parts[0].startswith(".venv"))
