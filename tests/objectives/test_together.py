"""The built-in objective's groups, in this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.objectives import datasets, fashion_mnist, together
from sweep.objectives.fused import PRODUCTS
from sweep.objectives.images import Split
from sweep.study.trial import Decision, GroupSpec, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.protocol import Channel
from sweep.worker.several import run_group
from tests.support.studies import study_spec

LRS = [0.001, 0.003, 0.002]


def split(samples: int) -> Split:
    generator = torch.Generator().manual_seed(samples)
    images = torch.randint(0, 256, (samples, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (samples,), generator=generator)
    return Split(images=images, labels=labels, index=torch.arange(samples))


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, constants: dict[str, Any], asked: Callable[[], bool]) -> list[TrialResult]:
    """Train a group until its end, or until `asked` asks for a stop; return the members' results in their order."""
    data = split(800), split(100), split(100)
    monkeypatch.setattr(together, "load", lambda name, device: data)
    metric = {"name": "validation/accuracy", "goal": "maximize"}
    study = study_spec({"lr": LRS, **constants}, objective="sweep.objectives.fashion_mnist:train", metric=metric)
    folder.mkdir(exist_ok=True)
    specs = tuple(
        TrialSpec(number=number, params={"lr": lr, **constants}, seed=1, dir=str(folder / str(number)))
        for number, lr in enumerate(LRS)
    )
    sent: list[Any] = []
    channel = Channel(send=sent.append, recv=lambda: Decision.CONTINUE, stop_requested=asked)

    @contextlib.contextmanager
    def log_to(path: Path) -> Iterator[None]:
        yield

    group = GroupSpec(members=specs, wanted=frozenset(one.key for one in specs))
    sent += run_group(channel, fashion_mnist.train, group, study, plan_slots("cpu", 1, 1)[0], log_to)
    return [event for event in sent if isinstance(event, TrialResult)]


def test_a_stop_between_the_members_checkpoints_ends_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has made its checkpoint before the stop is asked for, the others after it; none has failed."""
    constants = {"batch_size": 16, "epochs": 1, "model": "mlp", "checkpoint_every": 10}
    results = run(tmp_path, monkeypatch, constants, (tmp_path / "1" / "checkpoint.pt").exists)
    assert [(result.state, result.cause) for result in results] == [(TrialState.WAITING, None)] * 3


def test_a_group_goes_on_with_the_convolutions_that_it_has_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are chosen by measuring, on a GPU, before the first step; not again, since their last bits differ."""
    constants = {"batch_size": 16, "epochs": 2, "model": "cnn", "checkpoint_every": 10}
    grouped = run(tmp_path / "grouped", monkeypatch, constants, lambda: False)
    assert not list(tmp_path.glob("measured")), "nothing is measured on a CPU"

    monkeypatch.setattr(together, "_MEASURED_ON", ("cpu",))
    monkeypatch.setattr(datasets, "cache_root", lambda: tmp_path)
    run(tmp_path / "measured here", monkeypatch, {**constants, "epochs": 1}, lambda: False)
    [choice] = (tmp_path / "measured").iterdir()
    found = json.loads(choice.read_text(encoding="utf-8"))
    assert found["for"].startswith("convolutions of 3 x cnn, batches of 16, float32; cpu; torch ")
    choice.write_text(json.dumps({**found, "fastest": PRODUCTS}), encoding="utf-8")  # as if a GPU had measured so

    whole = run(tmp_path / "whole", monkeypatch, constants, lambda: False)
    part = run(tmp_path / "part", monkeypatch, constants, (tmp_path / "part" / "2" / "checkpoint.pt").exists)
    assert {result.state for result in part} == {TrialState.WAITING}
    choice.unlink()
    monkeypatch.setattr(together, "fastest", None)  # measuring now would raise
    rest = run(tmp_path / "part", monkeypatch, constants, lambda: False)
    assert [result.metrics for result in rest] == [result.metrics for result in whole]
    assert [result.metrics for result in whole] != [result.metrics for result in grouped]
    assert whole[0].metrics["validation/loss"] == pytest.approx(grouped[0].metrics["validation/loss"], rel=1e-3)
