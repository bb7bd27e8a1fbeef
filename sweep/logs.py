"""Read the end of a log."""

from __future__ import annotations

from pathlib import Path

_TAIL_BYTES = 2000


def tail(path: Path, size: int = _TAIL_BYTES) -> str:
    """Return the last bytes of a log as text, from a line's beginning on; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if len(text) >= size and "\n" in text else text
