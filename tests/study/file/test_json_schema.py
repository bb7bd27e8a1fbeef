"""The JSON schema for editors: what it accepts and refuses, compared with the program's own checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweep.errors import StudyFileError
from sweep.study.file.json_schema import json_schema
from sweep.study.file.parameters import Parameter
from sweep.study.file.reading import given_study
from sweep.study.file.schema import StudyModel
from sweep.study.file.source import read_source
from sweep.study.methods import SAMPLERS
from tests.conftest import REPOSITORY, Cli

SOUND: dict[str, Any] = {
    "name": "study",
    "objective": "sweep.objectives.toy:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "method": "random",
    "parameters": {"x": {"values": [0.1, 0.2]}, "y": {"min": 0.0, "max": 1.0}},
    "budget": {"trials": 3},
}


@pytest.fixture(scope="module")
def validator() -> Any:
    """Return a validator, which editors use, too."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def changed(key: str, value: Any) -> dict[str, Any]:
    """Return the sound study with another value under a dotted key."""
    study: dict[str, Any] = json.loads(json.dumps(SOUND))
    *parents, last = key.split(".")
    node = study
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return study


@pytest.mark.parametrize("path", sorted((REPOSITORY / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_studies_fit_the_schema(validator: Any, path: Path) -> None:
    """Every example study fits."""
    validator.validate(read_source(path.name, path.read_text(encoding="utf-8"), (), {}).data)


def test_it_is_printed(cli: Cli) -> None:
    """Only the schema is on stdout, and it lists the methods."""
    printed = cli("schema").json
    assert printed == json_schema()
    assert printed["properties"]["method"]["enum"] == ["grid", *SAMPLERS]


def test_every_key_has_a_description_and_a_type(validator: Any) -> None:
    """At the top and one level below, every key has a description and a type."""
    schema = validator.schema
    places = {"": schema["properties"]} | {name: part["properties"] for name, part in schema["$defs"].items()}
    assert set(places[""]) == set(StudyModel.model_fields)
    assert set(places["Parameter"]) == set(Parameter.model_fields)
    for name, properties in places.items():
        for key, part in properties.items():
            assert part.get("description"), f"{name}.{key} has no description"
            assert {"type", "anyOf", "$ref", "enum", "const"} & part.keys(), f"{name}.{key} may be anything"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", "1h30m"),
        ("timeout", 90),
        ("timeout", "0.5h"),
        ("budget.time", "2h"),
        ("workers", {"devices": [0, 1], "per_device": "auto", "threads": 2}),
        ("workers", {"devices": "cpu", "per_device": 2, "devices_per_trial": 2}),
        ("metric.target", 0.5),
        ("parameters.p", {"value": None}),
        ("parameters.p", {"value": "word"}),
        ("parameters.p", {"values": [True, "yes", 3, None]}),
        ("parameters.p", {"min": 1, "max": 8}),
        ("parameters.p", {"min": 1e-4, "max": 1e-1, "log": True}),
        ("parameters.p", {"min": 0, "max": 1, "step": 0.1}),
        ("parameters.p", {"distribution": "uniform", "min": 0, "max": 1}),
        ("parameters.p", {"distribution": "log_uniform_values", "min": 1, "max": 10}),
        ("parameters.p", {"distribution": "int_uniform", "min": 0, "max": 5}),
        ("parameters.p", {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}),
        ("parameters.p", {"distribution": "constant", "value": 3}),
        ("parameters.p", {"distribution": "categorical", "values": ["a", "b"]}),
        ("earlier", [{"x": {"values": [0.1]}}]),
    ],
)
def test_what_the_program_takes_the_schema_takes(validator: Any, key: str, value: Any) -> None:
    """Each value is accepted in all its forms."""
    study = changed(key, value)
    given_study(study, import_dir=Path())
    validator.validate(study)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", "soon"),
        ("timeout", ""),
        ("timeout", 0),
        ("timeout", True),
        ("workers.devices", "gpu"),
        ("workers.devices", []),
        ("workers.devices", [0, 0]),
        ("workers.per_device", 0),
        ("workers.devices_per_trial", 0),
        ("workers.thread", 1),
        ("metric.goal", "maximise"),
        ("metric.target", "high"),
        ("method", "gridd"),
        ("objective", "no colon"),
        ("name", "a/path"),
        ("seed", -1),
        ("seeds", 1),
        ("parameters", {}),
        ("parameters.p", 3),
        ("parameters.p", {}),
        ("parameters.p", {"values": []}),
        ("parameters.p", {"values": [1, 1]}),
        ("parameters.p", {"values": [{"a": 1}]}),
        ("parameters.p", {"value": 1, "values": [1]}),
        ("parameters.p", {"min": 1}),
        ("parameters.p", {"min": 1, "max": "many"}),
        ("parameters.p", {"min": 1, "max": 2, "distribution": "normal"}),
        ("parameters", {"a..b": {"value": 1}}),
        ("earlier", [{"x": {"valus": [0.1]}}]),
        ("earlier", [{".b": {"value": 1}}]),
    ],
)
def test_what_the_schema_refuses_the_program_refuses(validator: Any, key: str, value: Any) -> None:
    """No editor marks a mistake in a study file that runs."""
    study = changed(key, value)
    assert not validator.is_valid(study)
    with pytest.raises(StudyFileError):
        given_study(study, import_dir=Path())
