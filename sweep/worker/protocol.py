"""What the runner and a worker send each other: commands and events, all frozen and picklable.

    runner --Load-------------> worker     worker --Loaded | LoadFailed------------> runner
           --Prepare(params)-->                   --Progress ... then Prepared | PrepareFailed
           --TrialSpec-------->                   --Resumed, if it resumes; Suggest or Report ... then TrialResult
           --Decision--------->                   (the answer to a Resumed, a Report or a Progress)
           --Suggested-------->                   (the answer to a Suggest, if no Decision ends the trial there)
                                   the executor   --Died, in place of any of these

Each command has exactly one event as its answer, so a worker needs one method, `next_event(command)`, on this machine or on
a cluster. Only `stop` and `kill` may come at any time. An event consists of the classes of this program and of builtin types; the
runner unpickles nothing else, since a class of the user's could run anything there, or be missing.
"""

from __future__ import annotations

import errno
import io
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

from sweep.study import plain
from sweep.study.space import Choice, Range
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import (
    AttemptKey,
    Decision,
    GroupSpec,
    Position,
    Report,
    Scalar,
    Suggested,
    TrialResult,
    TrialSpec,
    TrialState,
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Import the objective and everything heavy."""


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Run the objective's `prepare(params)`."""

    params: dict[str, Scalar]


Answer = Decision | Suggested
Command = Load | Prepare | TrialSpec | GroupSpec | Answer


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The objective is imported.

    Attributes:
        prepare: whether it has such a function.
        varies: the parameters that may differ between trials that it trains together; None if it trains one at a time.
        node: the machine of a cluster where the worker is; empty for this one.
    """

    prepare: bool
    varies: tuple[str, ...] | None = None
    node: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class LoadFailed:
    """The objective cannot be imported; `reason` is one line."""

    reason: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a preparation is; `fraction` is 0 to 1, or None if it is not known."""

    text: str
    fraction: float | None = None

    @classmethod
    def of(cls, value: object) -> Progress:
        """Return what a preparation yields, a text or a `Progress`, with exact types."""
        fraction = value.fraction if isinstance(value, Progress) else None
        text = plain.text(value.text if isinstance(value, Progress) else value)
        return cls(text=text, fraction=None if fraction is None else float(plain.number(fraction, "the fraction of a Progress")))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """`prepare` has returned; `spent` says that it left something behind, so that the process is replaced."""

    spent: bool = False


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
    """A trial resumes from a checkpoint; `position` has all its reports, some of which the runner may have missed.

    The answer is the decision on the last report, since the one before may have been lost. `moved` says how the device or the
    software differs from what made the checkpoint; it is empty where they do not. `of_parent` says that it is the checkpoint of
    the trial of another study that this one goes on from.
    """

    position: Position
    moved: str = ""
    of_parent: bool = False
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)  # as in a `Report`
    key: AttemptKey | None = field(default=None, compare=False)  # as in a `Report`


@dataclass(frozen=True, kw_only=True)
class Suggest:
    """An objective asks for the value of a parameter, whose domain it says itself."""

    name: str
    domain: Choice | Range
    time: TimeBreakdown = field(default=TimeBreakdown(), compare=False)  # as in a `Report`
    key: AttemptKey | None = field(default=None, compare=False)  # as in a `Report`


@dataclass(frozen=True, kw_only=True)
class Died:
    """The worker's process has ended.

    Attributes:
        exit_code: the code, or minus the signal's number; None if it is not known.
        log: the last lines that the process wrote outside a trial.
        reason: why it could not be started, or how its machine was lost; empty if neither.
        lost: the machine is gone, or what runs the worker there: the trial is not to blame.
    """

    exit_code: int | None
    log: str = ""
    reason: str = ""
    lost: bool = False

    @property
    def killed(self) -> bool:
        """Return whether a signal ended the process."""
        return self.exit_code is not None and self.exit_code < 0

    def describe(self) -> str:
        """Return how the process ended and the likely cause, in one line."""
        code = self.exit_code
        if code is None:
            return self.reason or "the worker process vanished"
        if code >= 0:
            return f"the worker process exited with code {code}: something in it called exit, or its interpreter broke"
        return f"the worker process was killed by {death_of(-code)}"


def not_started(error: OSError) -> str:
    """Return why a process could not be started, and what to do about it."""
    return f"no process could be started: {error.strerror or error}{_LIMITS.get(error.errno or 0, '')}"


def death_of(number: int) -> str:
    """Return a signal's name and its usual cause."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}{_LIKELY.get(name, '')}"


_LIMITS = {
    errno.EMFILE: "; raise this limit:  ulimit -n 4096",
    errno.ENFILE: " in the whole system; close other programs",
    errno.EAGAIN: "; the limit of processes (`ulimit -u`) is reached: raise it, or use fewer workers (workers.per_device)",
    errno.ENOMEM: "; use fewer workers (workers.per_device)",
}
_LIKELY = {
    "SIGKILL": ": usually the system was out of memory (see `dmesg`), or somebody used kill -9",
    "SIGSEGV": ": a segmentation fault, in a native library or from too deep a recursion",
    "SIGBUS": ": a bus error, often a file that shrank while it was mapped, or a full /dev/shm",
    "SIGABRT": ": a native library gave up; its last words are in the log",
    "SIGTERM": ": somebody or something asked it to end",
}

Event = Loaded | LoadFailed | Progress | Prepared | PrepareFailed | Resumed | Suggest | Report | TrialResult | Died
_PARTS = Position, TimeBreakdown, TrialState, Choice, Range
_IN_EVENTS = {(one.__module__, one.__qualname__): one for one in (*get_args(Event), *_PARTS)}


class _EventReader(pickle.Unpickler):
    """Reads an event, in which no other class than those of `_IN_EVENTS` can be."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _IN_EVENTS:
            raise pickle.UnpicklingError(f"a worker sent a {module}.{name}, which is no part of an event")
        return _IN_EVENTS[module, name]


def unpacked(data: bytes) -> Event:
    """Return the event that a worker sent; nothing of the user's is unpickled.

    Raises:
        pickle.UnpicklingError: there is something else in it.
    """
    event = _EventReader(io.BytesIO(data)).load()
    if not isinstance(event, Event):
        raise pickle.UnpicklingError(f"a worker sent {type(event).__name__}, which is no event")
    return event


def belongs(event: Event, command: Command) -> bool:
    """Return whether an event comes from an attempt that a command started; an event of no attempt belongs to any command."""
    key = getattr(event, "key", None)
    if isinstance(command, GroupSpec):
        return key is None or key in command.wanted
    return key is None or not isinstance(command, TrialSpec) or key == command.key


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A worker's end of the connection to its runner; only the loop's thread sends and receives, one event for each command.

    Attributes:
        send: sends an event to the runner.
        recv: waits for the next command; None ends the loop, EOFError means that the runner is gone.
        stop_requested: returns whether `Worker.stop` was called; fast enough for each batch, and for any thread.
    """

    send: Callable[[Any], None]
    recv: Callable[[], Any]
    stop_requested: Callable[[], bool]


class Worker(Protocol):
    """The interface of a worker, whatever executes it. tests/worker/test_executors.py checks each executor against it."""

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the worker; the future is its next event.

        The caller must have the event before. If the worker has died, this starts it again. The future must not raise,
        whatever the objective does.
        """

    def stop(self) -> None:
        """Ask the trial that is running to make a checkpoint and stop at its next step; its next event says how it ended.

        Any thread may call. After this only `close` may be called.
        """

    def kill(self) -> None:
        """End at once what the worker is doing; an event that is awaited becomes `Died`. Any thread may call.

        The next call of `next_event` starts the worker again. An executor that cannot kill asks the trial to stop.
        """

    def suspended(self) -> bool:
        """Return whether the worker is suspended (SIGSTOP): then its trial's time does not count."""

    def close(self) -> None:
        """End the worker at once and for good; an event that is awaited becomes `Died`."""
