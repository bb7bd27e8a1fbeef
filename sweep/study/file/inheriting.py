"""A study that goes on from the best trials of another one: the parameters that its file does not name are theirs.

    from: {study: runs/first, top: 2}        from: {study: /.../runs/first, top: 2, parents: [7, 2]}
    parameters:                              parameters:
      epochs: {value: 10}              ──►     parent: {values: [7, 2]}
                                               lr: {inherited: [[7, 0.1], [2, 0.01]]}
                                               epochs: {value: 10}

The right side is what the study's own folder stores, which is all that a session needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.study.condition import Condition
from sweep.study.file.source import Source
from sweep.study.space import PARENT
from sweep.study.trial import Params, Scalar, with_lists, with_tuples

# Returns the parameters of a study's best trials by their numbers, the best one first. It is called with the study's folder, the
# number of trials, and the folder of the study that goes on from them.
FindParents = Callable[[Path, int, Path], Mapping[int, Params]]
_Pairs = Sequence[tuple[int, Scalar]]


def inherit(source: Source, default_name: str | None, find: FindParents) -> None:
    """Put into a study file's keys what its key `from` stands for, unless it has none, or it was done before.

    What is malformed is left to the checks of the keys.
    """
    asked, given = source.data.get("from"), source.data.get("parameters") or {}
    output, name = source.data.get("output", "runs"), source.data.get("name", default_name)
    if not isinstance(asked, dict) or asked.get("parents") or not isinstance(given, dict):
        return
    first, top = asked.get("study"), asked.get("top", 1)
    if not (isinstance(first, str) and isinstance(output, str) and isinstance(name, str)) or type(top) is not int or top < 1:
        return
    if "\0" in first + output + name:
        return
    if PARENT in given:
        message = f"a study with the key from has a parameter {PARENT} already: the trial that each one goes on from"
        source.add(("parameters", PARENT), message, "rename it")
        return
    folder, place = _resolved(first), _resolved(output)
    if folder.parent == place and (found := re.fullmatch(rf"{re.escape(name)}(?:-round-(\d+))?", folder.name)):
        name = source.data["name"] = f"{name}-round-{int(found[1] or 1) + 1}"
    parents = find(folder, top, place / name)
    source.data["from"] = {**asked, "study": str(folder), "top": top, "parents": [*parents]}
    source.data["parameters"] = _parameters(parents, given)


def _resolved(path: str) -> Path:
    return Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111  # so that two can be compared


def _parameters(parents: Mapping[int, Params], given: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(name for params in parents.values() for name in params if name not in given)
    inherited = {name: [(number, own[name]) for number, own in parents.items() if name in own] for name in names}
    found: dict[str, Any] = {PARENT: {"values": [*parents]}}
    for name, pairs in inherited.items():
        numbers = [number for number, _ in pairs]
        applies = {"when": {PARENT: numbers}} if len(numbers) < len(parents) else {}
        found[name] = {"inherited": [[number, with_lists(value)] for number, value in pairs]} | applies
    return found | {name: _by_parents(keys, inherited) for name, keys in given.items()}


def _by_parents(keys: Any, inherited: Mapping[str, _Pairs]) -> Any:
    """Return a parameter's keys with the parents that fulfil its conditions on what is inherited in place of these conditions."""
    conditions = keys.get("when") if isinstance(keys, dict) else None
    if not isinstance(conditions, dict):
        return keys
    kept: dict[str, Any] = {}
    for name, values in conditions.items():
        listed = values if isinstance(values, list) else [values]
        condition = Condition(parent=name, values=with_tuples(listed))
        fulfilling = [number for number, value in inherited.get(name, ()) if condition.accepts(value)]
        if name == PARENT or fulfilling:
            numbers = fulfilling or listed
            kept[PARENT] = [number for number in numbers if number in kept.get(PARENT, numbers)]
        else:
            kept[name] = values
    return {**keys, "when": kept}
