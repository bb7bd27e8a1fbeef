"""Which errors are the device's. No GPU is needed: they are raised as torch raises them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sweep.worker import torch_state
from sweep.worker.cuda import cause_in, cause_of, give_memory_back, memory_text

ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some other API call"
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.AcceleratorError(ASSERT), "device-error"),
        (torch.AcceleratorError("something new"), "device-error"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device-error"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device-error"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), "device-error"),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`"), "device-error"),
        (torch.distributed.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1, unhandled cuda error"), "device-error"),
        (RuntimeError("unspecified launch failure"), "device-error"),
        (torch.OutOfMemoryError(FULL), "out-of-memory"),
        (torch.cuda.OutOfMemoryError("anything"), "out-of-memory"),
        (torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"), "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "out-of-memory"),
        (MemoryError(), "exception"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"), "exception"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), "exception"),
        (ValueError("CUDA error: this is what I call it"), "exception"),
        (KeyError("lr"), "exception"),
        (SystemExit(3), "exception"),
    ],
    ids=lambda part: part if isinstance(part, str) else f"{type(part).__name__}: {str(part)[:40]}",
)
def test_an_error_is_the_devices_by_its_class_and_its_words(error: BaseException, cause: str) -> None:
    """Memory of the device counts by itself; what an objective raises for its parameters is neither."""
    assert cause_of(error) == cause


def raised(raising: Callable[[], None]) -> BaseException:
    try:
        raising()
    except BaseException as error:
        return error
    raise AssertionError


def test_what_the_traceback_shows_beside_counts_too() -> None:
    """A library that raises an error of its own because of the device's; not if it says that there is no connection."""

    def because() -> None:
        try:
            raise torch.AcceleratorError(ASSERT)
        except RuntimeError as error:
            raise ValueError("the training failed") from error

    def meanwhile() -> None:
        try:
            raise torch.OutOfMemoryError(FULL)
        except RuntimeError:
            dict[str, int]()["batch_size"]

    def unconnected() -> None:
        try:
            raise torch.AcceleratorError(ASSERT)
        except RuntimeError:
            raise ValueError("try another learning rate") from None

    assert [cause_of(raised(one)) for one in (because, meanwhile, unconnected)] == ["device-error", "out-of-memory", "exception"]


def test_errors_in_a_circle_are_read_once() -> None:
    """Python allows it."""
    one, other = ValueError("one"), RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED")
    one.__cause__, other.__cause__ = other, one
    assert cause_of(one) == "device-error"


class Odd(RuntimeError):
    """An error whose text and comparison are broken, as a user's class may be."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")

    __hash__ = RuntimeError.__hash__


def test_errors_of_any_class_are_read() -> None:
    """None of its methods can end the worker."""
    error = RuntimeError(Odd())
    error.__cause__ = Odd()
    error.__cause__.__context__ = torch.AcceleratorError(ASSERT)
    assert cause_of(error) == "device-error"


def test_the_last_words_of_a_script_tell_as_much() -> None:
    """A script's process is not this one, so there is only its text."""
    assert cause_in(f"torch.OutOfMemoryError: {FULL} (exit code 1)") == "out-of-memory"
    assert cause_in(f"RuntimeError: {ASSERT.partition(chr(10))[0]} (exit code 1)") == "device-error"
    assert cause_in("KeyError: 'lr' (exit code 1)") == "exception"


def test_without_cuda_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither memory nor a text is worth initialising it, nor a garbage collection that only a GPU needs."""
    asked: list[str] = []
    for name in ("_lazy_init", "synchronize", "empty_cache", "is_available", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
    monkeypatch.setattr("gc.collect", lambda: asked.append("collect"))
    assert give_memory_back()
    assert memory_text() == "the device's memory ran out"
    assert asked == []


def test_memory_is_given_back_where_cuda_is_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles are collected before the cache is emptied; a device that only reports errors is found there."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: asked.append(name))
    monkeypatch.setattr("gc.collect", lambda: asked.append("collect"))
    assert give_memory_back()
    assert asked == ["collect", "synchronize", "empty_cache"]

    def dead() -> None:
        raise torch.AcceleratorError(ASSERT)

    monkeypatch.setattr(torch.cuda, "synchronize", dead)
    assert not give_memory_back()


def test_a_worker_whose_trial_has_initialised_cuda_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every trial on a GPU would be followed by a new process; another current GPU is put back."""
    [(read, put_back)] = [(read, put_back) for name, read, put_back in torch_state.parts() if name == "torch: current GPU"]
    before, chosen = read(), list[int]()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert read() == before
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert read() != before
    assert put_back is not None
    put_back(before)
    assert chosen == [0]
