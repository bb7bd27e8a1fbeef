"""Networks that are trained together: the same numbers as one by one, and no member touches another."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.objectives.fused import GROUPED, PRODUCTS, FusedNetwork, losses_of
from sweep.objectives.networks import make_model, make_optimizer
from sweep.worker.member_rows import rows_of
from sweep.worker.row_optimizer import RowOptimizer

MODELS, OPTIMIZERS = ("cnn", "lenet5", "mlp"), ("adam", "adamw", "sgd", "rmsprop")
RATES = [(1e-3, 0.0, 0.0), (3e-4, 1e-2, 0.5), (2e-3, 1e-4, 0.0)]
every = pytest.mark.parametrize(
    ("model", "optimizer", "convolutions"),
    [*itertools.product(MODELS, OPTIMIZERS, [GROUPED]), *itertools.product(("cnn", "lenet5"), OPTIMIZERS, [PRODUCTS])],
)


def settings(optimizer: str) -> list[dict[str, Any]]:
    return [{"optimizer": optimizer, "lr": lr, "weight_decay": decay, "momentum": momentum} for lr, decay, momentum in RATES]


def networks(model: str) -> list[nn.Sequential]:
    found = []
    for seed in range(len(RATES)):
        torch.manual_seed(seed)
        found.append(make_model(model).double())
    return found


class Together:
    """Members that are trained as rows."""

    def __init__(self, model: str, optimizer: str, convolutions: str = GROUPED) -> None:
        self.networks = networks(model)
        self.network = FusedNetwork(self.networks[0], len(RATES), convolutions)
        self.rows = rows_of(self.networks).requires_grad_()
        self.optimizer = RowOptimizer(optimizer, settings(optimizer), self.rows.detach())

    def step(self, images: Tensor, labels: Tensor, members: list[bool] | None = None) -> Tensor:
        """Train one batch; return the losses."""
        losses = losses_of(self.network(self.rows, images), labels)
        [gradient] = torch.autograd.grad(losses.sum(), self.rows)
        self.optimizer.step(gradient, members)
        return losses.detach()


def batches(count: int, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    shape = len(RATES), 4
    return [
        (
            torch.rand(*shape, 1, 28, 28, generator=generator, dtype=torch.float64),
            torch.randint(0, 10, shape, generator=generator),
        )
        for _ in range(count)
    ]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """So that the sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@every
def test_a_hundred_steps_are_those_of_separate_trainings(model: str, optimizer: str, convolutions: str) -> None:
    """Losses, parameters and the optimizers' states agree to 1e-12 in float64, with rates of each member's own."""
    together, alone = Together(model, optimizer, convolutions), networks(model)
    optimizers = [make_optimizer(one, p) for one, p in zip(alone, settings(optimizer), strict=True)]
    for images, labels in batches(100):
        losses = together.step(images, labels)
        for place, (one, its) in enumerate(zip(alone, optimizers, strict=True)):
            its.zero_grad()
            loss = F.cross_entropy(one(images[place]), labels[place])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            its.step()
            assert losses[place].item() == pytest.approx(loss.item(), abs=1e-12)
    assert (rows_of(alone) - together.rows.detach()).abs().max() < 1e-12
    for place, (one, p, its) in enumerate(zip(alone, settings(optimizer), optimizers, strict=True)):
        written = make_optimizer(one, p)
        together.optimizer.write(place, written)
        ours, theirs = written.state_dict(), its.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        for number, state in theirs["state"].items():
            assert {name for name, value in state.items() if value is not None} == set(ours["state"][number])
            for name, value in ours["state"][number].items():
                assert torch.allclose(value, state[name], rtol=0, atol=1e-12)
                assert (value.dtype, value.stride()) == (state[name].dtype, state[name].stride())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_goes_back_and_forth(optimizer: str) -> None:
    """The optimizer of a member alone holds all that the rows need to go on, bit for bit."""
    first = Together("mlp", optimizer)
    for images, labels in batches(5):
        first.step(images, labels)
    second = Together("mlp", optimizer)
    second.rows.data.copy_(first.rows.data)
    for place, (one, p) in enumerate(zip(first.networks, settings(optimizer), strict=True)):
        between = make_optimizer(one, p)
        first.optimizer.write(place, between)
        again = make_optimizer(one, p)
        again.load_state_dict(between.state_dict())
        second.optimizer.read(place, again)
    for images, labels in batches(5, seed=2):
        first.step(images, labels)
        second.step(images, labels)
    assert torch.equal(first.rows, second.rows)


@every
def test_a_member_changes_no_bit_of_the_others(model: str, optimizer: str, convolutions: str) -> None:
    """Not even with NaN in every parameter."""
    healthy, sick = Together(model, optimizer, convolutions), Together(model, optimizer, convolutions)
    sick.rows.data[1] = float("nan")
    for images, labels in batches(10):
        healthy.step(images, labels)
        losses = sick.step(images, labels)
        assert losses.isnan().tolist() == [False, True, False]
    assert torch.equal(healthy.rows[[0, 2]], sick.rows[[0, 2]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_member_that_waits_stays_as_it_is(optimizer: str) -> None:
    """And trains later as if it had not waited."""
    plain, waiting = Together("mlp", optimizer), Together("mlp", optimizer)
    for images, labels in batches(4):
        plain.step(images, labels)
        waiting.step(images, labels, [True, False, True])
    for images, labels in batches(4):
        waiting.step(images, labels, [False, True, False])
    assert torch.equal(plain.rows, waiting.rows)


def test_an_unknown_layer_is_refused() -> None:
    """Before anything is computed."""
    with pytest.raises(TypeError, match="BatchNorm2d is no layer that can be fused"):
        FusedNetwork(nn.Sequential(nn.BatchNorm2d(1)), 2)
