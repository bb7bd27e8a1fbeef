"""Training steps that are replayed as a graph give the bits of steps that are not. Recorded operations replace CUDA's."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from sweep.objectives import fashion_mnist as fm
from sweep.objectives.images import Split
from sweep.objectives.networks import make_model, make_optimizer, set_precision
from sweep.objectives.steps import Steps
from sweep.objectives.training import Epoch
from tests.support.recorded import Replays, replays_on_cpu

SIZE = 8
SAMPLES = 61 * SIZE + 3  # six graphs, one batch, and a smaller one
every = pytest.mark.parametrize(
    ("model", "optimizer"), list(itertools.product(["cnn", "lenet5", "mlp"], ["adam", "adamw", "sgd", "rmsprop"]))
)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replays]:
    """Return a function that lets CPUs have graphs."""
    yield from replays_on_cpu(monkeypatch)


@pytest.fixture
def split() -> Split:
    """Return images of random pixels."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (SAMPLES, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (SAMPLES,), generator=generator)
    return Split(images=images, labels=labels, index=torch.arange(SAMPLES))


def trained(split: Split, model: str, optimizer: str, precision: str = "float32") -> tuple[list[Tensor], list[Any]]:
    """Train two epochs; return parameters, gradients and the optimizer's state, and each epoch's sums."""
    torch.manual_seed(0)
    network = make_model(model)
    its = make_optimizer(network, {"optimizer": optimizer, "lr": 1e-3, "weight_decay": 1e-3, "momentum": 0.5})
    steps = fm.steps_of(network, its, SIZE, None, set_precision(precision, "cpu"))
    sums = []
    for number in range(2):
        epoch = Epoch()
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(number))
        losses = torch.cat(list(fm.train_epoch(steps, split, order, SIZE, epoch)))
        assert len(losses) == epoch.batches == 62
        sums.append([losses.tolist(), {name: value for name, value in epoch.settle().items() if name != "seconds"}])
    states = [value for state in its.state.values() for value in state.values() if value is not None]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [*(p.detach() for p in network.parameters()), *gradients, *states], sums


@every
def test_a_training_by_graphs_has_the_same_bits(
    model: str, optimizer: str, split: Split, replays: Replays, capsys: pytest.CaptureFixture[str]
) -> None:
    """Losses, correct predictions, parameters, gradients and the optimizer's state of every model and optimizer."""
    tensors, sums = trained(split, model, optimizer)
    made = replays()
    again, same = trained(split, model, optimizer)
    assert len(made) == 2 * 6 - 3  # after the calls that warm up
    assert same == sums
    assert all(torch.equal(one, other) for one, other in zip(tensors, again, strict=True))
    assert capsys.readouterr().out == ""


def test_bfloat16_can_be_recorded(split: Split, replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """The casts of each step are a part of the graph."""
    tensors, sums = trained(split, "mlp", "adam", "bfloat16")
    made = replays()
    again, same = trained(split, "mlp", "adam", "bfloat16")
    assert (len(made), same, capsys.readouterr().out) == (9, sums, "")
    assert all(torch.equal(one, other) for one, other in zip(tensors, again, strict=True))


def test_a_model_is_freed_with_its_graph(split: Split, replays: Replays) -> None:
    """Without the garbage collector: on a GPU the next trial needs the memory."""
    made = replays()
    network = make_model("mlp")
    optimizer = make_optimizer(network, {"optimizer": "sgd", "lr": 1e-3, "weight_decay": 0.0, "momentum": 0.0})
    steps = fm.steps_of(network, optimizer, SIZE)
    epoch = Epoch()
    gc.collect()
    gc.disable()
    try:
        assert len(list(fm.train_epoch(steps, split, torch.arange(SAMPLES), SIZE, epoch))) > len(made) > 0
        freed = weakref.ref(network)
        del network, optimizer, steps, epoch
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("checkpoints", "largest"), [(None, 10), (7, 7), (11, 1), (12, 6), (40, 10)])
def test_no_graph_passes_a_checkpoint(checkpoints: int | None, largest: int, replays: Replays) -> None:
    """The batches that are yielded together end where a checkpoint is due, also if an epoch goes on in its middle."""
    replays()

    def train(inputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        return inputs.sum(), inputs.unsqueeze(1)

    steps = Steps(train, batch_size=2, every=checkpoints, device="cpu")
    for begun in (0, 33):
        done, sizes = begun, []
        for one in steps.over(torch.rand(2 * (200 - begun)), torch.zeros(2 * (200 - begun)), begun):
            done += len(one.losses)
            sizes.append(len(one.losses))
            if checkpoints and done // checkpoints != (done - len(one.losses)) // checkpoints:
                assert done % checkpoints == 0
        assert (done, max(sizes)) == (200, largest)
