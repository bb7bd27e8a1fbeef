"""Devices and slots."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import SweepError
from sweep.worker.devices import cpu_cores, device_notes, free_memory, in_this_process, plan_slots
from sweep.worker.gpus import Gpu
from sweep.worker.torch_build import built_for
from tests.support.fake_driver import fake_machine

GPUS = [Gpu(uuid=str(i), index=str(i), name=name) for i, name in enumerate("ABC")]
ALONE = Gpu(uuid="GPU-7", index="7", exclusive=True)
CLOSED = Gpu(uuid="GPU-8", index="8", prohibited=True)


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


def test_a_trial_may_have_several_gpus() -> None:
    """The slot's process sees them all, and each of its processes has a share of the cores."""
    slots = plan_slots("auto", None, None, gpus=GPUS, cores=8, devices_per_trial=2)
    assert [(slot.device, slot.env["CUDA_VISIBLE_DEVICES"], slot.torch_device, slot.threads) for slot in slots] == [
        ("gpu 0,1", "0,1", "cuda", 4)
    ]
    assert slots[0].gpus == (GPUS[0], GPUS[1])
    slots = plan_slots((2, 0), 2, None, gpus=GPUS, cores=8, devices_per_trial=2)
    assert [(slot.device, slot.threads) for slot in slots] == [("gpu 2,0", 2)] * 2


def test_on_a_cpu_a_trial_may_have_several_cores() -> None:
    """There are fewer slots, and one at least; each process computes with one thread."""
    assert [slot.threads for slot in plan_slots("auto", None, None, gpus=[], cores=7, devices_per_trial=2)] == [1] * 3
    assert len(plan_slots("cpu", None, None, gpus=GPUS, cores=1, devices_per_trial=2)) == 1
    assert len(plan_slots("cpu", 5, None, gpus=GPUS, cores=1, devices_per_trial=2)) == 5


@pytest.mark.parametrize(
    ("gpus", "what", "message"),
    [
        (GPUS, {"devices_per_trial": 4}, "asks for 4 GPUs for each trial, but there are 3"),
        (GPUS[:1], {"devices_per_trial": 2}, "asks for 2 GPUs for each trial, but there is one"),
        ([Gpu(uuid=f"MIG-{i}", index=f"0:{i}") for i in range(2)], {"devices_per_trial": 2}, r"parts of a GPU \(MIG\)"),
        ([GPUS[0], ALONE], {"per_device": 3}, "asks for 3 trials at a time on GPU 7, which lets in one process"),
        ([GPUS[0], CLOSED], {"devices": (0, 1)}, "asks for a GPU that no process may use"),
    ],
)
def test_gpus_that_cannot_be_used_so_are_an_error(gpus: list[Gpu], what: dict[str, Any], message: str) -> None:
    """It says what to type."""
    with pytest.raises(SweepError, match=message) as raised:
        plan_slots(**{"devices": "auto", "per_device": None, "threads": None, "cores": 4, "gpus": gpus} | what)
    assert "workers.dev" in str(raised.value.do) or "workers.per_device=auto" in str(raised.value.do)


def test_a_gpu_that_lets_in_one_process_has_one_slot() -> None:
    """Unless somebody asks for more; one that lets in none has none, and without another GPU trials run on the CPU."""
    slots = plan_slots("auto", None, None, gpus=[CLOSED, ALONE, GPUS[0]], cores=4)
    assert [slot.device for slot in slots] == ["gpu 7", "gpu 0"]
    assert len(plan_slots("auto", 1, None, gpus=[ALONE], cores=4)) == 1
    assert [slot.device for slot in plan_slots("auto", None, None, gpus=[CLOSED], cores=1)] == ["cpu"]


def test_what_is_not_used_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that is left over, and one that nobody may use; nothing of the GPUs that nobody asked for."""
    described = [{"uuid": f"GPU-{i}", "name": "T4", "mode": 2 if i == 3 else 0} for i in range(4)]
    fake_machine(monkeypatch, tmp_path, {"gpus": described})
    slots = plan_slots("auto", None, None, cores=4, devices_per_trial=2)
    assert [slot.device for slot in slots] == ["gpu 0,1"]
    assert device_notes("auto", slots) == [
        "GPU 3 (T4) is not used: its compute mode is PROHIBITED; sudo nvidia-smi -i GPU-3 -c DEFAULT lets processes in",
        "GPU 2 is not used: each trial has 2 GPUs, and 3 is no multiple of that",
    ]
    assert len(device_notes((0, 1), slots)) == 1
    assert device_notes("cpu", plan_slots("cpu", 1, 1)) == []
    assert len(device_notes("auto", plan_slots("auto", None, None, cores=4)[:1])) == 1  # as inline


def test_a_torch_for_other_gpus_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AMD's and Apple's are not used: read from torch's files, without importing it."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    slots = plan_slots("auto", 1, None, gpus=[], cores=1)
    (package / "version.py").write_text("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n")
    assert (built_for("hip"), built_for("cuda")) == ("6.4.43482", None)
    assert device_notes("auto", slots) == [
        "torch here is built for AMD's GPUs (ROCm), which sweep does not use: trials run on the CPU"
    ]
    assert device_notes("cpu", slots) == []
    (package / "version.py").write_text("cuda = '13.0'\nhip = None\n")
    assert (built_for("hip"), built_for("cuda")) == (None, "13.0")
    assert device_notes("auto", slots) == []
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert device_notes("auto", slots) == ["torch could use this Mac's GPU (mps), which sweep does not: trials run on the CPU"]


def test_in_this_process_a_slots_gpu_is_one_of_the_visible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its place in CUDA's order of those that this process sees; the first is torch's `cuda`."""
    fake_machine(monkeypatch, tmp_path, {"gpus": [{"uuid": f"GPU-{i}", "name": "T4"} for i in range(6)]})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,2,GPU-4")
    assert [in_this_process(slot).torch_device for slot in plan_slots((2,), 2, None)] == ["cuda:2", "cuda:2"]
    assert [in_this_process(slot).torch_device for slot in plan_slots("auto", None, None)] == ["cuda", "cuda:1", "cuda:2"]
    assert [in_this_process(slot).torch_device for slot in plan_slots("cpu", 1, None)] == ["cpu"]


def test_the_cores_are_those_that_this_process_may_use() -> None:
    """Affinity counts, not what the machine has."""
    assert 1 <= cpu_cores() <= len(os.sched_getaffinity(0))
