"""Which GPUs a process of this machine sees, in CUDA's order.

    the management library ─► all GPUs, by PCI bus ─┐
    CUDA, in a process of its own, if the order     ├─► all GPUs in CUDA's order ─► CUDA_VISIBLE_DEVICES ─► the visible ones
    may be another one, or the library knows none ──┘

CUDA counts the fastest GPU first, unless CUDA_DEVICE_ORDER=PCI_BUS_ID; GPUs of one model stay in the order of the bus. So it is
asked only where models differ, where a GPU is lost, and where there is no management library (WSL, Jetson, some containers).

CUDA_VISIBLE_DEVICES is read as CUDA does: `4,5` makes GPU 4 the first; what names no GPU hides all that follow; a GPU that is
named twice is an error in CUDA, so none is visible. A divided GPU (MIG) stands for all its parts, in the place of the GPU.

It has not run on a GPU yet.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

from sweep.worker.gpus import Gpu, Note, Whole, list_gpus
from sweep.worker.probe import ProbeFailed, run_probe

VARIABLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
# Where there is none of these, there is no driver of NVIDIA's: on Linux, in WSL, on a Jetson.
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvmap")
_LISTING_S = 30.0  # a machine with many GPUs takes seconds
_PROHIBITED, _EXCLUSIVE = 2, 3  # CU_COMPUTEMODE_*
_BUS = "PCI_BUS_ID"
_BY_BUS = f"they are numbered by the PCI bus: {ORDER}={_BUS} lets CUDA do the same"


def visible_gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that a process with this environment would see, in CUDA's order; some may not be usable (`prohibited`)."""
    return _visible(environ)[0]


def gpu_notes(environ: Mapping[str, str] = os.environ) -> list[Note]:
    """Return what is wrong with GPUs of this machine: they are not used, or their order is not known."""
    return _visible(environ)[1]


def place_of(gpu: Gpu, environ: Mapping[str, str] = os.environ) -> int:
    """Return a visible GPU's number in a process that has this environment, as in torch's `cuda:1`; 0 if it is not visible."""
    return next((place for place, one in enumerate(visible_gpus(environ)) if one.uuid == gpu.uuid), 0)


@functools.lru_cache(maxsize=8)
def ask_cuda(order: str | None, _known: tuple[str, ...] = ()) -> tuple[tuple[Gpu, ...], str]:
    """Return all GPUs in CUDA's order, as a process that is started for it says, and why it says nothing, if so.

    Both are remembered: the process may take seconds, and one that hangs its whole time.

    Args:
        order: of CUDA_DEVICE_ORDER.
        _known: the GPUs that the management library lists; with others the answer is another one.
    """
    env = {name: value for name, value in os.environ.items() if name not in (VARIABLE, ORDER)}
    try:
        told = run_probe("cuda_listing", env=env if order is None else {**env, ORDER: order}, seconds=_LISTING_S)
    except ProbeFailed as error:
        return (), str(error)
    if "error" in told:
        return (), f"CUDA does not start: {told['error']}"
    gpus = (
        Gpu(
            uuid=one["uuid"],
            index=str(index),
            name=one["name"],
            memory_bytes=one["memory"],
            exclusive=one["mode"] == _EXCLUSIVE,
            prohibited=one["mode"] == _PROHIBITED,
        )
        for index, one in enumerate(told["gpus"])
    )
    return tuple(gpus), ""


def _visible(environ: Mapping[str, str]) -> tuple[list[Gpu], list[Note]]:
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and not _tokens(chosen):
        return [], []  # somebody hides them all
    wholes, notes = _present(environ.get("CUDA_DEVICE_ORDER"))
    gpus, wrong = ([gpu for whole in wholes for gpu in whole.devices], "") if chosen is None else _chosen(chosen, wholes)
    if wrong and wholes:
        notes.append(Note(what=f"{VARIABLE}={chosen}: {wrong}", do="sweep doctor lists the GPUs without it"))
    notes += [
        Note(
            what=f"GPU {gpu.index} ({gpu.name}) is not used: it is divided (MIG) into no parts",
            do="sudo nvidia-smi mig makes some",
        )
        for gpu in (whole.gpu for whole in wholes if whole.parts == ())
    ]
    return gpus, notes + [prohibition(gpu) for gpu in gpus if gpu.prohibited]


def prohibition(gpu: Gpu) -> Note:
    """Return why a GPU lets no process in."""
    what = f"GPU {gpu.index} ({gpu.name}) is not used: its compute mode is PROHIBITED"
    return Note(what=what, do=f"sudo nvidia-smi -i {gpu.uuid} -c DEFAULT lets processes in")


def _present(order: str | None) -> tuple[list[Whole], list[Note]]:
    """Return all GPUs in CUDA's order, with notes on those that are missing."""
    listing = list_gpus()
    wholes, notes = listing.wholes, [*listing.notes]
    alike = len({whole.gpu.name for whole in wholes}) == 1
    if wholes and not listing.lost and (alike or order == _BUS):
        return wholes, notes
    if not wholes and not any(Path(file).exists() for file in _DEVICE_FILES):
        return wholes, notes
    if any(whole.parts is not None for whole in wholes):  # CUDA lists one part alone
        what = "CUDA's order of the GPUs is not known: one is divided (MIG)"
        return wholes, notes if order == _BUS else [*notes, Note(what=what, do=_BY_BUS)]
    counted, wrong = ask_cuda(order, tuple(whole.gpu.uuid for whole in wholes))
    if wrong and wholes:
        return wholes, [*notes, Note(what=f"CUDA's order of the GPUs is not known: {wrong}", do=_BY_BUS)]
    if wrong:
        return [], notes or [Note(what=f"no GPU is used: {wrong}", do="nvidia-smi shows the state of the driver")]
    known = {whole.gpu.uuid: whole for whole in wholes}
    found = [known.pop(gpu.uuid, Whole(gpu=gpu)).at(index) for index, gpu in enumerate(counted)]
    for gpu in (whole.gpu for whole in known.values()):
        what = f"{gpu.name} ({gpu.uuid}) is not used: the driver lists it, and CUDA does not"
        notes.append(Note(what=what, do="nvidia-smi shows its state"))
    return found, notes


def _tokens(chosen: str) -> list[str]:
    """Return the parts of CUDA_VISIBLE_DEVICES up to the first that is meant to hide GPUs, such as -1."""
    tokens = []
    for token in (part.strip() for part in chosen.split(",")):
        if not re.match(r"\+?\d|GPU-|MIG-", token):
            break
        tokens.append(token)
    return tokens


def _chosen(chosen: str, wholes: list[Whole]) -> tuple[list[Gpu], str]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, and what is wrong with it."""
    gpus: list[Gpu] = []
    for token in _tokens(chosen):
        named = _named(token, wholes)
        if not named:
            return gpus, f"{token} is no GPU of this machine{' (or several)' * (not token[0].isdigit())}, and hides what follows"
        if any(gpu in gpus for gpu in named):
            return [], f"{token} names a GPU for the second time, which is an error in CUDA, so no GPU is visible"
        gpus += named
    return gpus, ""


def _named(token: str, wholes: list[Whole]) -> tuple[Gpu, ...]:
    if digits := re.match(r"\+?\d+", token):  # CUDA reads `1gpu` as 1
        place = int(digits[0])
        return wholes[place].devices if place < len(wholes) else ()
    found = [whole.devices for whole in wholes if whole.gpu.uuid.startswith(token)]
    for whole in wholes:
        for part, former in zip(whole.parts or (), whole.former, strict=True):
            found += [(part,)] if part.uuid.startswith(token) or former == token else []
    return found[0] if len(found) == 1 else ()
