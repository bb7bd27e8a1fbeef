"""A resolved study as a study file's text, for its folder; reading it gives the same study."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from sweep.study.file import metrics
from sweep.study.space import Space, domain_keys
from sweep.study.spec import StudySpec

# Of what `write_study` writes, and of the folder beside it; a later program raises it when an earlier one would misread them.
FORMAT = 1
_PLAIN_KEY, _OTHER_WORDS = re.compile(r"[A-Za-z_][\w/.-]*", re.ASCII), {"null", "true", "false"}


def write_study(study: StudySpec) -> str:
    """Return the resolved study as a study file's text; reading it gives the same study."""
    budget = {"trials": study.budget.trials, "time": study.budget.time_s, "patience": study.budget.patience}
    budget["epochs"] = study.budget.epochs
    devices = study.workers.devices
    workers = {
        "devices": list(devices) if isinstance(devices, tuple) else devices,
        "per_device": study.workers.per_device or "auto",
        "threads": study.workers.threads,
    }
    data: dict[str, Any] = {
        "name": study.name,
        "objective": study.objective,
        "command": None if study.command is None else list(study.command),
        **metrics.written(study),
        "method": study.method,
        "parameters": _space_keys(study.parameters),
        "sampler": dict(study.sampler) or None,
        "enqueue": [dict(point) for point in study.enqueue] or None,
        "seed": study.seed,
        "repeats": {"count": study.repeats, "allow_failed": study.allow_failed} if study.allow_failed else study.repeats,
        "pruner": dict(study.pruner) or None,
        "budget": _without_none(budget),
        "workers": _without_none(workers),
        "log": asdict(study.log),
        "retries": study.retries,
        "timeout": study.timeout_s,
        "checkpoints": {"keep_best": study.keep_best},
        "stop_after_failures": study.stop_after_failures,
        "output": study.output,
        "earlier": [_space_keys(space) for space in study.earlier] or None,
    }
    lines = [f"# sweep format {FORMAT}"]
    for key, value in data.items():
        if value is None:
            continue
        if key == "parameters":
            lines += ["parameters:", *(f"  {name}: {_flow(domain)}" for name, domain in value.items())]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _space_keys(space: Space) -> dict[str, Any]:
    return {name: domain_keys(domain) for name, domain in space.items()}


def _flow(value: Any) -> str:
    """Write plain data as YAML on one line, every string in quotes: `yes`, `1e3` and `? a` stay what they are."""
    if isinstance(value, dict):
        keys = [key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _OTHER_WORDS else _flow(key) for key in value]
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in zip(keys, value.values(), strict=True)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    return json.dumps(value)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if " " <= character <= "~" else f"\\U{ord(character):08x}"


def _without_none(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}
