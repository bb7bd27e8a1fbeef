"""`sweep.fused.ensemble`: models of one's own that are trained together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.fused import CannotFuse, Ensemble, Group, Member, ensemble
from sweep.worker.handle import Trial
from sweep.worker.randomness import seed_all

COUNT = 8


class Handle:
    """A trial's handle, as far as a group that makes no reports needs it."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        self.state = state


def group_of(count: int, states: list[Any] | None = None, **params: Any) -> Group:
    """Return a group whose members differ in seed and learning rate."""
    members = [
        Member(
            number=place,
            repeat=0,
            params={"lr": 0.01 * (place + 1), **params},
            seed=place,
            trial=cast(Trial, Handle(states[place] if states else None)),
        )
        for place in range(count)
    ]
    return Group(members, [0] * count, "cpu", lambda place: seed_all(place, "cpu"), lambda *_: None)


def small(_params: Mapping[str, Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))


def loss_of(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(model(x), y)


def data(steps: int, *shape: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randn(*shape, 32, 4, generator=generator) for _ in range(steps)]
    return [(x, x.sum(-1, keepdim=True).sin()) for x in batches]


def alone(place: int, optimizer: type[torch.optim.Optimizer]) -> tuple[nn.Module, torch.optim.Optimizer]:
    seed_all(place, "cpu")
    model = small({})
    return model, optimizer(model.parameters(), lr=0.01 * (place + 1))  # type: ignore[call-arg]  # of each class


@pytest.mark.parametrize(("name", "optimizer"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_members_are_trained_as_alone(name: str, optimizer: type[torch.optim.Optimizer]) -> None:
    """Eight members and eight separate trainings agree to 1e-5 in float32, in losses and checkpoints."""
    members = ensemble(small, loss_of, group_of(COUNT), optimizer=name)
    separate = [alone(place, optimizer) for place in range(COUNT)]
    for x, y in data(30):
        losses = members.step(x, y)
        for (model, its), together in zip(separate, losses, strict=True):
            loss = loss_of(model, x, y)
            its.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            its.step()
            assert together == pytest.approx(loss.item(), abs=1e-5)
    for (model, its), state in zip(separate, members.states(), strict=True):
        for key, value in model.state_dict().items():
            assert torch.allclose(state["model"][key], value, rtol=0, atol=1e-5)
        assert state["optimizer"]["param_groups"] == its.state_dict()["param_groups"]
        assert {key for key, value in state["optimizer"]["state"].items() if value} == its.state_dict()["state"].keys()


def test_members_resume_from_their_checkpoints() -> None:
    """Bit for bit."""
    batches = data(10)
    whole = ensemble(small, loss_of, group_of(3))
    for x, y in batches[:5]:
        whole.step(x, y)
    resumed = ensemble(small, loss_of, group_of(3, [dict(state) for state in whole.states()]))
    for x, y in batches[5:]:
        assert whole.step(x, y) == resumed.step(x, y)


def test_each_member_may_have_its_own_batches() -> None:
    """With a first dimension for the members."""
    [(x, y)] = data(1, 3)
    members = ensemble(small, loss_of, group_of(3), own_batches=True)
    losses = members.step(x, y)
    for place, loss in enumerate(losses):
        model, _ = alone(place, torch.optim.Adam)
        assert loss == pytest.approx(loss_of(model, x[place], y[place]).item(), abs=1e-6)


def test_a_nan_stays_with_its_member() -> None:
    """No bit of the others changes."""

    def sick(params: Mapping[str, Any]) -> nn.Module:
        model = small(params)
        if params["lr"] == 0.02:
            nn.init.constant_(cast(nn.Linear, model[0]).weight, float("nan"))  # type: ignore[index]  # a sequence
        return model

    healthy, other = ensemble(small, loss_of, group_of(3)), ensemble(sick, loss_of, group_of(3))
    for x, y in data(5):
        first, second = healthy.step(x, y), other.step(x, y)
        assert [first[0], first[2]] == [second[0], second[2]]
        assert second[1] != second[1]


def test_evaluation_has_the_models_without_dropout() -> None:
    """And returns a row for each member."""

    def dropping(_params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 1))

    members = ensemble(dropping, loss_of, group_of(3))
    [(x, y)] = data(1)
    members.step(x, y)
    once = members.evaluate(loss_of, x, y)
    assert once.shape == (3,)
    assert torch.equal(once, members.evaluate(loss_of, x, y))


def by_value(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    loss = loss_of(model, x, y)
    return loss if loss.item() > 0 else -loss


def by_branch(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    loss = loss_of(model, x, y)
    return loss * 2 if loss > 1 else loss


@pytest.mark.parametrize("loss", [by_value, by_branch])
def test_a_loss_that_reads_a_value_is_refused(loss: Callable[..., Tensor]) -> None:
    """Before anything is trained."""
    members = ensemble(small, loss, group_of(2))
    before = [{key: value.clone() for key, value in state["model"].items()} for state in members.states()]
    [(x, y)] = data(1)
    with pytest.raises(CannotFuse, match="cannot be computed for several members at once"):
        members.step(x, y)
    for old, state in zip(before, members.states(), strict=True):
        assert all(torch.equal(value, state["model"][key]) for key, value in old.items())


def test_running_statistics_are_refused() -> None:
    """With the layer's name, and what to use instead."""
    with pytest.raises(CannotFuse, match=r"1 \(BatchNorm1d\) keeps running statistics, which each batch changes; use GroupNorm"):
        ensemble(lambda _: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), loss_of, group_of(2))
    without: Ensemble = ensemble(
        lambda _: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 1)),
        loss_of,
        group_of(2),
    )
    assert len(without.step(*data(1)[0])) == 2


def test_a_buffer_that_a_batch_changes_is_refused() -> None:
    """All members are computed by one model; what it keeps of one batch would be everybody's."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)
            self.mean: Tensor
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()
            out: Tensor = self.layer(x - self.mean)
            return out

    members = ensemble(lambda _: Mean(), loss_of, group_of(2))
    with pytest.raises(CannotFuse, match="mean is a buffer that each batch changes"):
        members.step(*data(1)[0])


def test_a_frozen_layer_is_refused() -> None:
    """It would be trained."""

    def frozen(params: Mapping[str, Any]) -> nn.Module:
        model = small(params)
        model[0].requires_grad_(False)  # type: ignore[index]  # a sequence
        return model

    with pytest.raises(CannotFuse, match=r"0\.weight is frozen"):
        ensemble(frozen, loss_of, group_of(2))


def test_different_layers_are_refused() -> None:
    """All members are computed by the code of the first one."""
    layers = {0.01: nn.Tanh(), 0.02: nn.ReLU()}
    with pytest.raises(CannotFuse, match="different layers"):
        ensemble(lambda params: nn.Sequential(nn.Linear(4, 1), layers[params["lr"]]), loss_of, group_of(2))
    with pytest.raises(CannotFuse, match="different layers"):
        ensemble(lambda params: nn.Sequential(nn.Linear(4, 1), nn.Dropout(params["lr"])), loss_of, group_of(2))


@pytest.mark.parametrize(("name", "optimizer"), [("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)])
def test_settings_that_a_study_does_not_have_are_torchs(name: str, optimizer: type[torch.optim.Optimizer]) -> None:
    """The weight decay of AdamW, the rate of RMSprop."""
    group = group_of(2)
    for member in group.members:
        del member.params["lr"]
    members = ensemble(small, loss_of, group, optimizer=name)
    for x, y in data(3):
        members.step(x, y)
    seed_all(0, "cpu")
    model = small({})
    its = optimizer(model.parameters())  # type: ignore[call-arg]  # of each class
    for x, y in data(3):
        its.zero_grad()
        loss_of(model, x, y).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        its.step()
    for key, value in model.state_dict().items():
        assert torch.allclose(members.states()[0]["model"][key], value, rtol=0, atol=1e-6)


def test_models_of_different_shapes_are_refused() -> None:
    """They can be no rows of one matrix."""
    with pytest.raises(CannotFuse, match="different shapes"):
        ensemble(lambda params: nn.Linear(4, round(params["lr"] * 100)), loss_of, group_of(2))
