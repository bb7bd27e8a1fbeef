"""Record when the trials of a side start, step and end, and compute what follows from it.

Each moment is a line of JSON: the system appends a short line whole, whichever process writes it. All processes of one machine
share `time.time()`, so a moment recorded in a worker can be compared with the command's start.
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

FILE = "SWEEP_BENCHMARK_TIMER"  # the environment variable with the path of the file


def start(setting: Mapping[str, Any]) -> None:
    """Record a trial's start; also the first training step of this process, when it comes."""
    _record_first_step()
    _record("start", setting=tag(dict(setting)))


def end(setting: Mapping[str, Any], accuracy: float) -> None:
    """Record a trial's end and its accuracy over the training samples of the last epoch."""
    _record("end", setting=tag(dict(setting)), accuracy=accuracy)


@functools.cache  # once in a process
def _record_first_step() -> None:
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def recorded(*_: object) -> None:
        _record("step")
        hook.remove()  # while torch goes through the hooks, which the last of them may do

    hook = register_optimizer_step_post_hook(recorded)


def _record(what: str, **more: Any) -> None:
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n"
    with Path(os.environ[FILE]).open("a") as file:
        file.write(line)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The moments of the trials of a side.

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


def read(path: Path, trials: int) -> Recorded:
    """Read the moments.

    Raises:
        ValueError: a trial did not start or end exactly once, or there was no step.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_kind = {kind: [line for line in lines if line["what"] == kind] for kind in ("start", "step", "end")}
    starts = {line["setting"]: line["at"] for line in by_kind["start"]}
    ends = {line["setting"]: line["at"] for line in by_kind["end"]}
    if {len(by_kind["start"]), len(by_kind["end"]), len(starts), len(ends)} != {trials} or not by_kind["step"]:
        raise ValueError(f"of {trials} trials {len(starts)} started, {len(ends)} ended; {len(lines)} lines were recorded")
    return Recorded(
        spans=tuple(sorted((starts[setting], ends[setting]) for setting in starts)),
        first_step=min(line["at"] for line in by_kind["step"]),
        accuracies={line["setting"]: line["accuracy"] for line in by_kind["end"]},
        pids=frozenset(line["pid"] for line in by_kind["start"]),
    )


def idle_share(spans: Sequence[tuple[float, float]], slots: int) -> float:
    """Return the share of the slots' time without a trial, between the first trial's start and the last one's.

    After the last start no slot can get a trial, whoever orchestrates.
    """
    first, last = min(begin for begin, _ in spans), max(begin for begin, _ in spans)
    if last == first:
        return 0.0
    busy = sum(min(finish, last) - begin for begin, finish in spans)
    return 1 - busy / (slots * (last - first))
