"""One worker as the workers of several slots, whose trials it trains together.

    slot 0 ── TrialSpec ──┐                      ┌── GroupSpec ──────────────►
    slot 1 ── TrialSpec ──┤  once all are here   │                           one worker,
    slot 2 ── TrialSpec ──┘                      └── each answer to an event ► in any executor
    each slot ◄── the events with its trial's key ◄──────────────────────────

The worker sends one event at a time, of any member, and waits for the answer to it. So the runner treats each member like a trial
that has a worker of its own.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace

from sweep.study.trial import AttemptKey, Decision, TrialResult, TrialSpec
from sweep.worker.protocol import Command, Died, Event, Load, Loaded, LoadFailed, Worker


class Together:
    """Share one worker among several slots.

    Args:
        worker: the one that trains.
        count: how many slots there are.
    """

    def __init__(self, worker: Worker, count: int) -> None:
        self._worker = worker
        self._lock = threading.RLock()
        self._awaited: dict[int, tuple[Command, Future[Event]]] = {}  # by place
        self._places: dict[AttemptKey, int] = {}  # of the trials that have not ended
        self._specs: dict[AttemptKey, TrialSpec] = {}  # of a group whose members are not all here
        self._loading = False
        self._open = count

    def member(self, place: int) -> Member:
        """Return the worker of the slot with this place."""
        return Member(self, place)

    @property
    def worker(self) -> Worker:
        """Return the one that trains."""
        return self._worker

    def ask(self, place: int, command: Command) -> Future[Event]:
        """Give a slot's command to the worker, once those of all members are here; the future is the slot's next event."""
        found: Future[Event] = Future()
        with self._lock:
            self._awaited[place] = command, found
            if isinstance(command, TrialSpec):
                self._places[command.key] = place
                if command.group is None:
                    self._send(command)
                else:
                    self._specs[command.key] = replace(command, group=None)
                    if command.group.wanted <= self._specs.keys():
                        members = tuple(self._specs.get(one.key, one) for one in command.group.members)
                        self._specs.clear()
                        self._send(replace(command.group, members=members))
            elif not isinstance(command, Load) or not self._loading:
                self._loading = isinstance(command, Load)
                self._send(command)
        return found

    def close(self) -> None:
        """Close the worker with the last of its slots."""
        with self._lock:
            self._open -= 1
            if self._open:
                return
        self._worker.close()

    def _send(self, command: Command) -> None:
        self._worker.next_event(command).add_done_callback(lambda future: self._on_event(future.result()))

    def _on_event(self, event: Event) -> None:
        with self._lock:
            key: AttemptKey | None = getattr(event, "key", None)
            if isinstance(event, Died):
                places = list(self._awaited)
                self._places.clear()
                self._specs.clear()
                self._loading = False
            elif key is not None:
                places = [self._places[key]]
                if isinstance(event, TrialResult):
                    del self._places[key]
                    if self._places:  # nobody answers a result, and the others go on
                        self._send(Decision.CONTINUE)
            else:
                loads = isinstance(event, Loaded | LoadFailed)
                asked = {place: isinstance(command, Load) for place, (command, _) in self._awaited.items()}
                # A process that was started again, unasked, may fail to load what it could load before.
                places = [place for place, load in asked.items() if load == loads or isinstance(event, LoadFailed)]
                self._loading = self._loading and not loads
            answered = [self._awaited.pop(place)[1] for place in places]
        for future in answered:
            future.set_result(event)


class Member:
    """The worker of one slot among those that share one.

    Args:
        shared: the worker that they share.
        place: the slot's.
    """

    def __init__(self, shared: Together, place: int) -> None:
        self._shared, self._place = shared, place

    @property
    def pid(self) -> int | None:
        """Return the id of the process that trains, None if there is none."""
        return getattr(self._shared.worker, "pid", None)

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the worker; the future is the next event of this slot's trial."""
        return self._shared.ask(self._place, command)

    def stop(self) -> None:
        """Ask all trials of the group to make checkpoints and stop at their next step."""
        self._shared.worker.stop()

    def kill(self) -> None:
        """End at once what the worker is doing, for all its slots."""
        self._shared.worker.kill()

    def suspended(self) -> bool:
        """Return whether the worker is suspended."""
        return self._shared.worker.suspended()

    def close(self) -> None:
        """End the worker at once and for good, once all its slots are closed; events that are awaited become `Died`."""
        self._shared.close()
