"""What a GPU's failure costs: the trial that it happens in. Sessions, processes and trials are real, the GPUs are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.study.trial import TrialState
from tests.support.gpu_sessions import gpu_slots, run_on

ONE_ASSERT = """
def train(trial):
    use_device()
    if trial.params["x"] == 1:
        hurt_device()
    trial.report(1, {"score": os.getpid()})
"""


def test_one_error_on_a_gpu_costs_one_trial(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process, in which every later trial would fail at once, is replaced; without an error it is kept."""
    outcome, _ = run_on(gpu_slots(1), ONE_ASSERT, {"x": [0, 1, 2, 3, 4]}, here, monkeypatch)
    assert [trial.number for trial in outcome.records if trial.state is TrialState.FAILED] == [1]
    failed = outcome.records[1]
    assert failed.cause == "device-error"
    assert (failed.error or "").splitlines()[-1].endswith("CUDA error: device-side assert triggered")
    first, *others = [trial.value for trial in outcome.records if trial.value is not None]
    assert len(set(others)) == 1
    assert first not in others


OWN_ERRORS = """
from sweep.worker.endings import TrialFailed
def train(trial):
    x = trial.params["x"]
    if x == 1:
        raise TrialFailed("no such layer")
    if x == 2:
        trial.report(1, {"score": float("nan")})
    if x == 4:
        raise ValueError("no batch of this size")
    trial.report(1, {"score": os.getpid()})
"""


@pytest.mark.slow
def test_what_the_program_says_itself_replaces_no_process(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that is given up, and one that diverged, leave the process as it is; any other exception on a GPU does not."""
    outcome, _ = run_on(gpu_slots(1), OWN_ERRORS, {"x": [0, 1, 2, 3, 4, 5]}, here, monkeypatch)
    assert [trial.cause for trial in outcome.records] == [None, "exception", "not-finite", None, "exception", None]
    before, then, after = [trial.value for trial in outcome.records if trial.value is not None]
    assert before == then != after


@pytest.mark.slow
def test_a_swallowed_error_is_found_after_the_trial(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective that catches it and gives up, or even goes on, leaves a dead device to nobody."""
    objective = """
torch.cuda.is_initialized = lambda: True
torch.cuda.current_device = lambda: 0
torch.cuda.synchronize = torch.cuda.empty_cache = use_device
torch.cuda.reset_peak_memory_stats = lambda: None
def train(trial):
    use_device()
    if trial.params["x"] == 1:
        try:
            hurt_device()
        except RuntimeError:
            pass
    trial.report(1, {"score": os.getpid()})
"""
    outcome, _ = run_on(gpu_slots(1), objective, {"x": [0, 1, 2]}, here, monkeypatch)
    assert [trial.state for trial in outcome.records] == [TrialState.COMPLETE] * 3
    assert outcome.records[0].value == outcome.records[1].value != outcome.records[2].value
    log = here / "runs" / "study" / outcome.records[1].folder / "log.txt"
    assert "a CUDA that reports errors only" in log.read_text()
