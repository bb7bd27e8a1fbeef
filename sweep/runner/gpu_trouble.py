"""What NVIDIA's driver and the kernel say about a GPU that fails.

This has not run on a GPU yet: the tests have a driver of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.worker.gpus import Gpu, of_the_driver, say

KERNEL_LOG = Path("/dev/kmsg")  # readable for few
_MOST_BYTES = 4_000_000
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9A-Fa-f:.]+)\): (\d+)[^\n]*")


def trouble(gpu: Gpu) -> str:
    """Return in one line what is known to be wrong with a GPU; empty if nothing is, or nobody tells."""

    def ask(nvml: Any) -> str:
        try:
            return ", ".join(_found(nvml, gpu))
        except nvml.NVMLError as error:  # a lost GPU answers every question so
            return f"NVIDIA's driver says: {error}"

    return of_the_driver(ask, lambda _: "")


def _found(nvml: Any, gpu: Gpu) -> Iterator[str]:
    handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)

    def asked(question: str, *words: Any) -> Any:
        return say(nvml, handle, f"nvmlDeviceGet{question}", None, *words)

    if errors := asked("TotalEccErrors", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC):
        yield f"{errors} memory error{'s' * (errors != 1)} that could not be corrected since the driver was loaded (ECC)"
    if asked("RetiredPagesPendingStatus"):
        yield "pages of its memory are to be retired: it needs a reset"
    if rows := asked("RemappedRows"):
        _, _, pending, failed = rows
        if failed:
            yield "rows of its memory could not be remapped: it is broken"
        elif pending:
            yield "rows of its memory are to be remapped: it needs a reset"
    if (place := asked("PciInfo")) is not None and (xid := _last_xid(place.busId)):
        yield f"the kernel's last message about it is Xid {xid}"


def _last_xid(address: bytes | str) -> str:
    """Return the number of the kernel's last message about the GPU at an address such as 00000000:3B:00.0; empty if unknown."""
    found, here = "", _device(address.decode() if isinstance(address, bytes) else address)
    with contextlib.suppress(OSError):
        descriptor = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
        left = _MOST_BYTES
        try:
            with contextlib.suppress(BlockingIOError):  # that was the last message
                while left > 0 and (data := os.read(descriptor, 8192)):
                    left -= len(data)
                    for place, number in _XID.findall(data.decode("utf-8", "replace")):
                        if _device(place) == here:
                            found = number
        finally:
            os.close(descriptor)
    return found


def _device(address: str) -> str:
    """Return domain, bus and device of a PCI address: the driver writes the domain with eight digits, the kernel with four."""
    return address.lower().partition(".")[0][-10:]
