"""Which parameters are swept, and their values."""

from __future__ import annotations

from typing import Any

import pytest

from sweep.objectives.training import DEFAULTS
from sweep.study.starting.declared import Option
from sweep.study.starting.proposals import MOST_SWEPT, is_search, proposals
from sweep.study.starting.starts import BUILT_IN
from sweep.study.starting.text import sound


def option(name: str, default: Any = None, **more: Any) -> Option:
    kind = {bool: "flag", int: "int", float: "float", str: "text", list: "int", type(None): "float"}[type(default)]
    return Option(name=name, default=default, **{"kind": kind, **more})


def values(one: Option) -> list[Any]:
    return [*proposals([one])[0].values]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (option("lr", 0.001), [0.0003, 0.001, 0.003]),
        (option("optimizer.lr", 1.0), [0.3, 1.0, 3.0]),
        (option("learning-rate"), [0.0003, 0.001, 0.003]),
        (option("batch-size", 64), [32, 64, 128]),
        (option("batch_size", 64, low=1, high=96), [32, 64]),
        (option("batch_size", 1), [1, 2]),
        (option("weight_decay", 0.0), [0.0, 0.0001, 0.01]),
        (option("wd", 1e-4), [0.0, 0.0001, 0.001]),
        (option("dropout", 0.1), [0.0, 0.1, 0.5]),
        (option("momentum", 0.9), [0.0, 0.9]),
        (option("num_layers", 1), [1, 2]),
        (option("gamma", 0.7), [0.1, 0.7, 0.9]),
        (option("gamma", 0.99), [0.97, 0.99, 0.997]),
        (option("clip", 0.25), [0.08, 0.25, 0.8]),
        (option("shift", 0.0), []),
        (option("shift", -1.0), []),
        (option("amp", False), [False, True]),
        (option("optimizer", "adam", choices=["sgd", "adam"]), ["sgd", "adam"]),
        (option("arch", "a", choices=[str(number) for number in range(85)]), []),
        (option("layers", [8, 16], several=True), []),
        (option("lr", 0.1, kind="other", why="it may be given several times"), []),
        (option("name", "x"), []),
    ],
)
def test_the_values_around_a_default(one: Option, expected: list[Any]) -> None:
    """Three numbers, all choices, both states; nothing where nothing is known."""
    assert values(one) == expected


def test_what_is_swept_at_first() -> None:
    """The usual hyperparameters, a few of them; epochs are constants; the rest waits."""
    defaults = {"epochs": 14, "test-batch-size": 1000, "gamma": 0.7, "batch-size": 64, "lr": 1.0, "dry-run": False, "seed": 1}
    found = proposals([option(name, default) for name, default in (defaults | {"log-interval": 10, "start-epoch": 0}).items()])
    assert [one.option.name for one in found if one.swept] == ["batch-size", "lr"]
    assert [one.option.name for one in found if one.constant] == ["epochs"]
    many = [option(name, 0.5) for name in ("dropout", "momentum", "wd", "lr")] + [option("width", 8), option("num-layers", 3)]
    assert sum(one.swept for one in proposals(many)) == MOST_SWEPT


def test_what_is_swept_where_no_name_is_usual() -> None:
    """Positive numbers; else what there is."""
    numbers = [option("alpha", 0.2), option("beta", 3.0), option("amp", False)]
    assert [one.swept for one in proposals(numbers)] == [True, True, False]
    others = [option("amp", False), option("save", False), option("kind", "a")]
    assert [one.swept for one in proposals(others)] == [True, False, False]
    assert not proposals([])


def test_a_large_grid_is_a_search() -> None:
    """With ranges in place of values."""
    found = proposals([option("lr", 0.1), option("batch_size", 8), option("dropout", 0.1)])
    assert is_search(found)
    assert not is_search(found[:2])
    assert found[0].domain(swept=True, search=True) == {"min": 0.01, "max": 1.0, "log": True}
    assert found[0].domain(swept=True, search=False) == {"values": [0.03, 0.1, 0.3]}
    assert found[0].domain(swept=False, search=True) == {"value": 0.1}


def test_what_a_study_file_cannot_have() -> None:
    """A name that it refuses, and the reserved one, are told."""
    [spaces, seed] = map(sound, proposals([option("a b", 0.1), option("seed", 3)]))
    assert (spaces.possible, seed.possible) == (False, False)
    assert "a parameter's name" in spaces.note
    assert "repeats" in seed.note


def test_the_built_in_objectives_parameters() -> None:
    """As it reads them, with its defaults."""
    assert {one.name: one.default for one in BUILT_IN} == {name: default for name, default in DEFAULTS.items() if name != "seed"}
