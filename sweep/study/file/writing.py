"""A study as a study file's text, for its folder; reading the text gives the same study."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from sweep.study.keys import Key, default_of, keys_of
from sweep.study.space import Constant, Domain, domain_keys
from sweep.study.spec import StudySpec
from sweep.study.trial import Params

# Of what `write_study` writes, and of the folder beside it; a later program raises it when an earlier one would misread them.
FORMAT = 1
_PLAIN_KEY, _OTHER_WORDS = re.compile(r"[A-Za-z_][\w/.-]*", re.ASCII), {"null", "true", "false"}
# Format 1 has each of these keys directly before a key that it follows in the documentation.
_MOVED = {"parameters": "sampler", "pruner": "budget"}
# Keys that earlier programs refuse: with these values they are left out.
_LATER: dict[str, Any] = {
    "determinism": "default",
    "devices_per_trial": 1,
    "engine": "local",
    "fuse": 1,
    "resources": {},
    "unlimited": False,
}


def write_study(study: StudySpec) -> str:
    """Return the text of a study file that has every key of a study."""
    lines = [f"# sweep format {FORMAT}"]
    for name, value in plain_keys(study).items():
        if name == "parameters":
            lines += ["parameters:", *(f"  {parameter}: {flow(domain)}" for parameter, domain in value.items())]
        else:
            lines.append(f"{name}: {flow(value)}")
    return "\n".join(lines) + "\n"


def file_value(key: Key, value: Any) -> Any:
    """Return the value of a key as plain data for the file; None for a key that the file omits."""
    if key.value == "Constraints":
        return {bounds.metric: _plain(bounds) for bounds in value}
    return key.none if value is None else _plain(value)


def write_constants(params: Params) -> str:
    """Return the text of a study file's `parameters` in which each has one value."""
    lines = (flow({name: domain_keys(Constant(value=value))})[1:-1] for name, value in params.items())
    return "".join(["parameters:\n", *(f"  {line}\n" for line in lines)])


def changed_keys(study: StudySpec) -> dict[str, Any]:
    """Return the keys of a study file whose values are not the defaults, as plain data."""
    defaults = {key.name: file_value(key, default_of(key, field)) for key, field in keys_of(study)}
    return {name: value for name, value in plain_keys(study).items() if value != defaults[name]}


def plain_keys(study: StudySpec) -> dict[str, Any]:
    """Return the keys of a study file in its order, as plain data; those that have no value are left out."""
    metric, metrics = (None, study.metrics) if study.multi_objective else (study.metric, None)
    found: dict[str, Any] = {}
    for key, field in keys_of(study):
        value = {"metric": metric, "metrics": metrics}.get(key.name, getattr(study, field.name))
        if value in (None, (), {}, _LATER.get(key.name)):
            continue
        if (plain := file_value(key, value)) is not None:
            found[key.name] = plain
    order = list(found)
    for name, successor in _MOVED.items():
        if name in found and successor in found:
            order.remove(name)
            order.insert(order.index(successor), name)
    return {name: found[name] for name in order}


def _plain(value: Any) -> Any:
    if isinstance(value, Domain):
        return domain_keys(value)
    if dataclasses.is_dataclass(value):
        return _mapping(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _mapping(spec: Any) -> Any:
    written = {key: file_value(key, getattr(spec, field.name)) for key, field in keys_of(spec)}
    changed = {key.name for key, field in keys_of(spec) if getattr(spec, field.name) != default_of(key, field)}
    for key, value in written.items():
        if key.shorthand and changed <= {key.name}:
            return value
    return {key.name: value for key, value in written.items() if value not in (None, _LATER.get(key.name))}


def flow(value: Any) -> str:
    """Write plain data as YAML on one line, every string in quotes: `yes`, `1e3` and `? a` stay what they are."""
    if isinstance(value, dict):
        keys = [key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _OTHER_WORDS else flow(key) for key in value]
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in zip(keys, value.values(), strict=True)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str):
        escaped = re.sub(r'["\\]', r"\\\g<0>", value)
        return '"' + re.sub("[^ -~]", lambda match: f"\\U{ord(match[0]):08x}", escaped) + '"'
    return json.dumps(value)
