"""The scheduler of a W&B file: W&B Launch's own one needs no counterpart, and Optuna's is what runs here anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweep.errors import did_you_mean
from sweep.study.file.source import KeyPath
from sweep.study.file.wandb_keys import Keys
from sweep.study.methods import PRUNERS, SAMPLERS, WRAPPED, Strategy

_OPTUNA = "optuna"
_IN_CODE = "the search space is in a Python file of W&B's scheduler"
_IN_FILE = "write the parameters into this file, and method: tpe"


def translate_scheduler(keys: Keys, given: Any, method: Any) -> bool:
    """Add what a scheduler decides; return whether the file can be taken at all."""
    scheduler = given if isinstance(given, dict) else {}
    settings = scheduler.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    code = next((("scheduler", *path) for path in _CODE if _has(scheduler, path)), None)
    if code is not None:
        keys.refuse(code, _IN_CODE, _IN_FILE)
        return False
    optuna = scheduler.get("engine") == _OPTUNA or _OPTUNA in str(scheduler.get("job", ""))
    if not optuna and ("job" in scheduler or scheduler.get("engine", "wandb") != "wandb" or method == "custom"):
        where = ("scheduler", "job") if "job" in scheduler else ("scheduler",) if scheduler else ("method",)
        keys.refuse(where, "it is a program for W&B's server", "write method: bayes, random or grid, without it")
        return False
    if optuna and method in (None, "custom"):
        _optuna(keys, settings)
    if given is not None:
        keys.source.notes.append("scheduler: its workers and queues are ignored; how many trials run at once, workers: says")
    return True


_CODE = (("source",), ("settings", "optuna_source"), ("settings", "optuna_source_filename"))


def _has(scheduler: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    node: Any = scheduler
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node is not None


def _optuna(keys: Keys, settings: Mapping[str, Any]) -> None:
    where: KeyPath = ("scheduler", "settings")
    sampler = _strategy(keys, (*where, "sampler"), settings.get("sampler"), SAMPLERS) or ("tpe", {})
    pruner = _strategy(keys, (*where, "pruner"), settings.get("pruner"), PRUNERS) or ("median", {})  # Optuna's defaults
    options = dict(sampler[1])
    if "seed" in options:
        keys.put(("seed",), options.pop("seed"), (*where, "sampler"))
    keys.put(("method",), sampler[0], (*where, "sampler"))
    if options:
        keys.put(("sampler",), options, (*where, "sampler"))
    keys.put(("pruner",), {"type": pruner[0], **pruner[1]}, (*where, "pruner"))
    keys.source.notes.append(f"scheduler: Optuna's is method {sampler[0]} and pruner {pruner[0]} here")


def _strategy(keys: Keys, where: KeyPath, given: Any, known: Mapping[str, Strategy]) -> tuple[str, dict[str, Any]] | None:
    """Return our name of a sampler or pruner that is given by its class, and its options."""
    if not isinstance(given, dict):
        return None
    by_class = {strategy.optuna: name for name, strategy in known.items()}
    kind, args = str(given.get("type")), given.get("args")
    if kind not in by_class:
        keys.refuse((*where, "type"), f"{kind!r} is not known", did_you_mean(kind, by_class))
        return None
    options = dict(args) if isinstance(args, dict) else {}
    if inner := _strategy(keys, (*where, "args", WRAPPED), options.get(WRAPPED), known):
        options[WRAPPED] = {"type": inner[0], **inner[1]}
    return by_class[kind], options
