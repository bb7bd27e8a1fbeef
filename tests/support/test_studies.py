"""The makers of studies agree with each other: a text, a spec and records of the same study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.study.file.reading import read_study
from sweep.study.record import planned_record
from sweep.study.space import Choice, Constant, Range
from sweep.study.trial import TrialState
from tests.support.studies import run_record, study_spec, study_text, trial_record, write_study


def test_a_text_and_a_spec_are_the_same_study(tmp_path: Path) -> None:
    """In short or as in a study file; a key that is None is left out."""
    space = {"x": [1, "two", None], "lr": {"min": 1e-5, "max": 1.0, "log": True}, "steps": 3, "flag": True}
    keys: dict[str, Any] = {
        "metric": None,
        "metrics": [{"name": "a", "goal": "minimize"}],
        "method": "tpe",
        "repeats": 2,
        "budget": {"trials": 5},
    }
    spec = study_spec(space, **keys)
    assert spec.parameters == {
        "x": Choice(values=(1, "two", None)),
        "lr": Range(low=1e-5, high=1.0, log=True),
        "steps": Constant(value=3),
        "flag": Constant(value=True),
    }
    read = read_study(write_study(tmp_path, study_text(space, **keys)), import_dir=Path(), find_objective=False)
    assert read == spec


def test_records_have_the_values_of_their_studies() -> None:
    """A record of a study has its seed, its folder and the value of its metric."""
    spec = study_spec({"x": [1, 2]}, repeats=3)
    run = run_record(spec, 1, {"x": 2}, 0.5, repeat=2, duration_s=1.0)
    planned = planned_record(spec, 1, {"x": 2}, 2)
    assert (run.seed, run.folder, run.state) == (planned.seed, planned.folder, TrialState.COMPLETE)
    assert (run.value, run.metrics, run.duration_s) == (0.5, {"score": 0.5}, 1.0)
    assert trial_record(3, metrics={"a": 2.0, "b": 1.0}).value == 2.0
    assert trial_record(3, TrialState.FAILED).value is None
