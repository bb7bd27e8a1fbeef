"""What a study that goes on from others' trials inherits: parameters, and the conditions on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import StudyFileError
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import write_study
from sweep.study.spec import StudySpec
from sweep.study.trial import Params
from tests.support.studies import study_keys

PARENTS: dict[int, Params] = {
    7: {"optimizer": "sgd", "momentum": 0.9, "layers": (8, 4), "lr": 0.1},
    2: {"optimizer": "adam", "layers": (16,), "lr": 0.01},
    5: {"optimizer": "sgd", "momentum": 0.5, "layers": (16,), "lr": 0.1},
}


def inherited(parameters: dict[str, Any], find: Any = None, **keys: Any) -> StudySpec:
    start = {"from": {"study": "runs/first", "top": 3}}
    whole = study_keys(parameters, **{"objective": "sweep.objectives.toy:train"} | start | keys)
    return given_study(whole, import_dir=Path(), find_parents=find or (lambda *_: PARENTS))


def points(study: StudySpec) -> list[dict[str, Any]]:
    return [study.grid.point(number) for number in range(study.grid.size)]


def test_what_the_file_does_not_name_is_the_parents() -> None:
    """A parent without a parameter has none; the file's own come last, and vary fastest."""
    study = inherited({"lr": [0.3, 0.4], "steps": 9})
    assert points(study) == [
        {"parent": number, **{k: v for k, v in PARENTS[number].items() if k != "lr"}, "lr": lr, "steps": 9}
        for number in (7, 2, 5)
        for lr in (0.3, 0.4)
    ]
    assert study.start is not None
    assert study.start.parents == (7, 2, 5)
    assert study.given(points(study)[0]) == {k: v for k, v in points(study)[0].items() if k != "parent"}


def test_conditions_on_what_is_inherited_select_parents() -> None:
    """Those whose value fulfils them; two of them together, too."""
    study = inherited({"nesterov": {"values": [True, False], "when": {"optimizer": "sgd", "layers": [[16]]}}})
    assert [(point["parent"], point.get("nesterov")) for point in points(study)] == [(7, None), (2, None), (5, True), (5, False)]
    both = inherited({"nesterov": {"value": True, "when": {"parent": 7, "optimizer": "sgd"}}})
    assert [point["parent"] for point in points(both) if "nesterov" in point] == [7]
    with pytest.raises(StudyFileError, match="1 problem") as raised:
        inherited({"nesterov": {"value": True, "when": {"optimizer": "lion"}}})
    assert "optimizer is never 'lion'" in str(raised.value)


def test_the_resolved_file_is_read_back(tmp_path: Path) -> None:
    """Without anything else: the parents need not be found again."""
    study = inherited({"steps": 9})
    path = tmp_path / "study.yaml"
    path.write_text(write_study(study))
    assert read_study(path, import_dir=Path()) == study


def test_a_search_draws_parents_and_its_own() -> None:
    """A file without parameters of its own is a study, too."""
    found = inherited({}, method="tpe", budget={"trials": 3})
    assert list(found.parameters) == ["parent", "optimizer", "momentum", "layers", "lr"]
    assert inherited({}).points == 3


@pytest.mark.parametrize(
    ("name", "first", "output", "round_name"),
    [
        ("mine", "runs/mine", "runs", "mine-round-2"),
        ("mine", "runs/mine-round-2", "runs", "mine-round-3"),
        ("mine", "runs/../runs/mine-round-9/", "./runs", "mine-round-10"),
        ("mine", "other/mine", "runs", "mine"),
        ("mine", "runs/mine2", "runs", "mine"),
        ("mine", "runs/mine-round-x", "runs", "mine"),
        ("given", "runs/mine", "runs", "given"),
        ("m.ne", "runs/mine", "runs", "m.ne"),
    ],
)
def test_a_round_of_the_same_study_has_a_name_of_its_own(name: str, first: str, output: str, round_name: str) -> None:
    """The next number; any other study keeps its name."""
    asked: list[tuple[Any, ...]] = []

    def find(*words: Any) -> Mapping[int, Params]:
        asked.append(words)
        return PARENTS

    study = inherited({}, find, name=name, output=output, **{"from": {"study": first}})
    assert study.name == round_name
    assert asked == [(Path(os.path.realpath(first)), 1, Path("runs", round_name).resolve())]


def test_a_folder_is_the_same_by_each_of_its_names(here: Path) -> None:
    """Also through a link: the study is the same, and the next round beside it has the next number."""
    (here / "disk" / "mine").mkdir(parents=True)
    (here / "runs").symlink_to("disk")
    starts = [inherited({}, name="mine", **{"from": {"study": f"{place}/mine"}}) for place in ("runs", "disk", here / "runs")]
    assert [study.name for study in starts] == ["mine-round-2"] * 3
    assert [study.start.study for study in starts if study.start] == [str((here / "disk" / "mine").resolve())] * 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"from": {"study": "runs/first", "top": 0}}, "from.top: input should be greater than 0, got 0"),
        ({"from": {"top": 3}}, "from.study: missing"),
        ({"from": {"study": "a\0b"}}, "from.study: must be some text"),
        ({"output": "a\0b"}, "output: must be some text"),
        ({"from": "runs/first"}, "write from: {study: runs/first}"),
        ({"parameters": {"parent": {"value": 1}}}, "parameters.parent: a study with the key from has a parameter parent already"),
        ({"parameters": {"x": {"inherited": [[1, 2]]}}, "from": None}, "parameters.x: is inherited from no trial"),
        ({"parameters": {"x": {"inherited": [1, 2]}}}, "parameters.x.inherited: must be numbers of trials with values"),
        ({"parameters": {"x": {"inherited": [[9, 2]]}}}, "parameters.x: is inherited from no trial"),
        ({"command": "python -c pass ${lr} ${parent}", "objective": None}, "${parent} is neither a parameter nor a placeholder"),
        ({"command": "python -c pass ${lr} ${step}", "objective": None}, "from: a script that goes on from ${step} by itself"),
    ],
)
def test_what_is_wrong_is_said(keys: dict[str, Any], message: str) -> None:
    """Each by its key."""
    with pytest.raises(StudyFileError) as raised:
        inherited(**{"parameters": {"steps": 9}, **keys})
    assert message in str(raised.value)
