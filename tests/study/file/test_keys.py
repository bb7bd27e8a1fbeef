"""The keys of the study file: what is derived from their one definition is complete and agrees."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.study.file.json_schema import json_schema
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import file_value, write_study
from sweep.study.keys import default_of, keys_of
from sweep.study.spec import StudySpec

KEYS = [key for key, _ in keys_of(StudySpec)]
# Every key has another value than its default, in one of these.
FULL: dict[str, Any] = {
    "name": "full",
    "objective": "sweep.objectives.toy:train",
    "metric": {"name": "loss", "goal": "minimize", "target": 0.5},
    "constraints": {"model/parameters": {"max": 50000}, "a b": {"min": 0.5, "max": 1}},
    "method": "tpe",
    "sampler": {"multivariate": True, "n_startup_trials": 5},
    "parameters": {
        "lr": {"min": 1e-5, "max": 1, "log": True},
        "kind": {"values": ["x", "true", True, None, 1e-3]},
        "depth": {"min": 1, "max": 9, "step": 2, "when": {"kind": ["x", True]}},
        "text": {"value": "0.1"},
        "layers": {"values": [[8, 16], [32], [], None]},
    },
    "enqueue": [{"lr": 1, "kind": "x"}],
    "seed": 3,
    "determinism": "strict",
    "repeats": {"count": 3, "allow_failed": 1},
    "budget": {"trials": 20, "time": "2h", "patience": 5, "epochs": 100},
    "pruner": {"type": "median", "n_warmup_steps": 2},
    "workers": {"devices": [0, 1], "per_device": 2, "threads": 3},
    "log": {"images": False, "batches": 7, "projector": True},
    "retries": 4,
    "max_steps": 50,
    "timeout": "1h30m",
    "checkpoints": {"keep_best": 1},
    "stop_after_failures": 2,
    "output": "there",
    "earlier": [{"lr": {"min": 0.1, "max": 1, "log": True}}],
}
OTHER = {key: value for key, value in FULL.items() if key not in ("objective", "metric", "pruner", "repeats", "workers")} | {
    "determinism": "off",
    "command": "python -c pass ${args}",
    "nested": ["optimizer"],
    "parameters": FULL["parameters"]
    | {
        "optimizer.lr": {"distribution": "normal", "round": 0.1},
        "parent": {"values": [7, 2]},
        "rate": {"inherited": [[7, 0.1], [2, [1, 2]]]},
        "momentum": {"inherited": [[2, 0.9]], "when": {"parent": [2]}},
    },
    "from": {"study": "/runs/first", "top": 2, "parents": [7, 2]},
    "budget": {"trials": 20, "unlimited": True},
    "cwd": "${dir}/work",
    "env": {"WANDB_MODE": "offline", "RATE": 0.1},
    "metrics": [{"name": "loss", "goal": "minimize"}, {"name": "score", "goal": "maximize", "target": 1}],
    "repeats": 2,
    "workers": {"devices": "cpu", "devices_per_trial": 2},
    "timeout": {"after": "90s", "then": "complete"},
}

# What each of them is written as since format 1. A new key adds a line and changes none of these.
WRITTEN = """\
# sweep format 1
name: "full"
objective: "sweep.objectives.toy:train"
metric: {name: "loss", goal: "minimize", target: 0.5}
constraints: {model/parameters: {max: 50000}, "a b": {min: 0.5, max: 1}}
method: "tpe"
parameters:
  lr: {min: 1e-05, max: 1, log: true}
  kind: {values: ["x", "true", true, null, 0.001]}
  depth: {min: 1, max: 9, step: 2, when: {kind: ["x", true]}}
  text: {value: "0.1"}
  layers: {values: [[8, 16], [32], [], null]}
sampler: {multivariate: true, n_startup_trials: 5}
enqueue: [{lr: 1.0, kind: "x"}]
seed: 3
determinism: "strict"
repeats: {count: 3, allow_failed: 1}
pruner: {type: "median", n_warmup_steps: 2}
budget: {trials: 20, time: 7200.0, patience: 5, epochs: 100}
workers: {devices: [0, 1], per_device: 2, threads: 3}
log: {images: false, graph: true, charts: true, batches: 7, histograms: true, pr_curves: true, figures: true, projector: true}
retries: 4
max_steps: 50
timeout: 5400.0
checkpoints: {keep_best: 1}
stop_after_failures: 2
output: "there"
earlier: [{lr: {min: 0.1, max: 1, log: true}}]
"""
WRITTEN_OTHER = """\
command: ["python", "-c", "pass", "${args}"]
cwd: "${dir}/work"
env: {WANDB_MODE: "offline", RATE: "0.1"}
nested: ["optimizer"]
metrics: [{name: "loss", goal: "minimize"}, {name: "score", goal: "maximize", target: 1}]
  optimizer.lr: {distribution: "normal", mu: 0.0, sigma: 1.0, round: 0.1}
  parent: {values: [7, 2]}
  rate: {inherited: [[7, 0.1], [2, [1, 2]]]}
  momentum: {inherited: [[2, 0.9]], when: {parent: [2]}}
from: {study: "/runs/first", top: 2, parents: [7, 2]}
repeats: 2
budget: {trials: 20, unlimited: true}
workers: {devices: "cpu", per_device: "auto", devices_per_trial: 2}
timeout: {after: 90.0, then: "complete"}
"""


def study_of(keys: dict[str, Any]) -> StudySpec:
    return given_study(keys, import_dir=Path())


def read_back(study: StudySpec) -> StudySpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(write_study(study), encoding="utf-8")
        return read_study(path, import_dir=Path(study.import_dir))


def test_every_field_of_a_study_is_a_key() -> None:
    """Except for the file's folder, what is told of it and whether it has parameters. Each has a description."""
    found = {field.name for field in dataclasses.fields(StudySpec) if not field.metadata}
    assert found == {"import_dir", "notes", "suggests"}
    assert all(key.description for key in KEYS)
    rows = [(key.name, key.description) for key in KEYS]
    properties = json_schema()["properties"]
    assert [(name, part["description"]) for name, part in properties.items()] == rows


def test_every_key_is_written() -> None:
    """In a study that has a value for it."""
    names = {line.partition(":")[0] for keys in (FULL, OTHER) for line in write_study(study_of(keys)).splitlines()}
    assert {key.name for key in KEYS} <= names


@pytest.mark.parametrize(("keys", "expected"), [(FULL, WRITTEN), (OTHER, WRITTEN_OTHER)])
def test_the_written_file_keeps_its_form(keys: dict[str, Any], expected: str) -> None:
    """To the byte and in this order: earlier and later versions read each other's folders."""
    written = write_study(study_of(keys)).splitlines()
    assert [line for line in written if line in expected.splitlines()] == expected.splitlines()


def test_a_key_that_earlier_programs_do_not_know_is_written_only_if_it_says_something() -> None:
    """They refuse unknown keys, and would refuse the folder of every study."""
    base = {key: value for key, value in FULL.items() if key != "determinism"}
    assert study_of(base).determinism == "default"
    for keys in (base, base | {"determinism": "default"}):
        assert "determinism" not in write_study(study_of(keys))


def test_a_default_may_be_written_out() -> None:
    """What the schema states as the default of a key changes nothing."""
    base = {key: FULL[key] for key in ("name", "objective", "metric")} | {"method": "grid", "parameters": {"x": {"value": 1}}}
    properties = json_schema()["properties"]
    stated = {key: part["default"] for key, part in properties.items() if part.get("default") is not None}
    defaults = {key.name: (key, default_of(key, field)) for key, field in keys_of(StudySpec)}
    assert set(stated) == {
        name
        for name, (key, default) in defaults.items()
        if default is not dataclasses.MISSING and file_value(key, default) is not None
    }
    assert study_of(base | stated) == study_of(base)


required = {name: st.just(FULL[name]) for name in ("name", "objective", "metric", "method", "parameters")}
optional = {name: st.just(value) for name, value in FULL.items() if name not in required}
repeats = st.builds(lambda more, failed: {"count": more + failed, "allow_failed": failed}, *[st.integers(1, 3)] * 2)
workers = st.fixed_dictionaries(
    {},
    optional={
        "devices": st.sampled_from(["auto", "cpu"]) | st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
        "per_device": st.just("auto") | st.integers(1, 4),
        "threads": st.none() | st.integers(1, 4),
    },
)
durations = st.floats(0.001, 1e6) | st.sampled_from(["30m", "0.5h", "1h30m", 90])
varied = {
    "seed": st.integers(0, 10**9),
    "repeats": st.integers(1, 5) | repeats,
    "max_steps": st.integers(1, 2**63 - 1),
    "timeout": durations | st.fixed_dictionaries({"after": durations}, optional={"then": st.sampled_from(["fail", "complete"])}),
    "workers": workers,
    "determinism": st.sampled_from(["strict", "default", "off"]),
}


@settings(deadline=None, max_examples=40)
@given(keys=st.fixed_dictionaries(required, optional=optional | varied))
def test_any_study_is_read_back_as_it_was_written(keys: dict[str, Any]) -> None:
    """Whichever keys it has."""
    study = study_of({"budget": {"trials": 3}} | keys)
    assert read_back(study) == study
