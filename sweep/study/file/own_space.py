"""The check of a study file without parameters, where the function has to suggest its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweep.errors import Problem
from sweep.study.file.source import Source
from sweep.study.objective import suggests

_WRITE = "write parameters: {lr: {min: 1e-4, max: 0.1, log: true}}"


def check_own_space(source: Source, values: Mapping[str, Any], import_dir: str | None) -> Iterator[Problem]:
    """Yield why a study without parameters needs some.

    Args:
        source: the study file's keys as they are written.
        values: those that are valid by themselves.
        import_dir: the folder of the objective's module; None if nothing is to be looked for.
    """
    if source.data.get("parameters"):
        return
    objective = values.get("objective")
    if objective is None:
        yield source.problem(("parameters",), "missing", _WRITE)
    elif values.get("method") == "grid":
        hint = "write the parameters; or method: tpe or random, if the function suggests its own"
        yield source.problem(("parameters",), "missing, and a grid needs them", hint)
    elif import_dir is not None and not suggests(objective, import_dir):
        hint = f"{_WRITE}; or let the function suggest its own, as for Optuna:  trial.suggest_float(...)"
        yield source.problem(("parameters",), "missing", hint)
