"""Read the end of a log; read JSON; write a small file completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.storage.regular import open_new, open_own, read_own

_TAIL_BYTES = 2000


def tail(path: Path, size: int = _TAIL_BYTES) -> str:
    """Return the last bytes of a log as text, without the first line if it is cut; empty if there is no such file."""
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if len(text) >= size and "\n" in text else text


def read_json(path: Path) -> Any:
    """Return plain data from a JSON file of a study's folder.

    Raises:
        OSError: it is missing, a link, or cannot be read.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(read_own(path).decode("utf-8"))
    except RecursionError:
        raise ValueError("it is too deeply nested") from None


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a dict of plain data as JSON, a line for each key, completely or not at all."""
    # `indent` would choose json's encoder in Python, which takes five times as long.
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write a file completely or not at all.

    Args:
        path: the file; its folder is created.
        text: its content.
        sync: return only when the file is on the disk, so that it survives a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            opened = open_new(temporary)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = open_new(temporary)
        # A file name in another encoding contains lone surrogates, which UTF-8 cannot encode.
        with opened as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk: a renamed file survives a power cut only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
