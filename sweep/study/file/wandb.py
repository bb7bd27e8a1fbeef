"""A sweep file of W&B's as a study file: its keys become ours before anything is checked, and keep their lines.

    program, method: bayes, early_terminate, run_cap ...   ──►   command, method: gp, pruner, budget ...

The rest of the program knows nothing of W&B. What W&B does is taken from its reference and from its own code (the packages
`sweeps` 0.3 and `wandb` 0.31). Keys of ours that W&B does not have, such as `workers`, may stand in such a file.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from typing import Any

from sweep.study.file.source import Source
from sweep.study.file.wandb_command import MACROS, command_of, job_command
from sweep.study.file.wandb_keys import Keys, number
from sweep.study.file.wandb_launch import translate_scheduler
from sweep.study.file.wandb_parameters import translate_parameters
from sweep.study.methods import BRACKETS

_MARKS = ("program", "early_terminate", "run_cap", "project", "entity", "controller", "job", "image_uri")
_IGNORED = ("description", "project", "entity", "controller", "apiVersion", "kind")
_TRANSLATED = ("program", "command", "method", "metric", "parameters", "early_terminate", "run_cap", "name", "job", "scheduler")
# Beyond this, a Gaussian process takes longer to propose a trial than TPE is worse: its time grows with the cube of the trials.
_MOST_FOR_GP = 500
_ETA, _MOST_BRACKETS, _LAST_BRACKET = 3, 100, 10**6
_MODE = "WANDB_MODE"
# What W&B's package logs with every row.
_ALWAYS_LOGGED = "_runtime"


def translate(source: Source) -> None:
    """Replace the keys of a sweep file of W&B's by those of a study file; leave every other file as it is."""
    data = source.data
    if not is_sweep(data):
        return
    keys = Keys(source)
    if "image_uri" in data:
        keys.refuse(("image_uri",), "sweep starts programs, not images", 'write command: [docker, run, IMAGE, "${args}"]')
    _name(keys, data.get("name"))
    _program(keys, data)
    _method(keys, data)
    if not translate_scheduler(keys, data.get("scheduler"), data.get("method")):
        source.is_whole = False
        return
    _metric(keys, data)
    translate_parameters(keys, data.get("parameters"), data.get("method"))
    if "early_terminate" in data:
        _pruner(keys, data["early_terminate"])
    _budget(keys, data)
    if ignored := [key for key in _IGNORED if key in data]:
        source.notes.append(f"{', '.join(ignored)}: ignored, because nothing is sent to W&B's server")
    for key in data:
        if key not in (*_IGNORED, *_TRANSLATED, "image_uri"):
            if key in keys.data:
                keys.refuse((key,), f"cannot be combined with {keys.origin((key,))}", "keep one of the two")
            keys.move((key,), (key,), data[key])
    _environment(keys)
    source.data, source.lines = keys.data, keys.lines


def _environment(keys: Keys) -> None:
    """Let wandb run without a server, unless the file or the user's environment says how it is to run."""
    env = keys.data.get("env", {})
    if "command" in keys.data and isinstance(env, dict) and _MODE not in env and _MODE not in os.environ:
        keys.put(("env", _MODE), "offline", ())


def is_sweep(data: Mapping[str, Any]) -> bool:
    """Return whether these are the keys of a sweep file of W&B's."""
    command = data.get("command")
    if "objective" in data or isinstance(command, str):
        return False
    parameters = data.get("parameters")
    own = {f"${{{name}}}" for name in parameters} if isinstance(parameters, dict) else set()
    words = [str(word) for word in command] if isinstance(command, list) else []
    macros = any(word in MACROS - own or "${envvar:" in word for word in words)
    return macros or data.get("method") in ("bayes", "custom") or any(key in data for key in _MARKS)


def _name(keys: Keys, name: Any) -> None:
    if name is None:
        return
    folder = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._+")[:100] if isinstance(name, str) else name
    if folder == "":
        keys.source.notes.append("name: no letter of it can be a folder's, so the study and its folder are called as this file")
        return
    if folder != name:
        keys.source.notes.append(f"name: the study and its folder are called {folder}")
    keys.put(("name",), folder, ("name",))


def _program(keys: Keys, data: Mapping[str, Any]) -> None:
    if "command" in data:
        keys.put(("command",), command_of(keys, data["command"], data.get("program")), ("command",))
    elif "program" in data:
        keys.put(("command",), command_of(keys, None, data["program"]), ("program",))
    elif "job" in data:
        keys.put(("command",), job_command(keys, data["job"]), ("job",))


def _method(keys: Keys, data: Mapping[str, Any]) -> None:
    method = data.get("method")
    if method == "bayes":
        cap = data.get("run_cap")
        able = all(importlib.util.find_spec(name) for name in ("scipy", "torch"))
        small = not number(cap) or cap <= _MOST_FOR_GP
        method, what = ("gp", "Optuna's Gaussian process") if able and small else ("tpe", "Optuna's TPE")
        why = "" if small else f": for more than {_MOST_FOR_GP} trials a Gaussian process is slow (method=gp takes it)"
        keys.source.notes.append(f"method: bayes is {method} here, {what}{why}")
    if method is not None and method != "custom":
        keys.put(("method",), method, ("method",))


def _metric(keys: Keys, data: Mapping[str, Any]) -> None:
    metric = data.get("metric")
    if isinstance(metric, dict):
        keys.move(("metric",), ("metric",), {"goal": "minimize"} | metric)
        for key in ("impute", "impute_while_running"):
            if keys.data["metric"].pop(key, None) is not None:
                keys.source.notes.append(f"metric.{key}: ignored; a trial that failed has no value here")
    elif metric is not None:
        keys.move(("metric",), ("metric",), metric)
    elif "metrics" not in data and data.get("method") in ("grid", "random") and "early_terminate" not in data:
        keys.put(("metric",), {"name": _ALWAYS_LOGGED, "goal": "minimize"}, ())
        keys.source.notes.append(
            f"metric: the file has none, so trials are compared by {_ALWAYS_LOGGED}, the seconds that wandb.log writes;"
            " name yours:  metric.name=accuracy metric.goal=maximize"
        )


def _pruner(keys: Keys, given: Any) -> None:
    where = ("early_terminate",)
    if not isinstance(given, dict) or given.get("type", "hyperband") != "hyperband":
        keys.refuse((*where, "type") if isinstance(given, dict) else where, "W&B has hyperband only", "write type: hyperband")
    elif brackets := _brackets(keys, given):
        eta = given.get("eta", _ETA)
        strict = {"strict": True} if given.get("strict") is True else {}
        keys.put(("pruner",), {"type": BRACKETS, "at": brackets, "keep": eta, **strict}, where)
        shown = ", ".join(map(str, brackets[:4])) + ", ..." * (len(brackets) > 4)
        keys.source.notes.append(f"early_terminate: after {shown} reports of the metric, the best 1/{eta} of the trials go on")


def _brackets(keys: Keys, given: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the reports at which W&B's hyperband compares runs; none if something is wrong."""
    where = ("early_terminate",)
    eta, least, most, count = given.get("eta", _ETA), given.get("min_iter"), given.get("max_iter"), given.get("s")
    found: list[int] = []
    if not number(eta) or eta <= 1:
        keys.refuse((*where, "eta"), f"must be a number above 1, got {eta!r}", f"write eta: {_ETA}")
    elif number(most) and number(count):
        while (most := most / eta) >= 1 and len(found) < min(count, _MOST_BRACKETS):
            found.append(int(most))
        if not found:
            keys.refuse((*where, "max_iter"), "makes no bracket", "write max_iter: 27 and s: 2, or larger numbers")
    elif number(least) and least >= 1:
        while least <= _LAST_BRACKET and len(found) < _MOST_BRACKETS:
            found.append(int(least))
            least *= eta
    else:
        keys.refuse(where, "needs min_iter, or max_iter and s", "write early_terminate: {type: hyperband, min_iter: 3}")
    return sorted(place for place in {*found} if place <= _LAST_BRACKET)


def _budget(keys: Keys, data: Mapping[str, Any]) -> None:
    if "run_cap" in data:
        keys.put(("budget", "trials"), data["run_cap"], ("run_cap",))
    elif data.get("method") != "grid" and "budget" not in data:
        keys.put(("budget", "unlimited"), True, ())
        end = "the sweep goes on until it is stopped or has tried every assignment"
        keys.source.notes.append(f"run_cap: the file has none, and without another budget (budget.trials=50) {end}")
