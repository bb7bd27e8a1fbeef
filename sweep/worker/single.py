"""Run one trial in a worker: its folder and its log, and a second beginning where a checkpoint is of no use."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from sweep.storage.folder import CHECKPOINT, LOG, PREVIOUS_CHECKPOINT
from sweep.study import plain
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch
from sweep.study.trial import TrialResult, TrialSpec, TrialState
from sweep.worker.attempt import Attempt, Objective, WriteFailed
from sweep.worker.devices import Slot
from sweep.worker.protocol import Channel

LogTo = Callable[[Path], AbstractContextManager[None]]


def run_trial(
    channel: Channel, objective: Objective, spec: TrialSpec, study: StudySpec, slot: Slot, log_to: LogTo
) -> TrialResult:
    """Run a trial of a study to its end, from its checkpoint if there is one; `log_to` redirects what is printed to a file."""
    folder, stopwatch = Path(spec.dir), Stopwatch()
    try:
        folder.mkdir(exist_ok=True)
        with log_to(folder / LOG):
            print(heading(spec, study, slot), flush=True)
            result = Attempt(channel, objective, spec, study, slot, stopwatch).run()
            if result is None:
                start_over([spec])
                stopwatch.turn_to("starting")
                result = Attempt(channel, objective, spec, study, slot, stopwatch).run()
                assert result is not None  # there is no state any more
            if result.error:
                with contextlib.suppress(OSError):
                    print(result.error, file=sys.stderr, flush=True)
    except (OSError, WriteFailed) as error:
        result = not_written(error)
    return replace(result, time=stopwatch.read(), key=spec.key)


def heading(spec: TrialSpec, study: StudySpec, slot: Slot) -> str:
    """Return the line with which an attempt begins in the trial's log."""
    repeat = f", repeat {spec.repeat}" if study.repeats > 1 else ""
    return f"--- trial {spec.number}{repeat}, attempt {spec.attempt}, {time.strftime('%Y-%m-%d %H:%M:%S')}, {slot.device}"


def start_over(specs: Sequence[TrialSpec]) -> None:
    """Remove the checkpoints of trials whose objective does not read them."""
    print("sweep: the objective does not read trial.state, so the trial starts over", file=sys.stderr, flush=True)
    for spec in specs:
        for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
            (Path(spec.dir) / name).unlink(missing_ok=True)


def not_written(error: BaseException) -> TrialResult:
    """Return the result of a trial whose files could not be written: it waits."""
    return TrialResult(state=TrialState.WAITING, metrics={}, error=plain.text(error), cause="write-failed")
