"""The keys of a study file that those of a W&B file become, with the lines of theirs."""

from __future__ import annotations

from typing import Any, TypeGuard

from sweep.study.file.source import KeyPath, Source
from sweep.study.file.values import is_finite


def number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number that a float can hold."""
    return is_finite(value)


class Keys:
    """Collect keys of ours.

    Args:
        source: the W&B file, whose problems and notes are added to.

    Attributes:
        data, lines: as those of a source.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data: dict[str, Any] = {}
        self.lines: dict[KeyPath, int] = {}
        self._origins: dict[KeyPath, KeyPath] = {}

    def put(self, path: KeyPath, value: Any, origin: KeyPath) -> None:
        """Set a key of ours, which stands in the line of a key of theirs."""
        node: Any = self.data
        for depth, part in enumerate(path[:-1], start=1):
            node = node.setdefault(part, {})
            self._place(path[:depth], origin)
        node[path[-1]] = value
        self._place(path, origin)

    def move(self, origin: KeyPath, path: KeyPath, value: Any) -> None:
        """Set a key of ours to a value of theirs, whose parts keep their lines."""
        self.put(path, value, origin)
        parts: list[tuple[KeyPath, KeyPath, Any]] = [(origin, path, value)]
        while parts:
            before, now, part = parts.pop()
            self._place(now, before)
            items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
            parts += [((*before, key), (*now, key), item) for key, item in items]

    def refuse(self, origin: KeyPath, message: str, hint: str) -> None:
        """Record what is wrong with a key of theirs."""
        self.source.add(origin, message, hint)

    def origin(self, path: KeyPath) -> str:
        """Return the name of the key of theirs that a key of ours was."""
        return ".".join(str(part) for part in self._origins.get(path, path))

    def _place(self, path: KeyPath, origin: KeyPath) -> None:
        if origin in self.source.lines:
            self.lines.setdefault(path, self.source.lines[origin])
        self._origins.setdefault(path, origin)
