"""The built-in objective's groups, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.objectives import fashion_mnist, together
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


def test_a_stop_between_the_members_checkpoints_ends_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has made its checkpoint before the stop is asked for, the others after it; none has failed."""
    data = split(800), split(100), split(100)
    monkeypatch.setattr(together, "load", lambda name, device: data)
    constants: dict[str, Any] = {"batch_size": 16, "epochs": 1, "model": "mlp", "checkpoint_every": 10}
    metric = {"name": "validation/accuracy", "goal": "maximize"}
    study = study_spec({"lr": LRS, **constants}, objective="sweep.objectives.fashion_mnist:train", metric=metric)
    specs = tuple(
        TrialSpec(number=number, params={"lr": lr, **constants}, seed=1, dir=str(tmp_path / str(number)))
        for number, lr in enumerate(LRS)
    )
    sent: list[Any] = []
    asked = (tmp_path / "1" / "checkpoint.pt").exists
    channel = Channel(send=sent.append, recv=lambda: Decision.CONTINUE, stop_requested=asked)

    @contextlib.contextmanager
    def log_to(path: Path) -> Iterator[None]:
        yield

    group = GroupSpec(members=specs, wanted=frozenset(one.key for one in specs))
    sent += run_group(channel, fashion_mnist.train, group, study, plan_slots("cpu", 1, 1)[0], log_to)
    results = [event for event in sent if isinstance(event, TrialResult)]
    assert [(result.state, result.cause) for result in results] == [(TrialState.WAITING, None)] * 3
