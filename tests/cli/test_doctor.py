"""`sweep doctor`: what it computes and what it says; GPUs are those of a machine that a file describes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sweep.cli import doctor
from sweep.cli.gpu_trouble import trouble
from sweep.worker import probe
from sweep.worker.gpus import Gpu
from tests.conftest import Cli
from tests.support.fake_driver import fake_machine, pynvml

H100 = {"name": "NVIDIA H100", "memory": [0, 80 * 2**30], "capability": [9, 0]}
FIRST = "GPU-aaaaaaaa-0000-4000-8000-000000000000"
GPU = Gpu(uuid="GPU-a", index="0", capability=(9, 0))
TORCH = {"torch": "2.14.1", "cuda": "13.0", "hip": None, "architectures": ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"]}
DRIVER = "580.65.06", (13, 0)


def test_the_cpu_computes(cli: Cli) -> None:
    """A convolution and its gradient in a process of its own, with its time; what torch is built for is shown."""
    done = cli("doctor")
    cpu, torch = (next(line for line in done.out.splitlines() if line[5:].startswith(name)) for name in ("cpu", "torch "))
    assert cpu.startswith("ok ")
    assert "a convolution and its gradient in " in cpu
    assert "built for" in torch


@pytest.mark.slow
def test_gpus_that_fail_stop_no_other(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each is BAD with its reason and what to do, one line for each thing, and the rest is checked."""
    gpus = [
        {"uuid": FIRST, **H100},
        {"uuid": "GPU-bbbbbbbb-0000-4000-8000-000000000000", **H100, "mode": pynvml.NVML_COMPUTEMODE_PROHIBITED},
        {"uuid": "GPU-c", "fails": {"*": pynvml.NVML_ERROR_GPU_IS_LOST}},
    ]
    fake_machine(
        monkeypatch, tmp_path, {"driver": "535.104.05", "cuda": 12020, "gpus": gpus, "libcuda": {"uuids": [FIRST, gpus[1]]}}
    )
    done = cli("doctor")
    assert done.code == 1
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert "ok   driver      535.104.05, for CUDA up to 12.2" in lines
    place = lines.index("BAD  gpu 0       NVIDIA H100, 80 GiB, sm_90, compute mode DEFAULT")
    assert lines[place + 1].strip() == FIRST
    assert lines[place + 3].strip().startswith("do: ")
    bad = [" ".join(line[5:].split()) for line in lines if line.startswith("BAD")]
    assert any(line.startswith("gpu 1 NVIDIA H100, ") and line.endswith("compute mode PROHIBITED") for line in bad)
    assert any("GPU 2 by the PCI bus is not used, since the driver says: GPU is lost" in line for line in bad)
    assert {"cpu", "disk"} <= {line.split()[1] for line in lines if line.startswith("ok ")}


def test_a_gpu_that_computes_is_ok(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each was asked in a process that sees it alone; a part of one is shown as such."""
    parts = [{"uuid": "MIG-1", "instance": [1, 0], "memory": [0, 10 * 2**30]}]
    gpus = [{"uuid": "GPU-a", **H100, "mode": 3}, {"uuid": "GPU-b", **H100, "mig": parts}]
    fake_machine(monkeypatch, tmp_path, {"driver": "580.65.06", "cuda": 13000, "gpus": gpus})
    asked = []

    def answer(name: str, device: str, *, env: dict[str, str], seconds: float) -> dict[str, Any]:
        asked.append((name, device, env["CUDA_VISIBLE_DEVICES"]))
        time.sleep(0.2)
        good = TORCH | {"right": True, "seconds": 0.0004, "first_s": 1.9, "torchvision": "0.29", "fit": True}
        return good if env["CUDA_VISIBLE_DEVICES"] != "MIG-1" else good | {"right": False}

    monkeypatch.setattr(doctor, "run_probe", answer)
    monkeypatch.chdir(tmp_path)
    assert not doctor.examine()
    assert sorted(asked) == [("device_check", "cpu", ""), ("device_check", "cuda", "GPU-a"), ("device_check", "cuda", "MIG-1")]
    out = capsys.readouterr().out
    assert "ok   gpu 0       NVIDIA H100, 80 GiB, sm_90, compute mode EXCLUSIVE_PROCESS\n" in out
    assert "                 a convolution and its gradient in 0.4 ms, the first in 1900.0 ms\n" in out
    assert "BAD  gpu 1:0     NVIDIA H100 MIG 1g.10gb, 10 GiB" in out
    assert "it computed wrong numbers" in out
    assert "built for CUDA 13.0 (sm_75 to sm_120)" in out


@pytest.mark.parametrize(
    ("found", "driver", "reason", "do"),
    [
        ({"cuda": "13.0"}, ("535.104.05", (12, 2)), "the driver 535.104.05 runs CUDA 12.2 at most", "to 580.65 or newer"),
        ({"cuda": "12.8"}, ("535.104.05", (12, 2)), "no kernel image", "nvidia-smi"),
        ({"cuda": None}, DRIVER, "torch is built for the CPU alone", "built for CUDA"),
        ({"cuda": None, "hip": "6.4"}, DRIVER, "torch is built for AMD's GPUs", "built for CUDA"),
        ({"architectures": ["sm_50", "sm_80"]}, DRIVER, "is built for sm_50 to sm_80, and the GPU is sm_90", "too new"),
        ({"architectures": ["sm_100", "sm_120"]}, DRIVER, "is built for sm_100 to sm_120, and the GPU is sm_90", "too old"),
        ({"architectures": ["sm_80", "compute_80"]}, DRIVER, "no kernel image", "nvidia-smi"),
        ({"architectures": ["sm_90a"]}, None, "no kernel image", "nvidia-smi"),
        ({"error": "no answer within 120 s"}, DRIVER, "does not end: no answer within 120 s", "restart"),
        ({"error": "AcceleratorError: all CUDA-capable devices are busy or unavailable"}, DRIVER, "busy", "which processes"),
        ({"error": None}, DRIVER, "wrong numbers", "nvidia-smi"),
    ],
)
def test_the_reason_is_the_likeliest(
    found: dict[str, Any], driver: tuple[str, tuple[int, int]] | None, reason: str, do: str
) -> None:
    """A torch that is built for other GPUs or for a newer CUDA is the most usual one, and it says what to install."""
    error = {"error": "AcceleratorError: CUDA error: no kernel image is available for execution on the device"}
    given = {key: value for key, value in {**TORCH, **error, **found}.items() if key != "error" or value}
    what, to_do = trouble(GPU, given, driver)
    assert reason in what
    assert do in to_do


def test_what_hangs_or_dies_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After its time, with the signal that ended it, or with the last line of its traceback."""
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "probe.py"))
    programs = {
        "hangs": "import time; time.sleep(60)",
        "dies": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "raises": "raise ValueError('no')",
        "answers": "print('a warning')\nimport json; print(json.dumps({'x': 1}))",
    }
    for name, text in programs.items():
        (tmp_path / f"{name}.py").write_text(text)
    env = {"PATH": ""}
    for name, reason in (("hangs", "no answer within 1 s"), ("dies", "Segmentation fault"), ("raises", "ValueError: no")):
        began = time.monotonic()
        with pytest.raises(probe.ProbeFailed, match=reason):
            probe.run_probe(name, env=env, seconds=1)
        assert time.monotonic() - began < 20
    assert probe.run_probe("answers", env=env, seconds=30) == {"x": 1}


def test_a_torch_that_cannot_be_imported_is_told(cli: Cli, here: Path) -> None:
    """The rest is still checked."""
    (here / "broken").mkdir()
    (here / "broken" / "torch.py").write_text("import sys; sys.exit('no torch today')")
    done = cli("doctor", env={"PYTHONPATH": f"{here / 'broken'}:{Path(doctor.__file__).parents[2]}"})
    assert done.code == 1
    assert "BAD  torch       no torch today\n" in done.out
    assert "ok   disk " in done.out
