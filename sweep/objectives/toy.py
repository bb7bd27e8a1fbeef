"""An objective without data or torch, for a first try and for tests: a paraboloid that is learned step by step."""

from __future__ import annotations

from sweep.worker.handle import Trial


def train(trial: Trial) -> None:
    """Report `loss` at each of `steps` steps; it goes down to (x - 0.3)^2 + (y - 0.7)^2.

    Parameters read: `x`, `y` (default 0), `steps` (default 3).
    """
    x, y = float(trial.params.get("x", 0)), float(trial.params.get("y", 0))
    lowest = (x - 0.3) ** 2 + (y - 0.7) ** 2
    for step in trial.steps(int(trial.params.get("steps", 3))):
        trial.report(step, {"loss": lowest + 1 / step})
