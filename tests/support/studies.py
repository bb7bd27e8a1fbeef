"""The one place that makes studies: study files, their objectives, specs and records for unit tests, studies that have run.

Everything is made from the keys of a study file. Keys that a test does not give have the values of `KEYS`; a key that is
None is left out. Parameters are given as in a study file or in short: a list is `{values: ...}`, a scalar `{value: ...}`.

    study_text({"x": [1, 2], "steps": 3}, repeats=2)        # a study file's text
    study_spec({"x": {"min": 0, "max": 1}}, method="tpe")   # the same as a StudySpec
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep.study.file.reading import given_study
from sweep.study.record import TrialRecord, planned_record
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.command_line import run_sweep

OBJECTIVES = Path(__file__).with_name("objectives.py")
KEYS: dict[str, Any] = {
    "name": "study",
    "objective": "mine:train",
    "metric": {"name": "score", "goal": "maximize"},
    "method": "grid",
    "workers": {"devices": "cpu", "per_device": 1},
}


def study_keys(parameters: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return the keys of a study; without parameters it has no such key."""
    whole = KEYS | {"parameters": {name: _parameter(value) for name, value in parameters.items()} or None} | keys
    return {key: value for key, value in whole.items() if value is not None}


def _parameter(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return {"values": value} if isinstance(value, list) else {"value": value}


def study_text(parameters: Mapping[str, Any], **keys: Any) -> str:
    """Return the text of a study file, a line for each key; JSON is YAML."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in study_keys(parameters, **keys).items())


def study_spec(parameters: Mapping[str, Any], *, import_dir: Path = Path(), **keys: Any) -> StudySpec:
    """Return a study as it is read from its file, which is in `import_dir`; the objective need not be there."""
    return given_study(study_keys(parameters, **keys), import_dir=import_dir, find_objective=False)


def write_study(folder: Path, text: str, name: str = "study.yaml") -> Path:
    """Write a study file and return its path."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def write_objectives(folder: Path, module: str = "mine") -> None:
    """Write the tests' objectives beside a study file, as a module."""
    (folder / f"{module}.py").write_text(OBJECTIVES.read_text(encoding="utf-8"), encoding="utf-8")


def make_study(folder: Path, parameters: Mapping[str, Any], **keys: Any) -> Path:
    """Write a study file beside the tests' objectives and return its path."""
    write_objectives(folder)
    return write_study(folder, study_text(parameters, **keys))


def trial_record(number: int, state: TrialState = TrialState.COMPLETE, value: float | None = None, **fields: Any) -> TrialRecord:
    """Return the record of a trial that belongs to no study; its value is that of the first metric, if it has any."""
    value = next(iter(fields.get("metrics", {}).values()), None) if value is None else value
    defaults: dict[str, Any] = {"params": {}, "seed": 0, "folder": f"{number:04d}", "value": value}
    return TrialRecord(number=number, state=state, **(defaults | fields))


def run_record(
    study: StudySpec,
    number: int,
    params: dict[str, Any],
    value: float | None = None,
    *,
    repeat: int = 0,
    state: TrialState = TrialState.COMPLETE,
    **fields: Any,
) -> TrialRecord:
    """Return the record of a trial of this study, or of one of its repeats, with the seed and the folder that it would have."""
    metrics = {} if value is None else {study.metric.name: value}
    return replace(planned_record(study, number, params, repeat), state=state, value=value, metrics=metrics, **fields)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that has run: its folder, and its trials as `sweep trials` prints them, by number."""

    folder: Path
    trials: list[dict[str, Any]]

    @property
    def runs(self) -> list[str]:
        """Return the names of the runs."""
        return [Path(trial["dir"]).name for trial in self.trials]


def run_study(text: str, *overrides: str, folder: Path, code: int = 0) -> Study:
    """Run a study to its end, as a user does, and return what it is then."""
    done = run_sweep("run", str(write_study(folder, text)), *overrides, here=folder)
    assert done.code == code, done.out + done.err
    [study] = (folder / "runs").iterdir()
    trials = run_sweep("trials", str(study), "--format", "json", here=folder).json
    return Study(folder=study, trials=sorted(trials, key=lambda trial: int(trial["number"])))
