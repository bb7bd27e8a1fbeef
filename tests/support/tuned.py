"""Objectives written for Optuna, which know nothing of sweep. Tests copy this file beside a study file, as the module `tuned`."""

from __future__ import annotations

import os
import time
from typing import Any

import optuna


def _layers(trial: Any) -> list[int]:
    count = trial.suggest_int("layers", 1, 3)
    return [trial.suggest_int(f"units{place}", 4, 128, log=True) for place in range(count)]


def _loss(trial: Any) -> float:
    """Ask for parameters of every kind, some only under a condition."""
    units = _layers(trial)
    kind = trial.suggest_categorical("kind", ["adam", "sgd", None, True, 3])
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    drop = trial.suggest_float("drop", 0.1, 0.5, step=0.1)
    if kind == "sgd":
        drop += trial.suggest_float("momentum", 0.0, 0.99)
    if kind is None:
        drop += trial.suggest_int("warmup", 0, 10, step=5) / 10
    return float(sum(units) / 100 + 10 * rate + drop + (kind == "sgd"))


def objective(trial: Any) -> float:
    """Report four times, and obey the pruner."""
    loss = _loss(trial)
    for epoch in range(4):
        trial.report(loss / (epoch + 1), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("layers", [trial.params["layers"], {"kind": str(trial.params["kind"])}])
    return loss / 4


def slow(trial: Any) -> float:
    """Take some time between two questions and between two reports."""
    first = trial.suggest_float("first", 0, 1)
    time.sleep(0.02)
    second = trial.suggest_float("second" if first < 0.5 else "other", -1, 1)
    time.sleep(0.02)
    for epoch in range(3):
        time.sleep(0.01)
        trial.report(first + second / (epoch + 1), epoch)
    return float(first + second + trial.suggest_int("last", 1, 5))


def static(trial: Any) -> float:
    """Ask for the same parameters each time, as methods with a model of all of them want it."""
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 1e-3, 1, log=True)
    return float((x - 1) ** 2 + y + abs(trial.suggest_int("n", 1, 1000) - 417) / 1000)


def several(trial: Any) -> tuple[float, float]:
    """Return two values."""
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x + (trial.suggest_float("y", 0, 1) if x < 0.5 else 0.0)


def ignores(trial: Any) -> float:
    """Go on whatever the pruner says."""
    x = trial.suggest_float("x", 0, 1)
    for epoch in range(4):
        trial.report(x, epoch)
    return float(x)


def asks_late(trial: Any) -> float:
    """Ask for a parameter after the first report."""
    x = trial.suggest_float("x", 0, 1)
    trial.report(x, 0)
    return float(x + trial.suggest_int("late", 1, 3))


def with_objects(trial: Any) -> float:
    """Choose among objects."""
    width, height = trial.suggest_categorical("size", [(1, 2), (3, 4)])
    return float(trial.suggest_categorical("how", [max, min])(width, height) + 0.5)


def old_names(trial: Any) -> float:
    """Use the names that Optuna had before."""
    found = trial.suggest_uniform("a", 0, 1) + trial.suggest_loguniform("b", 1e-3, 1)
    return float(found + trial.suggest_discrete_uniform("c", 0, 1, 0.25))


def raises(trial: Any) -> float:
    """Fail where `x` is large; the text names the value."""
    x = trial.suggest_int("x", 1, 100)
    if x > 50:
        raise RuntimeError(f"too large: {x}")
    return float(x)


def dies_once(trial: Any) -> float:
    """Be killed between two questions, the first time."""
    x = trial.suggest_float("x", 0, 1)
    mark = trial.dir / "died"
    if not mark.exists():
        mark.touch()
        os._exit(9)
    return float(x + trial.suggest_float("y", 0, 1))


def never_ends(trial: Any) -> float:
    """Take longer than any timeout."""
    x = trial.suggest_float("x", 0, 1)
    for epoch in range(10_000):
        time.sleep(0.01)
        trial.report(x, epoch)
    return float(x)


def refused(trial: Any) -> float:
    """Ask for a range that there is not."""
    return float(trial.suggest_float("x", 2, 1))


def pruned_by_itself(trial: Any) -> float:
    """Give up without having asked, or reported anything."""
    if trial.suggest_int("x", 1, 10) > 5:
        raise optuna.TrialPruned
    return 1.0


class Objective:
    """An objective that is an object."""

    def __call__(self, trial: Any) -> float:
        """Ask for one parameter."""
        return float(trial.suggest_float("x", 0, 1))


called = Objective()


class Gate:
    """A choice whose text has its address, another in each process."""


GATES: dict[str, Any] = {"open": Gate(), "shut": len}


def iterables(trial: Any) -> float:
    """Choices of any kind that can be iterated over, and objects."""
    trial.suggest_categorical("gate", GATES.values())
    return float(len(trial.suggest_categorical("name", GATES.keys())))


def sometimes_none(trial: Any) -> float | None:
    """Nothing for some trials."""
    x: float = trial.suggest_float("x", 0, 1)
    return x if trial.number % 2 else None


class Net:
    """Made of a trial."""

    @classmethod
    def made(cls, trial: Any) -> int:
        """As models often are."""
        width: int = trial.suggest_int("width", 1, 4)
        return width


def by_class(trial: Any) -> float:
    """The question is in a class method."""
    return float(Net.made(trial))
