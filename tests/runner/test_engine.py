"""What is to run the workers is looked for before anything starts."""

from __future__ import annotations

from importlib import metadata

import pytest

from sweep.errors import SweepError
from sweep.runner.engine import check_engine
from sweep.study.spec import WorkersSpec
from sweep.worker.executors.ray.cluster import asked_text

RAY = WorkersSpec(engine="ray")


def test_this_machine_needs_nothing() -> None:
    """In this process or in others."""
    check_engine(WorkersSpec())
    check_engine(WorkersSpec(), inline=True)


def test_a_cluster_needs_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how it is installed."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(SweepError, match="Ray is not installed") as caught:
        check_engine(RAY)
    assert caught.value.id == "no-ray"
    assert "pip install ray" in str(caught.value)


def test_inline_is_not_on_a_cluster() -> None:
    """The message says what to type."""
    with pytest.raises(SweepError, match="in this process and on a Ray cluster") as caught:
        check_engine(RAY, inline=True)
    assert "workers.engine=local" in str(caught.value)


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        (WorkersSpec(), "1 CPU, 1 GPU; without GPUs 1 CPU"),
        (WorkersSpec(devices="cpu", threads=4), "4 CPU"),
        (WorkersSpec(devices="cpu", devices_per_trial=2), "2 CPU"),
        (WorkersSpec(per_device=4, resources={"spot": 1}), "1 CPU, 0.25 GPU, 1 spot; without GPUs 1 CPU, 1 spot"),
        (WorkersSpec(devices_per_trial=2, threads=3), "3 CPU, 2 GPU; without GPUs 6 CPU"),
    ],
)
def test_what_a_trial_asks_for(workers: WorkersSpec, text: str) -> None:
    """With GPUs and without, where that makes a difference."""
    assert asked_text(workers) == text
