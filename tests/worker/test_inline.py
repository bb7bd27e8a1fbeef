"""Trials inline: on the slot's GPU, of a machine that a file describes; and a worker's loop that breaks."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.executors.inline import InlineWorker
from sweep.worker.loop import serve
from sweep.worker.protocol import Channel, Died, Load, Loaded
from tests.support.fake_driver import fake_machine
from tests.support.studies import study_spec

OBJECTIVE = """
import pathlib, threading
def train(trial):
    pathlib.Path("device").write_text(trial.device)
    trial.report(1, {"score": 1})
"""


@pytest.mark.parametrize(
    ("visible", "index", "device", "current"),
    [("0,1,2,3,4,5", 5, "cuda:5", ["cuda:5"]), ("5,4", 1, "cuda:1", ["cuda:1"]), ("5", 0, "cuda", [])],
)
def test_an_inline_trial_computes_on_its_slots_gpu(
    monkeypatch: pytest.MonkeyPatch, here: Path, visible: str, index: int, device: str, current: list[str]
) -> None:
    """By its place among the visible ones; also code that says only `cuda` in the trial's thread, whose first GPU is 0."""
    fake_machine(monkeypatch, here, {"gpus": [{"uuid": f"GPU-{i}", "name": "T4"} for i in range(6)]})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    (here / "inline_objective.py").write_text(OBJECTIVE)
    study = study_spec({"x": 1}, objective="inline_objective:train", import_dir=here)
    worker = InlineWorker(plan_slots((index,), 1, 1)[0], functools.partial(serve, study))
    spec = TrialSpec(number=0, params={"x": 1}, seed=0, dir=str(here / "trial"))
    try:
        assert isinstance(worker.next_event(spec).result(60), Report)
        ended = worker.next_event(Decision.CONTINUE).result(60)
    finally:
        worker.close()
    assert isinstance(ended, TrialResult)
    assert ended.state is TrialState.COMPLETE
    assert (here / "device").read_text() == device
    assert chosen == current


def test_a_loop_that_breaks_is_begun_again() -> None:
    """The event says how, and the next command is obeyed."""
    begun = []

    def loop(channel: Channel, *_: object) -> None:
        begun.append(channel.recv())
        if len(begun) == 1:
            raise ValueError("broken")
        channel.send(Loaded(prepare=False))

    worker = InlineWorker(plan_slots("cpu", 1, 1)[0], loop)
    try:
        died = worker.next_event(Load()).result(60)
        assert isinstance(died, Died)
        assert "ValueError: broken" in died.log
        assert worker.next_event(Load()).result(60) == Loaded(prepare=False)
    finally:
        worker.close()
