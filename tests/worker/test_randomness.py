"""The random number generators of a trial: seeded, stored and restored; CUDA's also where CUDA is initialised later.

CUDA is simulated here (tests/support/simulated_cuda.py); tests/gpu has what needs a GPU.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from sweep.storage.folder import CHECKPOINT
from sweep.study.trial import Decision, Position, TrialResult, TrialSpec, TrialState
from sweep.worker import checkpoint
from sweep.worker.checkpoint import Checkpoint
from sweep.worker.devices import plan_slots
from sweep.worker.gpus import Gpu
from sweep.worker.handle import Trial
from sweep.worker.randomness import random_states, restore_random_states, seed_all
from sweep.worker.single import run_trial
from tests.support.simulated_cuda import drawn_on_gpu, simulate
from tests.support.studies import study_spec
from tests.worker.script.conftest import Line

NewProcess = Callable[..., None]


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> NewProcess:
    """Make CUDA available, and not initialised: as in a worker on a GPU that has just started."""

    def begin(gpus: int = 1) -> None:
        simulate(gpus, monkeypatch.setattr)

    begin()
    return begin


def test_generators_continue_where_they_were(tmp_path: Path) -> None:
    """Python's, NumPy's and torch's, through a checkpoint."""

    def draw() -> list[float]:
        return [random.random(), numpy.random.random(), numpy.random.normal(), torch.rand(()).item()]

    draw()
    who = checkpoint.identity(0, {}, 1)
    checkpoint.save(tmp_path, Checkpoint(identity=who, position=Position(), state={}, randomness=random_states()))
    expected = [draw(), draw()]
    restore_random_states(checkpoint.read(tmp_path / CHECKPOINT).randomness)
    assert [draw(), draw()] == expected


def test_a_seed_decides_what_every_generator_draws(new_process: NewProcess) -> None:
    """CUDA's too, which is initialised later; and again in the next trial of the process, in which it is."""
    seen = []
    for _ in range(2):
        seed_all(7, "cuda")
        seen.append([random.random(), numpy.random.random(), torch.rand(()).item(), drawn_on_gpu()])
    assert seen[0] == seen[1]


def test_a_restored_state_outlives_an_initialisation_that_comes_later(new_process: NewProcess) -> None:
    """On each GPU; the seed that the trial has got before is not set again."""
    new_process(2)
    seed_all(7, "cuda")
    drawn_on_gpu(0)
    states = random_states()
    expected = [drawn_on_gpu(0), drawn_on_gpu(1), drawn_on_gpu(0)]
    new_process(2)
    seed_all(7, "cuda")
    restore_random_states(states)
    assert not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    assert [drawn_on_gpu(0), drawn_on_gpu(1), drawn_on_gpu(0)] == expected


def test_a_state_that_waits_for_the_initialisation_is_in_the_next_checkpoint(new_process: NewProcess) -> None:
    """A trial that is interrupted once more before it uses the GPU; the next trial of the process does not have it."""
    drawn_on_gpu()
    states = random_states()
    expected = drawn_on_gpu()
    for _ in range(2):
        new_process()
        seed_all(7, "cuda")
        restore_random_states(states)
        states = random_states()
    assert drawn_on_gpu() == expected
    new_process()
    seed_all(7, "cuda")
    restore_random_states(states)
    seed_all(7, "cuda")
    assert "cuda" not in random_states()


def test_a_state_is_restored_at_once_where_cuda_is_in_use(new_process: NewProcess) -> None:
    """As when the model is made on the GPU before the state is read."""
    drawn_on_gpu()
    states = random_states()
    expected = drawn_on_gpu()
    drawn_on_gpu()
    restore_random_states(states)
    assert drawn_on_gpu() == expected


@pytest.mark.parametrize("seed", [torch.manual_seed, torch.cuda.manual_seed, lambda seed: seed_all(seed, "cuda")])
def test_a_seed_that_comes_after_a_restored_state_counts(new_process: NewProcess, seed: Callable[[int], Any]) -> None:
    """The objective's own, or that of the process's next trial, which starts anew."""
    drawn_on_gpu()
    states = random_states()
    new_process()
    seed_all(5, "cuda")
    expected = drawn_on_gpu()
    new_process()
    restore_random_states(states)
    seed(5)
    assert drawn_on_gpu() == expected


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_states_of_other_gpus_are_not_used(new_process: NewProcess, gpus: int) -> None:
    """A checkpoint of a machine with another number of GPUs: the seed is what counts, and a CPU has nothing to restore."""
    drawn_on_gpu()
    states = random_states()
    seen = []
    for restored in (False, True):
        new_process(gpus)
        seed_all(5, "cuda")
        if restored:
            restore_random_states(states)
        seen.append([drawn_on_gpu(gpu) for gpu in range(gpus)])
    assert seen[0] == seen[1]


def test_a_function_that_uses_the_gpu_after_it_has_read_its_state_continues_its_random_numbers(
    new_process: NewProcess, tmp_path: Path
) -> None:
    """In a loop of its own: nothing restores the generators once more when the steps begin."""

    def train(trial: Trial) -> None:
        state = trial.state or {"total": 0.0, "step": 0}
        total = state["total"]
        for step in range(state["step"] + 1, 5):
            total += drawn_on_gpu()
            trial.report(step, {"score": total}, {"total": total, "step": step})

    def attempt(folder: str, line: Line) -> TrialResult:
        new_process()
        study, slot = study_spec({"x": 1}), plan_slots("auto", 1, 1, gpus=[Gpu(uuid="0", index="0")])[0]
        spec = TrialSpec(number=0, params={"x": 1}, seed=3, dir=str(tmp_path / folder))
        return run_trial(line.channel, train, spec, study, slot, lambda _: contextlib.nullcontext())

    whole = attempt("whole", Line())
    assert whole.state is TrialState.COMPLETE
    assert attempt("cut", Line([Decision.CONTINUE, Decision.STOP])).state is TrialState.WAITING
    assert attempt("cut", Line()) == whole
