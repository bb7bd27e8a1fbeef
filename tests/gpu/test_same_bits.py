"""On a GPU as on a CPU: a result depends neither on the number of workers nor on interruptions."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import torch

from sweep.objectives.fashion_mnist import steps_of
from sweep.objectives.images import to_float
from sweep.objectives.networks import make_model, make_optimizer, set_precision
from sweep.worker import graphed
from tests.conftest import Cli
from tests.gpu.running import FASHION, fashion, results, without_times, write
from tests.support.command_line import Running
from tests.support.interrupting import kill_part, reached
from tests.support.reading import outcome, records, scalars
from tests.support.waiting import wait_until_gone


def test_the_twelve_trials_are_equal_with_one_slot_and_with_four(here: Path, fashion_data: Path) -> None:
    """Bit for bit, and once more with one; the best reaches 87.5 % of the validation samples."""
    one = fashion(here, "one", "workers.per_device=1")
    again = fashion(here, "again", "workers.per_device=1", "epochs.value=1")
    four = fashion(here, "four", "workers.per_device=4")
    assert len(one) == 12
    assert results(four) == results(one)
    for first, second in zip(one, again, strict=True):
        curves = [scalars(here / "runs" / name / trial.folder) for name, trial in (("one", first), ("again", second))]
        assert curves[0]["validation/loss"][0] == curves[1]["validation/loss"][0]
    assert max(trial.metrics["validation/accuracy"] for trial in one) >= 0.875


def test_trials_that_are_trained_together_are_close_to_those_alone(here: Path, fashion_data: Path) -> None:
    """With each precision's own rounding; the log has how long both took."""
    words = "epochs.value=1", "batch_size.values=[128]"
    alone, together = (fashion(here, name, *words, f"workers.fuse={fuse}") for name, fuse in (("alone", 1), ("together", 4)))
    assert all(len(trial.group) == 4 for trial in together)
    for one, other in zip(alone, together, strict=True):
        assert abs(one.metrics["validation/accuracy"] - other.metrics["validation/accuracy"]) < 0.03


@pytest.mark.parametrize("fuse", [1, 4])
def test_every_trial_is_trained_by_graphs(here: Path, fashion_data: Path, fuse: int) -> None:
    """No log says why not."""
    trials = fashion(here, "graphs", "epochs.value=1", "batch_size.values=[128]", f"workers.fuse={fuse}")
    logs = [(here / "runs" / "graphs" / trial.folder / "log.txt").read_text(encoding="utf-8") for trial in trials]
    assert not any("without a CUDA graph" in log for log in logs), logs


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("model", ["cnn", "lenet5", "mlp"])
def test_graphs_change_no_bit(model: str, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the parameters after 200 batches, with the kernels that repeat their digits."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    set_precision("float32", "cuda")
    images = torch.rand(200 * 32, 1, 28, 28, generator=torch.Generator().manual_seed(1)).cuda()
    labels = torch.randint(0, 10, (200 * 32,), generator=torch.Generator().manual_seed(2)).cuda()
    found = []
    for usable in (False, True):
        monkeypatch.setattr(graphed, "usable", lambda device, usable=usable: usable)
        torch.manual_seed(0)
        network = make_model(model).cuda()
        p = {"optimizer": optimizer, "lr": 1e-3, "weight_decay": 1e-4, "momentum": 0.5}
        steps = steps_of(network, make_optimizer(network, p), 32)
        losses = [one.losses for one in steps.over(images, labels, 0)]
        found.append(torch.cat([*(parameter.detach().flatten() for parameter in network.parameters()), *losses]))
    assert torch.equal(*found)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_precision_trains(here: Path, fashion_data: Path, precision: str) -> None:
    """Four trials of one epoch."""
    words = "epochs.value=1", "batch_size.values=[128]", f"parameters.precision.value={precision}"
    assert all(trial.metrics["validation/accuracy"] > 0.7 for trial in fashion(here, precision, *words))


def test_images_have_the_bits_that_they_have_on_a_cpu() -> None:
    """All 256 values: a division by a constant would be a product with its reciprocal."""
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1)
    assert torch.equal(to_float(images.cuda()).cpu(), to_float(images))


@pytest.mark.parametrize("workers", ["per_device=2", "fuse=4"])
@pytest.mark.parametrize("part", ["worker", "runner"])
def test_the_twelve_trials_continue_after_a_kill(here: Path, cli: Cli, fashion_data: Path, part: str, workers: str) -> None:
    """Kill -9 of a worker, or of the runner and then resume: every number is that of an undisturbed run."""
    words = f"workers.{workers}", "epochs.value=2", "batch_size.values=[128]", "checkpoints.keep_best=100"
    fashion(here, "whole", *words)
    with Running("run", FASHION, "name=cut", "workers.devices=[0]", *words, here=here) as running:
        running.wait_until(reached(here / "runs" / "cut", 1), 120)
        kill_part(running, part, random.Random(0))
        if part == "worker":
            assert running.end(200) == 0, running.out
    if part == "runner":
        assert cli("resume", "runs/cut").code == 0
    whole, cut = (without_times(outcome(here / "runs" / name, timings=("time/epoch_s",))) for name in ("whole", "cut"))
    assert cut == whole


def test_randomness_of_the_gpu_continues_after_a_kill(here: Path, cli: Cli) -> None:
    """Masks and data are drawn on the device; CUDA is not initialised yet when the state is read."""
    study = write("dropout", here, [0], "whole")
    assert cli("run", str(study)).code == 0
    with Running("run", str(study), "name=cut", here=here) as running:
        running.wait_until(reached(here / "runs" / "cut", 10), 120)
        processes = running.processes()
        running.send(signal.SIGKILL)
        running.end()
        wait_until_gone(processes)
    assert cli("resume", "runs/cut").code == 0
    found = [records(here / "runs" / name)[0] for name in ("whole", "cut")]
    assert found[1].attempts == 2
    curves = [scalars(here / "runs" / name / trial.folder)["score"] for name, trial in zip(("whole", "cut"), found, strict=True)]
    assert curves[0] == curves[1]
