"""The file of a W&B run that is offline, read while it grows: records, and the few fields of them that are needed.

    7 bytes of header │ block of 32 KiB │ block of 32 KiB │ ...     LevelDB's log format
    block:  CRC-32, length, kind, data │ ... │ less than 7 bytes that are left over
    record: the data of a chunk, or of several (kinds: whole, first, middle, last), a protobuf message `Record`

Nothing of wandb or protobuf is imported: the script's interpreter, which has wandb, may be another one than this process's. The
numbers of the fields are those of wandb/proto/wandb_internal.proto, which only grows.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.storage.regular import open_regular

HISTORY, SUMMARY, METRIC, EXIT = 2, 3, 12, 18  # the records that are used, by their field of `Record`
_HEADER, _BLOCK = 7, 1 << 15
_CHUNK = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # protobuf's wire types

Field = tuple[int, Any]
Items = dict[tuple[str, ...], Any]


class GrowingRun:
    """The records that were added to a run's file since the last call.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place, self._parts = path, _HEADER, b""

    def records(self) -> Iterator[bytes]:
        """Iterate over the new records; the rest of one that is not whole yet is awaited."""
        file = open_regular(self._path)
        if file is None:
            return
        with file:
            while True:
                end = self._place - self._place % _BLOCK + _BLOCK
                file.seek(self._place)
                block, at = file.read(end - self._place), 0
                while end - self._place >= _CHUNK.size:
                    if len(block) - at < _CHUNK.size:
                        return
                    checksum, length, kind = _CHUNK.unpack_from(block, at)
                    at += _CHUNK.size
                    chunk = block[at : at + length]
                    if len(chunk) < length or zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != checksum:
                        if not file.read(1):
                            return  # the end, which is still being written
                        self._parts = b""  # damaged: the next block begins anew
                        break
                    at += length
                    self._place += _CHUNK.size + length
                    self._parts = chunk if kind in (_WHOLE, _FIRST) else self._parts + chunk
                    if kind in (_WHOLE, _LAST):
                        yield self._parts
                self._place = end


def fields(message: bytes) -> Iterator[Field]:
    """Iterate over the numbers and values of a message's fields: ints, and bytes.

    Raises:
        ValueError: it is no message.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind, size = key & 7, 0
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED_64, _FIXED_32):
            size = 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError("no message of protobuf")
        if place + size > len(message):
            raise ValueError("a message of protobuf that is cut off")
        yield key >> 3, message[place : place + size]
        place += size


def items(record: bytes) -> tuple[Items, list[tuple[str, ...]]]:
    """Return the values of a history or summary record by their nested names, and the names that a summary loses."""
    found: Items = {}
    removed = []
    for number, part in fields(record):
        if number in (1, 2) and isinstance(part, bytes) and (item := _item(part)) is not None:
            if number == 1:
                found[item[0]] = item[1]
            else:
                removed.append(item[0])
    return found, removed


def text(value: Any) -> str:
    """Return the text that a field has."""
    return bytes(value).decode("utf-8", "replace")


def _item(message: bytes) -> tuple[tuple[str, ...], Any] | None:
    key, nested = "", []
    value: Any = None
    for number, part in fields(message):
        match number:
            case 1:
                key = text(part)
            case 2:
                nested.append(text(part))
            case 4:
                value = bool(part)
            case 5:
                value = part - (1 << 64) if part >> 63 else part
            case 6:
                value = struct.unpack("<d", part)[0]
            case 7:
                value = text(part)
            case 8 | 16:
                try:
                    value = json.loads(part)
                except (ValueError, RecursionError):
                    value = None
    name = tuple(nested) or ((key,) if key else ())
    return (name, value) if name else None


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # the highest bit says that more follow
            return value, place
    raise ValueError("no number of protobuf")
