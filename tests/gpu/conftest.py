"""All tests of this folder need a GPU, use it one after another, and are skipped with the reason where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweep.worker.gpus import Gpu
from sweep.worker.visible import visible_gpus

_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and skip them without a GPU."""
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    missing = bool(mine) and not visible_gpus()
    for item in mine:
        for mark in (pytest.mark.gpu, pytest.mark.timeout(_TIMEOUT_S), pytest.mark.xdist_group("gpu")):
            item.add_marker(mark)
        if missing:
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            where = "here" if hidden is None else f"with CUDA_VISIBLE_DEVICES={hidden!r}"
            item.add_marker(pytest.mark.skip(reason=f"no NVIDIA GPU is visible {where}; `sweep doctor` says what there is"))


@pytest.fixture
def gpu() -> Gpu:
    """The first visible GPU."""
    return visible_gpus()[0]
