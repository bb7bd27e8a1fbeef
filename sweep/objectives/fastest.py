"""Which of several ways to compute the same is the fastest on this device: measured once, and kept.

The ways compute the same function, with other last bits. So the choice is kept in a folder, for each GPU and version of torch: a
trial that is interrupted, or trained again, finds the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sweep.storage.files import read_json, write_json

_ROUNDS = 5
_GAIN = 1.05  # times as fast; what is less may be noise


def fastest(what: str, ways: Mapping[str, Callable[[], object]], device: str, folder: Path) -> str:
    """Return the name of the fastest way to compute on a device: the first one, unless another gains at least 5 %.

    Args:
        what: is computed; it names all that the choice depends on, besides the device and torch.
        ways: by name; each computes once. The first call is not measured. One that needs too much memory is not chosen.
        device: for `torch.device`.
        folder: where the choice is kept; that of the process which writes it first counts. Where none can be written, the first
            way is chosen.
    """
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    key = f"{what}; {name}; torch {torch.__version__}"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if (known := _kept(path, ways)) is not None:
        return known
    seconds = {name: _seconds(way, device) for name, way in ways.items()}
    first, best = next(iter(ways)), min(seconds, key=lambda name: seconds[name])
    best = best if seconds[best] * _GAIN < seconds[first] else first
    measured = ", ".join(f"{name} {taken * 1e3:.3g} ms" for name, taken in seconds.items())
    try:
        chosen = _keep(path, {"for": key, "fastest": best, "measured": measured}, ways)
    except OSError as error:
        print(f"sweep: {what}: {first}, since a measured choice could not be kept: {error}", flush=True)
        return first
    print(f"sweep: {what}: {measured}; {chosen} is used from now on, as {path} says", flush=True)
    return chosen


def _kept(path: Path, ways: Mapping[str, Any]) -> str | None:
    """Return the choice that is kept; None if there is none, or it is damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        chosen = read_json(path)["fastest"]
        return chosen if chosen in ways else None
    return None


def _keep(path: Path, choice: Mapping[str, str], ways: Mapping[str, Any]) -> str:
    """Keep a choice unless another process has done so meanwhile; return the one that is kept."""
    mine = path.with_name(f"{path.stem}.{os.getpid()}")
    write_json(mine, choice)
    try:
        os.link(mine, path)
    except FileExistsError:
        if (theirs := _kept(path, ways)) is not None:
            return theirs
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
    return choice["fastest"]


def _seconds(way: Callable[[], object], device: str) -> float:
    """Return the least seconds of a call; infinity if the memory is too small."""
    on_gpu = torch.device(device).type == "cuda"
    taken = []
    try:
        for _ in range(1 + _ROUNDS):
            if on_gpu:
                torch.cuda.synchronize(device)
            started = time.perf_counter()
            way()
            if on_gpu:
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - started)
    except torch.OutOfMemoryError:
        return math.inf
    return min(taken[1:])
