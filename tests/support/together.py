"""An objective that trains several trials together, and fails as a test wants it. Tests copy it beside a study file.

Each member has a number that its steps change. `what` says what one member does at its third step.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

STEPS = 6


def _next(x: float, lr: float, step: int) -> float:
    return x * (1 - lr) + step


def _act(what: str, step: int) -> None:
    """Fail."""
    if step != 3:
        return
    if what == "raise":
        raise ValueError("this member cannot go on")
    if what == "exit":
        os._exit(3)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "memory":
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory")


def train(trial: Any) -> None:
    """Train one trial."""
    p = trial.params
    x = trial.state["x"] if trial.state else float(trial.seed % 7)
    for step in trial.steps(p.get("steps", STEPS)):
        _act(p.get("what", ""), step)
        x = _next(x, p["lr"], step)
        trial.report(step, {"score": float("nan") if p.get("what") == "nan" and step == 3 else x}, {"x": x})


def fused(group: Any) -> None:
    """Train several trials; each line of `together.txt` is a step, and the numbers of the members that were trained in it."""
    xs = []
    for place, member in enumerate(group.members):
        group.seed(place)
        xs.append(float(member.seed % 7))
    for place, state in enumerate(group.states):
        if state:
            xs[place] = state["x"]
    for step in group.steps(group.members[0].params.get("steps", STEPS)):
        alive = group.alive
        with Path("together.txt").open("a", encoding="utf-8") as file:
            numbers = [member.number for member, here in zip(group.members, alive, strict=True) if here]
            file.write(f"{step}: {' '.join(map(str, numbers))}\n")
        scores = []
        for place, member in enumerate(group.members):
            what = member.params.get("what", "")
            if alive[place]:
                _act(what, step)
                xs[place] = _next(xs[place], member.params["lr"], step)
            scores.append({"score": float("nan") if what == "nan" and step == 3 else xs[place]})
        time.sleep(group.members[0].params.get("pause", 0.0))
        group.report(step, scores, [{"x": x} for x in xs])


fused.varies = ("lr", "what", "seed")  # type: ignore[attr-defined]  # a function has no declared attributes
train.fused = fused  # type: ignore[attr-defined]  # as above
