"""What the trials of a side note as they start, step and end, and what follows from it.

A line of JSON for each: the system appends a short one whole, whichever process writes it. All processes of one machine
share `time.time()`, so a moment noted in a worker can be compared with the command's start.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.terms import tag

CLOCK = "SWEEP_BENCHMARK_CLOCK"  # the variable that holds the file's path


def start(setting: Mapping[str, Any]) -> None:
    """Note a trial's start, and have this process's first training step noted."""
    _note_first_step()
    _note("start", setting=tag(dict(setting)))


def end(setting: Mapping[str, Any], accuracy: float) -> None:
    """Note a trial's end and its accuracy over the training samples of the last epoch."""
    _note("end", setting=tag(dict(setting)), accuracy=accuracy)


@functools.cache  # once in a process
def _note_first_step() -> None:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def noted(*_: object) -> None:
        _note("step")
        hook.remove()  # while torch goes through the hooks, which the last of them may do

    hook = register_optimizer_step_post_hook(noted)


def _note(what: str, **more: Any) -> None:
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n"
    with Path(os.environ[CLOCK]).open("a") as file:
        file.write(line)


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What the trials of a side noted.

    Attributes:
        spans: start and end of each trial.
        first_step: when the first of all training steps was done.
        accuracies: by the setting's name.
        pids: of the processes that trained.
    """

    spans: tuple[tuple[float, float], ...]
    first_step: float
    accuracies: Mapping[str, float]
    pids: frozenset[int]


def read(path: Path, trials: int) -> Noted:
    """Return what was noted.

    Raises:
        ValueError: not every trial started and ended once, or none made a step.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_kind = {kind: [line for line in lines if line["what"] == kind] for kind in ("start", "step", "end")}
    starts = {line["setting"]: line["at"] for line in by_kind["start"]}
    ends = {line["setting"]: line["at"] for line in by_kind["end"]}
    if {len(by_kind["start"]), len(by_kind["end"]), len(starts), len(ends)} != {trials} or not by_kind["step"]:
        raise ValueError(f"of {trials} trials {len(starts)} started, {len(ends)} ended; {len(lines)} lines on the clock")
    return Noted(
        spans=tuple(sorted((starts[setting], ends[setting]) for setting in starts)),
        first_step=min(line["at"] for line in by_kind["step"]),
        accuracies={line["setting"]: line["accuracy"] for line in by_kind["end"]},
        pids=frozenset(line["pid"] for line in by_kind["start"]),
    )


def idle_share(spans: Sequence[tuple[float, float]], slots: int) -> float:
    """Return the share of the slots' time without a trial, between the first trial's start and the last one's.

    Afterwards there is nothing left to give to a slot, whoever orchestrates.
    """
    first, last = min(begin for begin, _ in spans), max(begin for begin, _ in spans)
    if last == first:
        return 0.0
    busy = sum(min(finish, last) - begin for begin, finish in spans)
    return 1 - busy / (slots * (last - first))
