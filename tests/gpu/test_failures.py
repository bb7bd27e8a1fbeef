"""One CUDA error, or one trial without enough memory, costs one trial."""

from __future__ import annotations

from pathlib import Path

from sweep.study.record import TrialRecord
from sweep.study.trial import TrialState
from tests.gpu.running import run

EIGHT = list(range(8))


def failed(trials: list[TrialRecord]) -> list[int]:
    return [trial.number for trial in trials if trial.state is TrialState.FAILED]


def test_a_device_side_assert_fails_one_trial(here: Path) -> None:
    """The process's context is dead afterwards: the next trial has another process."""
    done, trials = run("hurts", here, EIGHT)
    assert done.code == 1, done.out + done.err
    assert failed(trials) == [1]
    assert [trial.metrics["score"] for trial in trials if trial.number != 1] == [3, 5, 6, 7, 8, 9, 10]


def test_a_trial_that_needs_too_much_memory_fails_alone(here: Path) -> None:
    """It says how much there is."""
    done, trials = run("hungry", here, EIGHT)
    assert done.code == 1, done.out + done.err
    assert failed(trials) == [1]
    assert "memory ran out" in (trials[1].error or "")


def test_memory_is_given_back_between_trials(here: Path) -> None:
    """Each takes 60 % of it, in the same process if it can be, and its model is a cycle."""
    done, trials = run("large", here, [0, 1, 2])
    assert done.code == 0, done.out + done.err
    assert failed(trials) == []


def test_trials_that_fit_only_alone_end_alone(here: Path) -> None:
    """Two at a time take 120 %: one is put back, its slot is closed, and nothing fails."""
    done, trials = run("large", here, [0, 1, 2], per_device=2)
    print(done.out)
    assert done.code == 0, done.out + done.err
    assert failed(trials) == []
