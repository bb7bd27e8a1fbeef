"""How many trials share a GPU, measured; and beside NVIDIA's Multi-Process Service, in a daemon of the test's own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.study.trial import TrialState
from tests.gpu.running import fashion, results

MPS = "nvidia-cuda-mps-control"


def test_auto_decides_and_says_why(here: Path, fashion_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The decision has figures in it; all trials end."""
    trials = fashion(here, "auto", "epochs.value=3")
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert "steps a second" in capsys.readouterr().out


@pytest.fixture
def mps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A daemon that serves this test alone."""
    if shutil.which(MPS) is None:
        pytest.skip(f"{MPS} is not installed")
    for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path))
    subprocess.run([MPS, "-d"], check=True, timeout=30)
    yield
    subprocess.run([MPS], input="quit\n", text=True, check=False, timeout=30)


def test_trials_share_a_gpu_through_mps(here: Path, fashion_data: Path, mps: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve at a time have the numbers that one at a time has."""
    alone = fashion(here, "alone", "epochs.value=1", "workers.per_device=1")
    together = fashion(here, "together", "epochs.value=1", "workers.per_device=12")
    assert results(together) == results(alone)
    assert "MPS" in capsys.readouterr().out
