"""The one way to interrupt a study: start it, wait for a moment, stop or kill it, resume it, compare it with an undisturbed one.

interrupt("run", str(study), here=here, when=reached(folder, 3), how="SIGKILL")
assert cli("resume", str(study)).code == 0
assert_undisturbed(study)
"""

from __future__ import annotations

import contextlib
import random
import signal
import textwrap
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import psutil

from tests.support.command_line import COMMAND, Running, run_sweep
from tests.support.reading import outcome, records
from tests.support.waiting import wait_until_gone

Outcome = list[dict[str, Any]]
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGKILL": -9, "twice": 130}


def reached(study_folder: Path, step: int, trials: int = 1, *, key: tuple[int, int] | None = None) -> Callable[[], bool]:
    """Return a question: have this many runs, or has the run of this trial and repeat, reported this step?"""
    return lambda: sum((run.step or 0) >= step for run in records(study_folder) if key in (None, run.key)) >= trials


def started(study_folder: Path, trials: int) -> Callable[[], bool]:
    """Return a question: have this many trials started?"""
    return lambda: len(records(study_folder)) >= trials


def interrupt(*words: str, here: Path, when: Callable[[], Any] | str, how: str = "SIGINT") -> Running:
    """Run `sweep`, interrupt it at a moment, and return it when it has ended, with the exit code that this way has.

    Args:
        words: of the command line, the verb first.
        here: the working directory.
        when: a question that is asked until the answer is true, or part of a line of the output.
        how: a signal's name, or `twice` for SIGINT and another one a moment later.
    """
    with Running(*words, here=here) as running:
        if isinstance(when, str):
            running.line(when)
        else:
            running.wait_until(when)
        running.send(signal.SIGINT if how == "twice" else signal.Signals[how])
        if how == "twice":
            time.sleep(0.05)
            running.send(signal.SIGINT)
        assert running.end(30) == CODES[how], running.out
    return running


def kill_part(running: Running, part: str, generator: random.Random) -> None:
    """Kill -9 a part of a running study: the `runner`, one `worker`, the `template` that workers are copies of, or the `group`.

    Without a worker or template the runner is killed. A group, or a runner with its workers, is waited for.
    """
    everything = running.processes()
    runner = everything[:1]
    targets = {"runner": runner, "group": everything, "template": running.processes("sweep-template") or runner}
    targets["worker"] = [generator.choice(running.processes("sweep-slot") or runner)]
    kill(targets[part])
    if part in ("runner", "group"):
        running.end()
        wait_until_gone(everything)


def kill(processes: Collection[psutil.Process]) -> None:
    """Kill -9 each process that still runs."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


_KILLING = """
import importlib, os, signal, sys

place, when, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
module, owner, name = place.rsplit(".", 2)
owner = getattr(importlib.import_module(module), owner, None) or importlib.import_module(f"{module}.{owner}")
original = getattr(owner, name)
calls = 0

def patched(*args, **kwargs):
    global calls
    calls += 1
    if calls == count and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

if __name__ == "__main__":
    setattr(owner, name, patched)
    from sweep.cli.main import main
    sys.exit(main(sys.argv[4:]))
"""


def kill_runner_at(place: str, when: str, count: int, *words: str, here: Path) -> None:
    """Run `sweep`; its process is killed by SIGKILL at one of its effects.

    Args:
        place: the function that has the effect, as `module.Class.function` or `package.module.function`.
        when: `before` or `after` it.
        count: at which call, counted from 1.
        words: of the command line, the verb first.
        here: the working directory.
    """
    (here / "killing.py").write_text(textwrap.dedent(_KILLING))
    done = run_sweep(place, when, str(count), *words, here=here, timeout=100, command=[COMMAND[0], "killing.py"])
    assert done.code == -signal.SIGKILL, done.out + done.err


def without(trial: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a trial of an outcome without some of its parts and parameters."""
    params = {name: value for name, value in trial["params"].items() if name not in names}
    return {key: value for key, value in trial.items() if key not in names} | {"params": params}


def run_killed(*words: str, here: Path, by: str = "kill", folder: str = "study") -> tuple[str, Outcome]:
    """Run a study that kills its own workers; check that each trial ends as the first one, which nothing happens to.

    Args:
        words: of `sweep run`.
        here: the working directory.
        by: the parameter that decides where a trial is killed; the first value kills nothing.
        folder: the name of the study's folder.

    Returns:
        The output and the outcome.
    """
    done = run_sweep("run", *words, here=here)
    assert done.code == 0, done.out + done.err
    found = outcome(here / "runs" / folder)
    for trial in found[1:]:
        assert without(trial, by, "number") == without(found[0], by, "number"), trial["params"][by]
    return done.out, found


def assert_undisturbed(
    study: Path,
    *words: str,
    folder: Path | None = None,
    ignoring: Collection[str] = (),
    timings: tuple[str, ...] = (),
) -> None:
    """Check that an interrupted study has the outcome of an undisturbed one, which is run now.

    Args:
        study: the study file; the studies' folders are in `runs` beside it.
        words: overrides of the undisturbed run.
        folder: the interrupted study's; default: `runs/study`.
        ignoring: parameters that may differ.
        timings: curves whose values are times.
    """
    runs = study.parent / "runs"
    calm = run_sweep("run", str(study), *words, "name=undisturbed", here=study.parent, timeout=600)
    assert calm.code == 0, calm.out + calm.err
    found = [outcome(place, timings=timings) for place in (folder or runs / "study", runs / "undisturbed")]
    interrupted, undisturbed = ([without(trial, *ignoring) for trial in trials] for trials in found)
    assert interrupted == undisturbed
