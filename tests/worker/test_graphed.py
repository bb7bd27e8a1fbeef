"""What `trial.graphed` returns does what the function does, to the bit. Recorded operations replace CUDA's."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn

from sweep.worker import graphed
from sweep.worker.graphed import Graphed
from sweep.worker.written import tensors_in
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
    step = Graphed(training.step, "cpu") if graph else training.step
    found = []
    for number, batch in enumerate(given or batches(20)):
        between(training, number)
        found += tensors_in(step(*batch))
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
    step = Graphed(make(torch.zeros(1)), "cpu")
    found = [float(step(x)) for x in inputs]
    assert capsys.readouterr().out == f"training without a CUDA graph: {why}\n"
    assert found[:same] == expected[:same]


class Outside(Training):
    """Clears the gradients and steps outside the function, each time or every second time."""

    def __init__(self, every: int, *, graph: bool, none: bool = True) -> None:
        super().__init__()
        self.every, self.none = every, none
        self.gradients: Callable[..., Tensor] = Graphed(self.forward, "cpu") if graph else self.forward

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the gradients."""
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return loss.detach()

    def run(self) -> list[Tensor]:
        """Train; return what a step changes, after each."""
        found = []
        for number, batch in enumerate(batches(16)):
            found.append(self.gradients(*batch))
            found += [p.grad.clone() for p in self.model.parameters() if p.grad is not None]
            if number % self.every == self.every - 1:
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=self.none)
        return [*found, *self.model.state_dict().values()]


@pytest.mark.parametrize(("every", "none"), [(1, True), (1, False), (2, True), (2, False)])
def test_gradients_may_be_added_up_outside(every: int, none: bool, replays: Replays) -> None:
    """Whether they are cleared or made anew."""
    expected = Outside(every, graph=False, none=none).run()
    made = replays()
    assert equal(Outside(every, graph=True, none=none).run(), expected)
    assert len(made) >= 16 - WARM_UP - 1


def freezes(training: Training, number: int) -> None:
    """Freeze the last layer for some steps."""
    training.model[3].requires_grad_(number not in range(6, 9))


def test_frozen_parameters_count(replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer that is frozen, and trained again later, is trained."""
    expected = run(freezes)
    replays()
    assert equal(run(freezes, graph=True), expected)
    assert capsys.readouterr().out == ""


def test_a_cast_around_the_call_counts(replays: Replays) -> None:
    """The weights are cast in each replay."""

    def trained(graph: bool) -> list[Tensor]:
        training = Training()
        step = Graphed(training.step, "cpu") if graph else training.step
        found = []
        for batch in batches(10):
            with torch.autocast("cpu", torch.bfloat16):
                found += tensors_in(step(*batch))
        return [*found, *training.tensors()]

    expected = trained(graph=False)
    made = replays()
    assert equal(trained(graph=True), expected)
    assert len(made) == 10 - WARM_UP


def draws(kind: str) -> Callable[[Tensor], Tensor]:
    """Return a function that draws a number on the CPU."""
    total = torch.zeros(1)
    kinds: dict[str, Callable[[], float]] = {"python": random.random, "numpy": np.random.rand}
    return lambda x: total.add_(x.sum() * kinds[kind]()).clone()


@pytest.mark.parametrize("kind", ["python", "numpy"])
def test_numbers_that_are_drawn_on_the_cpu_stay_random(kind: str, replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """A replay would have the same ones each time."""

    def drawn(function: Callable[[Tensor], Tensor]) -> list[float]:
        random.seed(3)
        np.random.seed(3)
        return [float(function(torch.ones(2))) for _ in range(8)]

    expected = drawn(draws(kind))
    replays()
    assert drawn(Graphed(draws(kind), "cpu")) == expected
    said = "it draws random numbers that a replay does not draw, such as Python's or NumPy's"
    assert capsys.readouterr().out == f"training without a CUDA graph: {said}\n"


def without_backward(training: Training) -> Callable[[Tensor, Tensor], Any]:
    return lambda x, y: F.cross_entropy(training.model(x), y)


def sparse(training: Training) -> Callable[[Tensor, Tensor], Any]:
    table = nn.Embedding(5, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(list(table.parameters()))

    def step(x: Tensor, y: Tensor) -> Any:
        optimizer.zero_grad()
        loss = table(y).sum()
        loss.backward()
        optimizer.step()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return loss.detach()

    return step


def schedules(training: Training) -> Callable[[Tensor, Tensor], Any]:
    schedule = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.9)

    def step(x: Tensor, y: Tensor) -> Any:
        found = training.step(x, y)
        schedule.step()
        return found

    return step


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (without_backward, "a result requires a gradient: the whole step must be in the function, and its results detached"),
        (sparse, "it changes an option or a number of its optimizer, or the mode of a module, in Python"),
        (schedules, "it changes an option or a number of its optimizer, or the mode of a module, in Python"),
    ],
)
def test_what_is_no_whole_step_is_called(
    make: Callable[[Training], Callable[[Tensor, Tensor], Any]], why: str, replays: Replays, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is, with the reason in the log."""
    plain = make(Training())
    expected = [tensors_in(plain(*batch))[0].detach() for batch in batches(8)]
    replays()
    step = Graphed(make(Training()), "cpu")
    assert equal([tensors_in(step(*batch))[0].detach() for batch in batches(8)], expected)
    assert capsys.readouterr().out == f"training without a CUDA graph: {why}\n"


def test_an_input_with_a_gradient_is_not_copied(replays: Replays, capsys: pytest.CaptureFixture[str]) -> None:
    """Its history would be lost."""
    replays()
    x = torch.ones(2, requires_grad=True)
    assert float(Graphed(lambda given: given.sum(), "cpu")(x).detach()) == 2
    assert capsys.readouterr().out == "training without a CUDA graph: an input requires a gradient\n"


def test_the_first_calls_shapes_are_the_graphs(replays: Replays) -> None:
    """Where each fourth batch is smaller, the others are replayed."""
    given = batches(20)
    given[3::4] = [(x[:3], y[:3]) for x, y in given[3::4]]
    expected = run(given=given)
    made = replays()
    assert equal(run(graph=True, given=given), expected)
    assert len(made) == 15 - WARM_UP


def test_a_number_is_refused() -> None:
    """It would be the same in each replay."""
    with pytest.raises(TypeError, match="takes tensors: a number would be the same"):
        Graphed(lambda x: x, "cpu")(0.1)  # type: ignore[arg-type]  # what is tested


def test_results_are_not_overwritten(replays: Replays) -> None:
    """Each call's own stay as they are."""
    replays()
    step = Graphed(lambda x: [x * 2], "cpu")
    found = [step(torch.full((2,), float(number)))[0] for number in range(8)]
    assert [one.tolist() for one in found] == [[2.0 * number] * 2 for number in range(8)]
