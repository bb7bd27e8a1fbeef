"""The built-in objective: the same data as torchvision's, a correct split, networks that learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn
from torchvision import datasets as torchvision_datasets
from torchvision.transforms import ToTensor

from sweep.objectives import fashion_mnist as fm
from sweep.objectives import images as data
from sweep.objectives.convolution import ConvPoolReLU
from sweep.objectives.networks import make_model, make_optimizer
from sweep.objectives.steps import Trained
from sweep.objectives.training import Epoch, epoch_order
from sweep.study.space import Choice, Range
from sweep.study.spec import LogSpec
from sweep.study.trial import Decision, Position, Report, Suggested, TrialSpec
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.run_writer import RunWriter
from sweep.worker.handle import MetricNotFinite, Trial

Train = Callable[..., tuple[list[Report], dict[str, float]]]


class Host:
    """A trial's host that keeps its reports and makes no checkpoints."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def checked(self, state: Any) -> dict[str, Any]:
        """Return it as it is."""
        return dict(state)

    def record(self, step: int, metrics: Mapping[str, float], *, reported: bool) -> None:
        """Ignore it: the reports have the metrics."""

    def save(self, position: Position, state: Mapping[str, Any]) -> None:
        """Ignore it."""

    def exchange(self, report: Report) -> Decision:
        """Keep the report."""
        self.reports.append(report)
        return Decision.CONTINUE

    def suggest(self, name: str, domain: Choice | Range) -> Suggested:
        """Never called."""
        raise AssertionError("the study has parameters here")

    def stop_requested(self) -> bool:
        """Return False."""
        return False

    def restore_random_states(self) -> None:
        """Never called."""
        raise AssertionError("nothing is resumed here")


@pytest.fixture
def train(tmp_path: Path, fashion_data: Path) -> Train:
    """Train in this process; return the reports and the last metrics."""

    def run(seed: int = 1, **params: Any) -> tuple[list[Report], dict[str, float]]:
        host = Host()
        torch.manual_seed(seed)
        writer = RunWriter(tmp_path)
        spec = TrialSpec(number=0, params=params, seed=seed, dir=str(tmp_path))
        try:
            panels = Panels(writer, LogSpec(figures=False, images=False, graph=False), first=True)
            trial = Trial(spec, metric="validation/accuracy", device="cpu", panels=panels, host=host)
            trial.finish(fm.train(trial))
        finally:
            writer.close()
        return host.reports, dict(trial.metrics)

    return run


def test_images_are_bit_for_bit_what_totensor_gives(fashion_data: Path) -> None:
    """Every image of the test set, and every 50th of the training set, with their labels."""
    training, _, test = data.load("fashion_mnist", "cpu")
    to_tensor = ToTensor()
    for split, is_train, stride in ((test, False, 1), (training, True, 50)):
        theirs = torchvision_datasets.FashionMNIST(str(fashion_data), train=is_train, download=False)
        places = torch.arange(0, len(theirs), stride)
        ours = data.to_float(split.images[places])
        expected = torch.stack([to_tensor(theirs[int(place)][0]) for place in places])
        assert ours.dtype == expected.dtype == torch.float32
        assert torch.equal(ours, expected)
        assert split.labels[places].tolist() == [theirs[int(place)][1] for place in places]


def test_the_split_is_stratified_and_disjoint(fashion_data: Path) -> None:
    """55,000 to train, 5,000 to validate with 500 of each class, none in both; 10,000 to test."""
    training, validation, test = data.load("fashion_mnist", "cpu")
    assert (len(training), len(validation), len(test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(validation.labels[validation.index]).tolist() == [500] * 10
    assert torch.cat([training.index, validation.index]).sort().values.tolist() == list(range(60_000))
    assert test.images.data_ptr() != training.images.data_ptr() == validation.images.data_ptr()
    # The split is a part of every number that was ever compared: it must never change.
    assert validation.index[:5].tolist() == FIRST_VALIDATION_PLACES


FIRST_VALIDATION_PLACES = [6, 15, 61, 99, 118]


@pytest.mark.slow
def test_the_network_learns(train: Train) -> None:
    """One epoch on a fifth of the data reaches 0.72 on validation and test; every promised metric is reported."""
    reports, metrics = train(lr=0.002, batch_size=32, epochs=1, train_samples=11_000)
    assert [(report.step, report.total) for report in reports] == [(1, 1)]
    assert reports[0].metrics.keys() == set(fm.train.metrics) - {"test/accuracy", "test/samples"}  # type: ignore[attr-defined]  # set below it
    assert metrics.keys() == set(fm.train.metrics)  # type: ignore[attr-defined]  # as above
    assert metrics["validation/accuracy"] > 0.72
    assert metrics["test/accuracy"] > 0.72
    assert metrics["train/accuracy"] == metrics["train/correct"] / 11_000
    assert 0 < metrics["train/loss"] < 1.5


@pytest.mark.parametrize("model", ["cnn", "lenet5", "mlp"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_model_trains_with_every_optimizer(model: str, optimizer: str) -> None:
    """Ten steps on one batch lower the loss on it."""
    torch.manual_seed(0)
    p = {"lr": 0.0001, "weight_decay": 0.0001, "momentum": 0.5, "optimizer": optimizer}
    network = make_model(model)
    images = torch.randint(0, 256, (64, 28, 28), dtype=torch.uint8)
    split = data.Split(images=images, labels=torch.arange(64) % 10, index=torch.arange(64))
    before, *_ = fm.evaluate(network, split)
    optimizer_ = make_optimizer(network, p)
    steps = fm.steps_of(network, optimizer_, 64)
    for _ in range(10):
        assert len(list(fm.train_epoch(steps, split, torch.arange(64), 64, Epoch()))) == 1
    assert fm.evaluate(network, split)[0] < before


@pytest.mark.parametrize(("model", "parameters"), [("cnn", 32_998), ("lenet5", 61_706), ("mlp", 101_770)])
def test_the_models_have_the_sizes_of_their_papers(model: str, parameters: int) -> None:
    """The tutorials' CNN, LeNet-5 and one hidden layer."""
    assert sum(p.numel() for p in make_model(model).parameters()) == parameters


def tutorials_network(ours: nn.Sequential) -> nn.Sequential:
    """Return the tutorials' network, pooling after ReLU, with the parameters of ours."""
    conv1, conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 12, 5)
    rest = [nn.Flatten(), nn.Linear(192, 120), nn.ReLU(), nn.Linear(120, 60), nn.ReLU(), nn.Linear(60, 10)]
    theirs = nn.Sequential(conv1, nn.ReLU(), nn.MaxPool2d(2), conv2, nn.ReLU(), nn.MaxPool2d(2), *rest)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    return theirs


@pytest.mark.parametrize("images", [torch.rand(16, 1, 28, 28), torch.zeros(2, 1, 28, 28), torch.ones(1, 1, 28, 28)])
def test_the_cnn_is_the_tutorials_function(images: Tensor) -> None:
    """Equal outputs, and equal gradients but for the order of sums, also where all numbers of a pool are equal."""
    torch.manual_seed(0)
    ours = make_model("cnn")
    theirs = tutorials_network(ours)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-6)
    for network in (ours, theirs):
        F.cross_entropy(network(images), torch.arange(len(images)) % 10).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-4, atol=1e-6)


def test_convolution_pooling_and_relu_in_one_have_the_right_gradients() -> None:
    """Compared with numerical differences, for images, weights and biases; the first of equal numbers gets the gradient."""
    torch.manual_seed(0)
    layer = ConvPoolReLU(2, 3, 3).double()
    images = torch.rand(2, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: layer(images), (images, *layer.parameters()))
    flat = torch.ones(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    pooled = F.relu(F.max_pool2d(F.conv2d(flat, layer.weight, layer.bias), 2))
    mine, theirs = (torch.autograd.grad(result.sum(), flat)[0] for result in (layer(flat), pooled))
    torch.testing.assert_close(mine, theirs)


def test_a_precision_that_the_device_has_not_is_refused(train: Train) -> None:
    """TensorFloat-32 on a CPU and misspelled names fail the trial with a message."""
    for precision, words in (("tf32", "needs an NVIDIA GPU"), ("bfloat61", "did you mean 'bfloat16'")):
        with pytest.raises(ValueError, match=words):
            train(precision=precision, train_samples=100)


@pytest.mark.slow
def test_bfloat16_trains_with_float32_parameters(train: Train) -> None:
    """Its numbers differ from those of float32, and are close to them."""
    (full,), _ = train(epochs=1, train_samples=640)
    (half,), _ = train(epochs=1, train_samples=640, precision="bfloat16")
    assert full.metrics["train/loss"] != half.metrics["train/loss"]
    assert full.metrics["train/loss"] == pytest.approx(half.metrics["train/loss"], rel=0.02)


def test_the_images_are_mapped_and_a_write_stays_with_its_process() -> None:
    """All workers share the file's pages; a write changes neither the file nor another map."""
    data.load.cache_clear()
    first = data.load("fashion_mnist", "cpu")[2].images
    data.load.cache_clear()
    second = data.load("fashion_mnist", "cpu")[2].images
    before = int(second[0, 14, 14])
    first[0, 14, 14] = before ^ 1
    assert int(second[0, 14, 14]) == before
    maps = Path("/proc/self/maps").read_text()
    assert maps.count("t10k-images-idx3-ubyte") == 2
    data.load.cache_clear()


def test_an_epoch_that_pauses_adds_up_to_the_same_digits() -> None:
    """Wherever it is interrupted. A checkpoint of an earlier version, which has tensors, can still be read."""
    torch.manual_seed(0)
    batches = [Trained(losses=torch.rand(1), logits=torch.rand(32, 10), targets=torch.randint(0, 10, (32,))) for _ in range(7)]
    whole, parts = Epoch(), Epoch()
    for number, batch in enumerate(batches):
        whole.add(batch)
        parts.add(batch)
        if number in (1, 2, 5):
            parts = Epoch.again(parts.settle())
    assert whole.settle() == parts.settle()
    assert whole.settle()["batches"] == 7
    earlier = {
        "loss_sum": torch.tensor(2.5, dtype=torch.float64),
        "correct": torch.tensor(3),
        "loss": torch.rand(()),
        "batches": 2,
    }
    assert Epoch.again(earlier) == Epoch(batches=2, loss_sum=2.5, correct=3)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    """Shuffled: a different permutation for each epoch; otherwise the order of the files."""
    assert torch.equal(epoch_order(100, True, 7, 2), epoch_order(100, True, 7, 2))
    assert not torch.equal(epoch_order(100, True, 7, 2), epoch_order(100, True, 7, 3))
    assert not torch.equal(epoch_order(100, True, 7, 2), epoch_order(100, True, 8, 2))
    assert epoch_order(100, True, 7, 2).sort().values.tolist() == epoch_order(100, False, 7, 2).tolist() == list(range(100))


@pytest.mark.slow
def test_a_training_that_diverges_fails_with_that_reason(train: Train) -> None:
    """NaN fails the trial with a message that names the metric."""
    with pytest.raises(MetricNotFinite, match=r"validation/loss is nan at step 1: the training diverged"):
        train(lr=1e12, optimizer="sgd", momentum=0.9, epochs=2, train_samples=640, batch_size=32)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_rate": 1}, "fashion_mnist has no parameter 'learning_rate'"),
        ({"model": "cnm"}, "there is no model 'cnm'; did you mean 'cnn'?"),
        ({"optimizer": "adm"}, "there is no optimizer 'adm'; did you mean 'adam'?"),
        ({"dataset": "fashion"}, "there is no data set 'fashion'; did you mean 'fashion_mnist'?"),
        ({"batch_size": 0}, "batch_size must be a whole number above 0, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number above 0, got 1.5"),
    ],
)
def test_a_parameter_that_is_wrong_is_said(train: Train, params: dict[str, Any], message: str) -> None:
    """With a suggestion."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        train(**({"epochs": 1} | params))
    assert message in str(caught.value)


def test_a_split_that_cannot_be_even_is_refused() -> None:
    """Each class must have the same number."""
    with pytest.raises(ValueError, match="shared evenly"):
        data.stratified_split(torch.arange(20) % 10, 15)


def test_splits_are_values() -> None:
    """A split that all trials of a worker share cannot be changed."""
    split = data.Split(images=torch.zeros(1, 28, 28), labels=torch.zeros(1), index=torch.zeros(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.index = torch.ones(1)  # type: ignore[misc]  # that is the point
