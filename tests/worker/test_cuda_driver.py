"""CUDA is started by the objective alone, in a worker on a GPU: not by the runner, the template, or a worker on the CPU."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.executors.local import LocalWorker
from sweep.worker.gpus import Gpu
from sweep.worker.loop import TORCH_IMPORTS, serve
from tests.conftest import Cli
from tests.support.cuda_driver import CudaDriver
from tests.support.studies import study_spec, write_study

ASKS = """
import torch
def train(trial):
    found = torch.cuda.is_available() or torch.accelerator.is_available()
    torch.manual_seed(trial.seed)
    trial.report(1, {"score": float(found)}, {"weights": torch.rand(3)})
"""
FORWARD = """
import os, torch
def train(trial):
    images, labels = torch.rand(9, 4, 4), torch.arange(9) % 3
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters())
    state = trial.state
    trial.panels.samples(images, labels, ("a", "b", "c"))
    trial.panels.watch(model, images)
    for step in trial.steps(2):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        trial.report(step, {"score": loss}, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        if trial.params["x"] == 2 and trial.attempt == 1:
            os.kill(os.getpid(), 9)
    trial.panels.predictions(images, labels, model(images), ("a", "b", "c"), step=2)
    torch.backends.cudnn.benchmark = True
"""


@pytest.fixture
def driver(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> CudaDriver:
    """Every process that a test starts finds this driver."""
    found = CudaDriver(tmp_path_factory.mktemp("driver"))
    for name, value in found.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    return found


@pytest.mark.slow
def test_the_driver_sees_who_starts_cuda(driver: CudaDriver) -> None:
    """Without this the tests below would show nothing."""
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    assert driver.started_by() == []
    subprocess.run([sys.executable, "-c", "import torch; torch.cuda.is_available()"], check=True)
    assert driver.started_by()


@pytest.mark.slow
def test_a_sweep_on_the_cpu_does_not_start_cuda(driver: CudaDriver, cli: Cli, here: Path) -> None:
    """With checkpoints, an interruption, panels, and all that a trial leaves compared and put back.

    torch's own first `backward` does, to count the devices that gradients may be on; it finds none, since none is visible.
    """
    (here / "forward.py").write_text(FORWARD)
    text = "metric: {name: score, goal: minimize}\nmethod: grid\nparameters: {x: {values: [1, 2]}}\ndeterminism: strict\n"
    write_study(here, f"objective: forward:train\n{text}")
    done = cli("run", "study.yaml", "workers.devices=cpu")
    assert done.code == 0, done.err
    assert [trial["attempts"] for trial in cli("trials", "study.yaml", "--format", "json").json] == [1, 2]
    assert driver.started_by() == []


@pytest.mark.slow
def test_an_objective_on_the_cpu_that_asks_for_gpus_does_not_start_cuda(driver: CudaDriver, cli: Cli, here: Path) -> None:
    """As most programs do: the answer is no, at once."""
    (here / "asks.py").write_text(ASKS)
    write_study(here, "objective: asks:train\nmetric: {name: score, goal: minimize}\nmethod: grid\nparameters: {x: {value: 1}}\n")
    done = cli("run", "study.yaml", "workers.devices=cpu")
    assert done.code == 0, done.err
    assert cli("best", "study.yaml", "--format", "json").json[0]["value"] == 0
    assert driver.started_by() == []


def test_on_a_gpu_only_the_objective_starts_cuda(driver: CudaDriver, tmp_path: Path) -> None:
    """In the copy, not in the template, in which it would be of no use to any copy."""
    (tmp_path / "asks_later.py").write_text(ASKS.replace("    found =", "    trial.report(0, {'score': 1})\n    found ="))
    study = study_spec({"x": 1}, objective="asks_later:train", import_dir=tmp_path)
    slot = plan_slots("auto", 1, 1, gpus=[Gpu(uuid="0", index="0", name="NVIDIA H200")])[0]
    worker = LocalWorker(slot, functools.partial(serve, study), TORCH_IMPORTS)
    try:
        spec = TrialSpec(number=0, params={"x": 1}, seed=7, dir=str(tmp_path / "trial"))
        assert isinstance(worker.next_event(spec).result(timeout=60), Report)
        template = psutil.Process(worker.pid).parent()
        assert template is not None
        assert template.name() == "sweep-template"
        assert driver.started_by() == []
        assert isinstance(worker.next_event(Decision.CONTINUE).result(timeout=60), Report)
        assert set(driver.started_by()) == {worker.pid}
        end = worker.next_event(Decision.CONTINUE).result(timeout=60)
        assert isinstance(end, TrialResult)
        assert end.state is TrialState.COMPLETE
    finally:
        worker.close()
