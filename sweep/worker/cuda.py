"""What a worker does about CUDA: tell which errors are the device's, and give memory back after a trial.

It never initialises CUDA, and asks torch nothing that would. This has not run on a GPU yet: errors with CUDA's own texts are
raised in the tests, and freed memory is seen by its objects.
"""

from __future__ import annotations

import gc
import re

from sweep.study import plain
from sweep.study.trial import DEVICE_ERROR, OUT_OF_MEMORY
from sweep.worker import torch_use

# As torch's libraries say it; torch.OutOfMemoryError too has such a text, or one of its own.
_MEMORY = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED|CUSOLVER_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
)
_DEVICE = re.compile(
    r"CUDA (driver |runtime )?error|cuDNN error|(CUDNN|CUBLAS|CUSOLVER|CUSPARSE)_STATUS_|cuFFT error|NCCL (error|Error)"
    r"|unspecified launch failure|device-side assert|illegal memory access|misaligned address"
)


def cause_of(error: BaseException) -> str:
    """Return the cause of a failure, as in `TrialResult.cause`, by all the errors that its traceback shows.

    An error of any other class is the objective's, whatever its text: torch raises its own classes, or a `RuntimeError` with the
    words of CUDA's libraries.
    """
    torch = torch_use.loaded()
    found: set[str] = set()
    shown: list[BaseException | None] = [error]
    while (one := shown[-1]) is not None:
        if torch and isinstance(one, torch.OutOfMemoryError):
            found.add(OUT_OF_MEMORY)
        elif torch and isinstance(one, torch.AcceleratorError):
            found |= {DEVICE_ERROR, cause_in(plain.text(one))}
        elif type(one) is RuntimeError or (isinstance(one, RuntimeError) and type(one).__module__.startswith("torch")):
            found.add(cause_in(plain.text(one)))
        earlier = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        shown.append(None if any(earlier is known for known in shown) else earlier)  # by `==` it would be the user's code
    return next((cause for cause in (OUT_OF_MEMORY, DEVICE_ERROR) if cause in found), "exception")


def cause_in(text: str) -> str:
    """Return the cause that a message of torch, or the last words of a script, name."""
    if _MEMORY.search(text):
        return OUT_OF_MEMORY
    return DEVICE_ERROR if _DEVICE.search(text) else "exception"


def in_use() -> bool:
    """Return whether this process has initialised CUDA."""
    torch = torch_use.loaded()
    return torch is not None and bool(torch.cuda.is_initialized())


def memory_text() -> str:
    """Return how much memory a trial has used that ran out of it."""
    if not in_use():
        return "the device's memory ran out"
    import torch

    try:
        peak, total = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
    except RuntimeError:  # CUDA can do nothing more in this process
        return "the GPU's memory ran out"
    return f"the GPU's memory ran out: at most {peak / 2**30:.2f} GiB were in use by this trial, the GPU has {total / 2**30:.2f}"


def give_memory_back() -> bool:
    """Free what a trial has left on the device, cycles too; return False if CUDA can do nothing more in this process.

    Nothing happens where CUDA is not initialised.
    """
    if not in_use():
        return True
    import torch

    gc.collect()
    try:
        torch.cuda.synchronize()  # an error of the last kernels is found here, and not in the next trial
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True
