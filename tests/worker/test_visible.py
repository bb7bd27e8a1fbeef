"""Which GPUs are visible, by their UUIDs and in CUDA's order: on machines that a file describes, with real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml as real
import pytest

from sweep.worker import visible
from sweep.worker.gpus import Gpu, GpuReading, driver_versions, read_gpu
from sweep.worker.visible import gpu_notes, place_of, visible_gpus
from tests.support.fake_driver import fake_machine
from tests.support.fake_driver import pynvml as fake

A, B, C = (f"GPU-{letter * 8}-0000-4000-8000-00000000000{place}" for place, letter in enumerate("abc"))
M0, M1 = (f"MIG-{digit * 8}-0000-5000-8000-000000000000" for digit in "67")
H100, OLD = {"name": "NVIDIA H100", "memory": [1, 80]}, {"name": "NVIDIA T1000", "memory": [1, 4]}
DIVIDED = {
    "uuid": B,
    **H100,
    "mig": [{"uuid": M0, "instance": [1, 0], "memory": [0, 10]}, {"uuid": M1, "instance": [2, 0], "memory": [0, 10]}],
}
LOST = fake.NVML_ERROR_GPU_IS_LOST
Machine = Callable[..., Path]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Make this process one of a machine with these GPUs."""

    def make(*gpus: dict[str, Any], **keys: Any) -> Path:
        return fake_machine(monkeypatch, tmp_path, {"driver": "580.65.06", "cuda": 13000, "gpus": gpus, **keys})

    return make


def seen(environ: dict[str, str] | None = None) -> list[tuple[str, str]]:
    return [(gpu.index, gpu.uuid) for gpu in visible_gpus(environ or {})]


def told(environ: dict[str, str] | None = None) -> str:
    return "\n".join(map(str, gpu_notes(environ or {})))


def test_the_fake_library_is_like_the_real_one() -> None:
    """Every name that it has is one of nvidia-ml-py, with the same number, and errors carry the same number and text."""
    numbers = {name: value for name, value in vars(fake).items() if name.startswith("NVML_")}
    assert len(numbers) > 10
    assert numbers == {name: getattr(real, name) for name in numbers}
    assert all(callable(getattr(real, name)) for name in vars(fake) if name.startswith("nvml"))
    for number in (value for name, value in numbers.items() if name.startswith("NVML_ERROR_")):
        assert (fake.NVMLError(number).value, str(fake.NVMLError(number))) == (number, str(real.NVMLError(number)))


def test_gpus_have_their_uuids_and_a_number_for_people(machine: Machine) -> None:
    """What goes into CUDA_VISIBLE_DEVICES means the same GPU to everybody."""
    machine({"uuid": A, **H100, "capability": [9, 0]}, {"uuid": B, **H100, "mode": 3})
    assert visible_gpus({}) == [
        Gpu(uuid=A, index="0", name="NVIDIA H100", memory_bytes=80, capability=(9, 0)),
        Gpu(uuid=B, index="1", name="NVIDIA H100", memory_bytes=80, exclusive=True),
    ]
    assert told() == ""
    assert driver_versions() == ("580.65.06", (13, 0))


@pytest.mark.parametrize(
    ("value", "expected", "note"),
    [
        (None, [("0", A), ("1:0", M0), ("1:1", M1), ("2", C)], ""),
        ("2,0", [("2", C), ("0", A)], ""),
        (" 2 ,+0", [("2", C), ("0", A)], ""),
        ("0gpu", [("0", A)], ""),
        ("", [], ""),
        ("-1", [], ""),
        ("NoDevFiles", [], ""),
        ("0,-1,2", [("0", A)], ""),
        ("0,,2", [("0", A)], ""),
        ("0,7,2", [("0", A)], "7 is no GPU of this machine, and hides what follows"),
        (C, [("2", C)], ""),
        ("GPU-c,0", [("2", C), ("0", A)], ""),
        ("GPU-", [], "GPU- is no GPU of this machine (or several)"),
        ("GPU-d,0", [], "GPU-d is no GPU of this machine"),
        ("1", [("1:0", M0), ("1:1", M1)], ""),
        ("MIG-7", [("1:1", M1)], ""),
        (f"MIG-{B}/2/0", [("1:1", M1)], ""),
        ("0,2,0", [], "names a GPU for the second time"),
        (f"GPU-c,{C}", [], "names a GPU for the second time"),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(
    machine: Machine, value: str | None, expected: list[tuple[str, str]], note: str
) -> None:
    """The order counts, the first entry that names no GPU hides all that follow, and each GPU and each part has its UUID."""
    machine({"uuid": A, **H100}, DIVIDED, {"uuid": C, **H100})
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert seen(environ) == expected
    assert note in told(environ)
    assert bool(note) == bool(told(environ))


def test_without_a_driver_there_is_no_gpu_whatever_the_variable_says(machine: Machine) -> None:
    """A variable left over on a machine without GPUs does not send trials to one, and nothing is said."""
    machine(init=fake.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert seen({"CUDA_VISIBLE_DEVICES": "0"}) == seen() == []
    assert told() == ""


def test_asking_this_machine_for_its_gpus_never_fails() -> None:
    """With or without NVIDIA's driver the answer is a list."""
    assert isinstance(visible_gpus(), list)


def test_where_models_differ_cuda_itself_says_the_order(machine: Machine) -> None:
    """The library lists the small one first, CUDA the fast one: a number means the same to the user, to CUDA and to sweep."""
    machine({"uuid": A, **OLD}, {"uuid": B, **H100, "capability": [9, 0]}, libcuda={"uuids": [B, A]})
    assert seen() == [("0", B), ("1", A)]
    assert visible_gpus({})[0].capability == (9, 0)
    assert seen({"CUDA_VISIBLE_DEVICES": "0"}) == [("0", B)]
    assert place_of(Gpu(uuid=A, index="1"), {}) == 1
    assert told() == ""


def test_with_the_order_of_the_bus_nobody_is_asked(machine: Machine) -> None:
    """CUDA_DEVICE_ORDER=PCI_BUS_ID is the library's order, and so is any order of GPUs of one model."""
    machine({"uuid": A, **OLD}, {"uuid": B, **H100}, libcuda={"uuids": [B, A]})
    environ = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert seen(environ) == [("0", A), ("1", B)]
    machine({"uuid": A, **H100}, {"uuid": B, **H100}, libcuda={"uuids": [B, A]})
    assert seen() == [("0", A), ("1", B)]


@pytest.mark.parametrize(
    ("libcuda", "reason"),
    [
        ({"hangs": 60}, "no answer within 1 s"),
        ({"init": [999, "CUDA_ERROR_UNKNOWN"]}, "CUDA does not start: CUDA_ERROR_UNKNOWN (999)"),
    ],
)
def test_where_cuda_cannot_be_asked_the_order_is_that_of_the_bus(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, libcuda: dict[str, Any], reason: str
) -> None:
    """Nothing waits for a driver that hangs, and the user learns which order holds and what to do."""
    monkeypatch.setattr(visible, "_LISTING_S", 1.0)
    machine({"uuid": A, **OLD}, {"uuid": B, **H100}, libcuda=libcuda)
    assert seen() == [("0", A), ("1", B)]
    assert visible.ask_cuda.cache_info().currsize == 1  # asked once
    assert reason in told()
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in told()


def test_a_gpu_that_is_lost_hides_no_other(machine: Machine) -> None:
    """On whatever call its loss is noticed; what CUDA counts then, CUDA says."""
    for call in ("nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeMode"):
        machine({"uuid": A, **H100, "fails": {call: LOST}}, {"uuid": B, **H100}, {"uuid": C, **H100}, libcuda={"uuids": [B, C]})
        assert seen() == [("0", B), ("1", C)]
        assert "GPU 0 by the PCI bus is not used, since the driver says: GPU is lost" in told()
        assert seen({"CUDA_VISIBLE_DEVICES": "1"}) == [("1", C)]


def test_what_a_gpu_does_not_tell_hides_nothing(machine: Machine) -> None:
    """A GPU of another user, in a container say, is none of ours."""
    machine({"uuid": A}, {"uuid": B, **H100, "fails": {"nvmlDeviceGetHandleByIndex": fake.NVML_ERROR_NO_PERMISSION}})
    assert visible_gpus({}) == [Gpu(uuid=A, index="0")]
    assert told() == ""


def test_a_gpu_that_is_divided_into_no_parts_is_told(machine: Machine) -> None:
    """It cannot be used, and the others can."""
    machine({"uuid": A, **H100, "mig": []}, {"uuid": B, **H100})
    assert seen() == [("1", B)]
    assert "GPU 0 (NVIDIA H100) is not used: it is divided (MIG) into no parts" in told()


def test_a_gpu_that_only_cuda_sees_is_found(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in WSL, on a Jetson and in some containers; where no driver's file is, nobody is asked."""
    gpu = {"uuid": A, "name": "Orin", "memory": [0, 8], "mode": 3}
    machine(init=fake.NVML_ERROR_LIBRARY_NOT_FOUND, libcuda={"uuids": [gpu]})
    monkeypatch.setattr(visible, "_DEVICE_FILES", ())
    assert seen() == []
    monkeypatch.setattr(visible, "_DEVICE_FILES", (str(tmp_path),))
    assert visible_gpus({}) == [Gpu(uuid=A, index="0", name="Orin", memory_bytes=8, exclusive=True)]
    assert told() == ""
    machine(init=fake.NVML_ERROR_LIBRARY_NOT_FOUND, libcuda={"init": [804, "CUDA_ERROR_COMPAT"]})
    assert seen() == []
    assert "no GPU is used: CUDA does not start: CUDA_ERROR_COMPAT (804)" in told()


def test_a_gpu_that_cuda_does_not_see_is_not_used(machine: Machine) -> None:
    """Where CUDA is asked, its word counts."""
    machine({"uuid": A, **OLD}, {"uuid": B, **H100}, libcuda={"uuids": [B]})
    assert seen() == [("0", B)]
    assert f"NVIDIA T1000 ({A}) is not used: the driver lists it, and CUDA does not" in told()


def test_a_driver_that_was_updated_is_told(machine: Machine) -> None:
    """No GPU can be used until the machine is restarted."""
    machine(init=fake.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    assert seen() == []
    assert "restart the machine" in told()


def test_a_gpu_that_lets_nobody_in_is_told(machine: Machine) -> None:
    """It keeps its number, since it counts in CUDA."""
    machine({"uuid": A, **H100, "mode": 2}, {"uuid": B, **H100})
    assert [gpu.prohibited for gpu in visible_gpus({})] == [True, False]
    assert f"GPU 0 (NVIDIA H100) is not used: its compute mode is PROHIBITED; sudo nvidia-smi -i {A} -c DEFAULT" in told()


def test_the_memory_is_read_by_the_uuid(machine: Machine) -> None:
    """That of a part of a GPU too; a lost one does not tell."""
    machine({"uuid": A, "memory": [3, 80]}, {"uuid": B, "fails": {"*": LOST}}, DIVIDED | {"uuid": C})
    assert read_gpu(Gpu(uuid=A, index="0")) == GpuReading(used_bytes=3, total_bytes=80)
    assert read_gpu(Gpu(uuid=M0, index="1:0")) == GpuReading(used_bytes=0, total_bytes=10)
    assert [read_gpu(Gpu(uuid=uuid, index="1")) for uuid in (B, "GPU-x")] == [None] * 2


_LIBRARY = """
#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 40; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 40 ? "Fast" : "Slow", size); return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 5000000000ul + device; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 20 && device == 41 ? 3 : 0; return 0; }
int cuDeviceGetUuid(unsigned char uuid[16], int device) { if (device == 41) return 801; memset(uuid, 0xab, 16); return 0; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_cuda_is_asked_through_its_own_interface(tmp_path: Path) -> None:
    """By the signatures of NVIDIA's header, in a library that is really loaded; a GPU without a UUID has its number."""
    (tmp_path / "cuda.c").write_text(_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libcuda.so.1", "cuda.c"], cwd=tmp_path, check=True)
    script = Path(visible.__file__).with_name("cuda_listing.py")
    env = {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-P", script], env=env, capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(done.stdout)["gpus"] == [
        {"uuid": "GPU-abababab-abab-abab-abab-abababababab", "name": "Fast", "memory": 5000000040, "mode": 0},
        {"uuid": "1", "name": "Slow", "memory": 5000000041, "mode": 3},
    ]
