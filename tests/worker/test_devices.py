"""Devices and slots."""

from __future__ import annotations

import os

import pytest

from sweep.errors import SweepError
from sweep.worker.devices import cpu_cores, free_memory, plan_slots
from sweep.worker.gpus import Gpu

GPUS = [Gpu(uuid=str(i), index=str(i), name=name) for i, name in enumerate("ABC")]


def test_on_a_cpu_there_is_a_slot_for_each_core_with_one_thread() -> None:
    """No GPU is visible to a CPU worker, and it computes with one thread."""
    slots = plan_slots("auto", None, None, gpus=[], cores=3)
    assert [(slot.index, slot.device, slot.torch_device, slot.threads) for slot in slots] == [
        (i, "cpu", "cpu", 1) for i in range(3)
    ]
    assert {slot.env["CUDA_VISIBLE_DEVICES"] for slot in slots} == {""}
    assert {slot.env["OMP_NUM_THREADS"] for slot in slots} == {"1"}


def test_on_a_cpu_there_are_no_more_slots_than_the_memory_holds() -> None:
    """With many cores and little memory; whoever asks for a number gets it, and one there always is."""
    few = plan_slots("cpu", None, None, gpus=[], cores=64, memory=4_000_000_000)
    assert len(few) == 8
    assert len(plan_slots("cpu", 12, None, gpus=[], cores=64, memory=4_000_000_000)) == 12
    assert len(plan_slots("cpu", None, None, gpus=[], cores=64, memory=1)) == 1
    assert (free_memory() or 0) > 0


def test_on_gpus_there_is_one_slot_each_with_a_share_of_the_cores() -> None:
    """The slot's process sees its GPU alone."""
    slots = plan_slots("auto", None, None, gpus=GPUS, cores=8)
    assert [(slot.device, slot.env["CUDA_VISIBLE_DEVICES"], slot.torch_device, slot.threads) for slot in slots] == [
        ("gpu 0", "0", "cuda", 2),
        ("gpu 1", "1", "cuda", 2),
        ("gpu 2", "2", "cuda", 2),
    ]


def test_indices_count_the_visible_gpus() -> None:
    """With CUDA_VISIBLE_DEVICES=4,5 index 0 is GPU 4; several slots on each go round the devices."""
    slots = plan_slots((1, 0), 2, 1, gpus=[Gpu(uuid="4", index="4"), Gpu(uuid="5", index="5")], cores=8)
    assert [slot.env["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["5", "4", "5", "4"]
    assert [slot.index for slot in slots] == [0, 1, 2, 3]


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    """It says which are."""
    with pytest.raises(SweepError, match=r"asks for GPU 2, but only GPUs 0 to 1 are visible here"):
        plan_slots((0, 2), None, None, gpus=GPUS[:2], cores=1)
    with pytest.raises(SweepError, match=r"asks for GPU 0, but none is visible here"):
        plan_slots((0,), None, None, gpus=[], cores=1)


def test_the_cores_are_those_that_this_process_may_use() -> None:
    """Affinity counts, not what the machine has."""
    assert 1 <= cpu_cores() <= len(os.sched_getaffinity(0))
