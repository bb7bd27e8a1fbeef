"""Files as `torch.save` writes them and `torch.load(path, weights_only=True)` reads them, without torch where it is not loaded.

Such a file is a zip archive with a pickle. Of plain data, without tensors, the pickle is an ordinary one of protocol 2, the same
byte for byte: torch is then needed neither to write nor to read it. No code in a file can run when it is read.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from typing import Any, BinaryIO

from sweep.worker import torch_use

_FOLDER = "archive/"  # as torch names it
_PICKLE = "/data.pkl"
_OTHERS = {"version": b"3\n", "byteorder": b"little"}
_PLAIN = {("builtins", one.__name__): one for one in (bytearray, bytes, complex, set)}
_PLAIN |= {("__builtin__", name): one for (_, name), one in _PLAIN.items()}  # as protocol 2 has it
_PLAIN |= {("collections", one.__name__): one for one in (collections.Counter, collections.OrderedDict)}  # type: ignore[misc]  # of types


class _NotPlain(Exception):
    """A file holds more than plain data."""


def save(data: dict[str, Any], file: Any) -> None:
    """Write data to a file, or to an object with the methods `write` and `flush`.

    Raises:
        OSError: it cannot be written; torch may replace this by a `RuntimeError`.
        Exception: the data holds what cannot be in such a file.
    """
    if torch := torch_use.loaded():
        torch.save(data, file)
        return
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as found:
        found.writestr(zipfile.ZipInfo(f"{_FOLDER}data.pkl"), pickle.dumps(data, protocol=2))
        for name, content in _OTHERS.items():
            found.writestr(zipfile.ZipInfo(f"{_FOLDER}{name}"), content)
    file.write(archive.getvalue())


def load(file: BinaryIO) -> dict[str, Any]:
    """Read what `save` wrote; torch is imported if it holds tensors.

    Raises:
        OSError, MemoryError: it cannot be read now.
        Exception: it is no such file, or a hostile one.
    """
    found: dict[str, Any]
    if not torch_use.loaded():
        try:
            with zipfile.ZipFile(file) as archive:
                (name,) = (one for one in archive.namelist() if one.endswith(_PICKLE))
                found = _Plain(io.BytesIO(archive.read(name))).load()
            return found
        except _NotPlain:
            file.seek(0)
    import torch

    with torch.serialization.safe_globals([bytes]):  # which empty ones need, and torch does not know
        found = torch.load(file, map_location="cpu", weights_only=True)
    return found


class _Plain(pickle.Unpickler):
    """Reads builtin types only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how bytes are in protocol 2
            return _latin1
        try:
            return _PLAIN[module, name]
        except KeyError:
            raise _NotPlain from None

    def persistent_load(self, _: Any) -> Any:
        raise _NotPlain  # a tensor's memory


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _NotPlain
    return text.encode("latin1")
