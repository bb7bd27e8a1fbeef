"""What travels between the runner and a worker: commands down, events up, all frozen and picklable.

    runner --Load-------------> worker     worker --Loaded | LoadFailed------------> runner
           --Prepare(params)-->                   --Progress ... then Prepared | PrepareFailed
           --TrialSpec-------->                   --Resumed, if it goes on; Report ... then TrialResult
           --Decision--------->                   (the answer to a Resumed, a Report or a Progress)
                                   the executor   --Died, in place of any of these

Each command is answered by exactly one event, so that a worker is an actor with one method, `next_event(command)`,
on one machine as on a cluster. Two things come from outside that rhythm: the request to stop, and the end by force.
"""

from __future__ import annotations

import signal
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from sweep.study.timing import TimeBreakdown
from sweep.study.trial import Decision, Position, Report, Scalar, TrialResult, TrialSpec


@dataclass(frozen=True, kw_only=True)
class Load:
    """Import the objective and everything heavy."""


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Run the objective's `prepare(params)`."""

    params: dict[str, Scalar]


Command = Load | Prepare | TrialSpec | Decision


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The objective is imported; `prepare` tells whether it offers one."""

    prepare: bool


@dataclass(frozen=True, kw_only=True)
class LoadFailed:
    """The objective cannot be imported; `reason` is one line, `traceback` the whole."""

    reason: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a preparation is; `fraction` is 0 to 1, or None when it cannot be known."""

    text: str
    fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """`prepare` has returned."""


@dataclass(frozen=True, kw_only=True)
class PrepareFailed:
    """`prepare` raised; the fields are those of the `SweepError` to show."""

    id: str
    what: str
    where: str | None = None
    why: str | None = None
    do: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A trial goes on from a checkpoint; the runner is told again of all that it may have missed.

    The answer decides on the last report: nobody knows whether its decision came through.
    """

    position: Position
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)  # as in a `Report`


@dataclass(frozen=True, kw_only=True)
class Died:
    """The worker's process is gone.

    Attributes:
        exit_code: as `multiprocessing` counts: minus the signal's number, or the code.
        log: the last lines that the process wrote outside a trial.
    """

    exit_code: int | None
    log: str = ""

    def describe(self) -> str:
        """Say how the process died and the likely cause, in one line."""
        code = self.exit_code
        if code is None:
            return "the worker process vanished"
        if code >= 0:
            return f"the worker process exited with code {code}: something in it called exit, or its interpreter broke"
        return f"the worker process was killed by {death_of(-code)}"


def death_of(number: int) -> str:
    """Return a signal's name, and what usually sends it."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}{_LIKELY.get(name, '')}"


_LIKELY = {
    "SIGKILL": ": usually the system was out of memory (see `dmesg`), or somebody used kill -9",
    "SIGSEGV": ": a segmentation fault, in a native library or from too deep a recursion",
    "SIGBUS": ": a bus error, often a file that shrank while it was mapped, or a full /dev/shm",
    "SIGABRT": ": a native library gave up; its last words are in the log",
    "SIGTERM": ": somebody or something asked it to end",
}

Event = Loaded | LoadFailed | Progress | Prepared | PrepareFailed | Resumed | Report | TrialResult | Died


class Channel(Protocol):
    """A worker's end of the line to its runner."""

    def send(self, obj: Any) -> None:
        """Hand an event to the runner."""

    def recv(self) -> Any:
        """Wait for the next command; raise EOFError when the runner is gone."""

    def stop_requested(self) -> bool:
        """Tell whether `Worker.stop` was called; costs next to nothing."""


class Worker(Protocol):
    """The one face of a worker, whatever executes it. Contract: tests/test_executors.py."""

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the worker and promise its next event.

        One call at a time: the event before must have come. A worker that died is started anew by the next call.
        The future never raises for anything that the objective does.
        """

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop at its next step; its next event tells how that went.

        From then on the worker is good for nothing but `close`.
        """

    def kill(self) -> None:
        """End what the worker is doing at once; the event that is awaited becomes `Died`, the next call starts it anew.

        An executor that cannot end code by force asks it to stop instead.
        """

    def close(self) -> None:
        """End the worker at once, whatever it is doing; an event that is awaited becomes `Died`."""
