"""Run studies on the GPU and compare what came of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.study.record import TrialRecord
from tests.conftest import REPOSITORY
from tests.support.command_line import Done, run_sweep
from tests.support.reading import records
from tests.support.studies import study_text, write_study

FASHION = str(REPOSITORY / "studies" / "fashion.yaml")
_OBJECTIVES = Path(__file__).with_name("objectives.py")
_LIMIT_S = 280


def run(objective: str, here: Path, values: list[int], name: str = "study", **workers: Any) -> tuple[Done, list[TrialRecord]]:
    """Run a grid of x over one of `objectives`, on the first GPU; return how it ended, and its trials."""
    study = write(objective, here, values, name, **workers)
    done = run_sweep("run", str(study), here=here, timeout=_LIMIT_S)
    return done, records(here / "runs" / name)


def write(objective: str, here: Path, values: list[int], name: str = "study", **workers: Any) -> Path:
    """Write such a study; one slot if not said otherwise."""
    shutil.copy(_OBJECTIVES, here / "mine.py")
    keys: dict[str, Any] = {"workers": {"devices": [0], "per_device": 1} | workers}
    return write_study(here, study_text({"x": values}, name=name, objective=f"mine:{objective}", **keys))


def fashion(here: Path, name: str, *overrides: str) -> list[TrialRecord]:
    """Run the twelve trials on the first GPU; return them when all are complete."""
    done = run_sweep("run", FASHION, f"name={name}", "workers.devices=[0]", *overrides, here=here, timeout=_LIMIT_S)
    print(done.out)  # pytest shows it with -rP: figures for the log
    assert done.code == 0, done.out + done.err
    return records(here / "runs" / name)


def results(trials: list[TrialRecord]) -> list[dict[str, float]]:
    """Return the trials' last metrics without the times."""
    return [_without_times(trial.metrics) for trial in trials]


def without_times(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outcomes (`reading.outcome`) without the times among their metrics."""
    return [{**trial, "metrics": _without_times(trial["metrics"])} for trial in outcomes]


def _without_times(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}
