"""What a worker on a GPU is: which device it sees, what it is a copy of, what it has not done yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sweep.worker.gpus import Gpu
from sweep.worker.visible import visible_gpus
from tests.conftest import Cli
from tests.gpu.running import run

_CODE = """
import json, torch
found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps([str(one.uuid) for one in found]))
"""


def seen_by_torch(**variables: str) -> Any:
    """Return the UUIDs that torch sees in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE], env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def test_torch_sees_the_gpus_in_this_order() -> None:
    """CUDA's own order, by their UUIDs; an instance of a divided GPU is not compared, since torch shows the whole one's."""
    listed = [gpu.uuid.removeprefix("GPU-") for gpu in visible_gpus()]
    if not any(name.startswith("MIG-") for name in listed):
        assert seen_by_torch() == listed


def test_a_uuid_chooses_one_gpu() -> None:
    """As the value of CUDA_VISIBLE_DEVICES it shows a process that GPU and no other."""
    for gpu in visible_gpus():
        found = seen_by_torch(CUDA_VISIBLE_DEVICES=gpu.uuid)
        assert len(found) == 1
        assert gpu.uuid.startswith("MIG-") or f"GPU-{found[0]}" == gpu.uuid


def test_doctor_computes_on_the_gpu(cli: Cli, gpu: Gpu) -> None:
    """It says so, and names the GPU."""
    done = cli("doctor", timeout=200)
    print(done.out)
    assert done.code == 0, done.out
    assert gpu.uuid in done.out


def test_a_worker_is_a_copy_that_has_not_used_the_gpu(here: Path) -> None:
    """Its parent is the template, CUDA is not initialised and no device is open, until the objective computes."""
    done, trials = run("finds", here, [0], threads=2)
    assert done.code == 0, done.out + done.err
    found = trials[0].metrics
    assert (found["copied"], found["initialised"], found["device files"]) == (1, 0, 0)
    assert found["deterministic"] == 1


def test_a_worker_on_the_cpu_leaves_the_gpu_alone(here: Path) -> None:
    """No driver is opened."""
    done, trials = run("finds", here, [0], devices="cpu")
    assert done.code == 0, done.out + done.err
    assert (trials[0].metrics["initialised"], trials[0].metrics["device files"]) == (0, 0)
