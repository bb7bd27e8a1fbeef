"""What `trial.graphed` returns does what the function does, to the bit. Recorded operations replace CUDA's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.worker import graphed
from sweep.worker.graphed import Graphed
from tests.support.recorded import Replays, replays_on_cpu

WARM_UP = 3


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replays]:
    """Return a function that lets CPUs have graphs."""
    yield from replays_on_cpu(monkeypatch)


class Training:
    """A model with dropout and running statistics, and what a step of its training changes beside it."""

    def __init__(self, rate: float | Tensor = 0.1) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)
        self.mean = {name: p.detach().clone() for name, p in self.model.named_parameters()}  # a moving one
        self.losses, self.place = torch.zeros(100), torch.zeros(1, dtype=torch.int64)
        torch.manual_seed(2)

    def step(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        """Train a batch."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.optimizer.step()
        for name, parameter in self.model.named_parameters():
            self.mean[name].lerp_(parameter.detach(), 0.1)
        self.losses.index_copy_(0, self.place, loss.detach().view(1))
        self.place += 1
        return {"loss": loss.detach(), "parts": [x.sum(), (y.float().mean(),)]}

    def tensors(self) -> list[Tensor]:
        """Return all that a step changes."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return [*self.model.state_dict().values(), *states, *gradients, *self.mean.values(), self.losses, torch.get_rng_state()]


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [(torch.rand(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)) for _ in range(count)]


def run(
    between: Callable[[Training, int], object] = lambda training, number: None,
    graph: bool = False,
    rate: float | Tensor = 0.1,
    given: list[tuple[Tensor, Tensor]] | None = None,
) -> list[Tensor]:
    """Train; return what was returned and changed."""
    training = Training(rate.clone() if isinstance(rate, Tensor) else rate)
    step = Graphed(training.step) if graph else training.step
    found = []
    for number, batch in enumerate(given or batches(20)):
        between(training, number)
        found += graphed.tensors_in(step(*batch))
    return [*found, *training.tensors()]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def test_a_step_changes_what_it_changes_alone(replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters, gradients, running statistics, moments, averages, a place in a table, random numbers; found by itself."""
    expected = run()
    made = replays()
    assert equal(run(graph=True), expected)
    assert (len(made), capsys.readouterr().out) == (20 - WARM_UP, "")


def decay(training: Training, number: int) -> None:
    """Halve the rate every eighth step, as a schedule does."""
    if number and number % 8 == 0:
        for group in training.optimizer.param_groups:
            group["lr"] = group["lr"] / 2


def fill(training: Training, number: int) -> None:
    """Halve a rate that is a tensor, in place."""
    if number and number % 8 == 0:
        for group in training.optimizer.param_groups:
            group["lr"] /= 2


def freeze(training: Training, number: int) -> None:
    """Stop the running statistics and the dropout for some steps."""
    training.model.train(number not in range(6, 9))


@pytest.mark.parametrize(("between", "rate", "graphs"), [(decay, 0.1, 3), (fill, torch.tensor(0.1), 1), (freeze, 0.1, 3)])
def test_a_schedule_and_another_mode_count(
    between: Callable[[Training, int], object],
    rate: float | Tensor,
    graphs: int,
    replays: Replays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph has the options and modes that it was recorded with; a rate that is a tensor is read in each replay."""
    expected = run(between, rate=rate)
    made = replays()
    recordings: list[int] = []
    captured = graphed.captured

    def noted(function: Callable[[], Any]) -> Callable[[], Any]:
        recordings.append(1)
        return captured(function)

    monkeypatch.setattr(graphed, "captured", noted)
    assert equal(run(between, graph=True, rate=rate), expected)
    assert len(recordings) == graphs
    assert len(made) == 20 - WARM_UP


def test_a_schedule_of_every_step_gives_up(replays: Replays, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """After some graphs, with a line in the log."""
    monkeypatch.setattr(graphed, "_MOST", 4)

    def every(training: Training, number: int) -> None:
        training.optimizer.param_groups[0]["lr"] = 0.1 / (1 + number)

    expected = run(every)
    replays()
    assert equal(run(every, graph=True), expected)
    said = "an option of its optimizer, or a module's mode, changes again and again (4 graphs)"
    assert capsys.readouterr().out == f"training without a CUDA graph: {said}\n"


def test_a_smaller_batch_is_trained_as_it_is(replays: Replays) -> None:
    """Between others; the gradients are those of the last one, whichever it was."""
    given = batches(20)
    for place in (8, 12):
        given[place] = given[place][0][:3], given[place][1][:3]
    for last in (12, 13):
        expected = run(given=given[: last + 1])
        with pytest.MonkeyPatch.context() as patch:
            [begin] = itertools.islice(replays_on_cpu(patch), 1)
            made = begin()
            assert equal(run(graph=True, given=given[: last + 1]), expected)
            assert len(made) == last + 1 - WARM_UP - len([place for place in (8, 12) if place <= last])


def reads(total: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that needs a number from the device."""
    return lambda x: total.add_(float(x.sum()))


def makes(total: Tensor) -> Callable[[Tensor], Tensor]:
    """Return one that copies a number to the device."""
    return lambda x: total.add_(torch.tensor(2.0) * x.sum())


def counts(total: Tensor) -> Callable[[Tensor], Tensor]:
    """Return one that a Python number changes from call to call."""
    numbers = itertools.count(1)
    return lambda x: total.add_(x.sum() * next(numbers))


@pytest.mark.parametrize(
    ("make", "same", "why"),
    [
        (reads, 10, "operation not permitted when stream is capturing: aten._local_scalar_dense.default"),
        (makes, 10, "operation not permitted when stream is capturing: aten.lift_fresh.default"),
        (counts, WARM_UP + 1, "its first replay gave other bits"),  # the attempt to record it was a call that it has counted
    ],
)
def test_what_cannot_be_replayed_is_called(
    make: Callable[[Tensor], Callable[[Tensor], Tensor]],
    same: int,
    why: str,
    replays: Replays,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With one line in the log, and no step is made twice."""
    inputs = [torch.rand(3, generator=torch.Generator().manual_seed(seed)) for seed in range(10)]
    plain = make(torch.zeros(1))
    expected = [float(plain(x)) for x in inputs]
    replays()
    step = Graphed(make(torch.zeros(1)))
    found = [float(step(x)) for x in inputs]
    assert capsys.readouterr().out == f"training without a CUDA graph: {why}\n"
    assert found[:same] == expected[:same]


def test_a_number_is_refused() -> None:
    """It would be the same in each replay."""
    with pytest.raises(TypeError, match="takes tensors: a number would be the same"):
        Graphed(lambda x: x)(0.1)  # type: ignore[arg-type]  # what is tested


def test_results_are_not_overwritten(replays: Replays) -> None:
    """Each call's own stay as they are."""
    replays()
    step = Graphed(lambda x: [x * 2])
    found = [step(torch.full((2,), float(number)))[0] for number in range(8)]
    assert [one.tolist() for one in found] == [[2.0 * number] * 2 for number in range(8)]
