"""Measure how many events a second the runner takes, and what each costs it: 1,000 slots whose workers are simulated.

    python -m tests.benchmarks.many_slots [--slots 1000] [--reports 10] [--every 1 5 30] [--seconds 30]

The real runner, planner and database; in place of each worker a stand-in that implements its interface
(`sweep.worker.protocol.Worker`) and answers when its time has come, from one thread for all of them.

- at once: every worker answers immediately, so that the runner always has something to do: the largest number of events a second;
- every N s: each worker reports every N seconds and trains for `--reports` of them: the cores that the runner uses, and the share
  of the time that the slots train. The trials' first reports are spread over the N seconds.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import resource
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from unittest import mock

from sweep.runner import session
from sweep.runner.runner import Runner
from sweep.storage.folder import StudyFolder
from sweep.study.trial import Decision, Report, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import Slot
from sweep.worker.protocol import Command, Died, Event, Load, Loaded, Worker
from tests.benchmarks.machine import describe
from tests.support.observing import Silent
from tests.support.studies import study_spec


class Clock:
    """Sets futures when their time has come, in a thread of its own."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Future[Event], Event]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def after(self, seconds: float, future: Future[Event], event: Event) -> None:
        """Set a future after so many seconds."""
        if seconds <= 0:
            future.set_result(event)
            return
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), future, event))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(None if not self._due else max(0.0, self._due[0][0] - time.monotonic()))
                _, _, future, event = heapq.heappop(self._due)
            if not future.done():
                future.set_result(event)


class Simulated:
    """A worker that trains nothing and reports in time.

    Args:
        slot: its own.
        clock: for all workers.
        every_s: the seconds between reports.
        reports: of each trial.
    """

    def __init__(self, slot: Slot, clock: Clock, every_s: float, reports: int) -> None:
        self.slot, self._clock, self._every_s, self._reports = slot, clock, every_s, reports
        self._spec: TrialSpec | None = None
        self._step = 0
        self._future: Future[Event] = Future()
        self.trained_s, self.events = 0.0, 0

    def next_event(self, command: Command) -> Future[Event]:
        """Return the next report, or the end after the last one."""
        self._future, self.events = Future(), self.events + 1
        delay, event = self._answer(command)
        self._clock.after(delay, self._future, event)
        return self._future

    def _answer(self, command: Command) -> tuple[float, Event]:
        if isinstance(command, Load):
            return 0.0, Loaded(prepare=False)
        first = isinstance(command, TrialSpec)
        if isinstance(command, TrialSpec):
            self._spec, self._step = command, 0
        assert self._spec is not None
        metrics = {"score": self._spec.number + self._step / 100}
        if command is Decision.STOP or self._step == self._reports:
            state = TrialState.WAITING if command is Decision.STOP else TrialState.COMPLETE
            return 0.0, TrialResult(state=state, metrics=metrics, key=self._spec.key)
        self._step += 1
        delay = self._every_s * (self.slot.index % 97 + 1) / 97 if first else self._every_s
        self.trained_s += delay
        return delay, Report(step=self._step, metrics=metrics, total=self._reports, key=self._spec.key)

    def stop(self) -> None:
        """Do nothing: the next report is answered with a stop."""

    def kill(self) -> None:
        """End what is awaited."""
        if not self._future.done():
            self._future.set_result(Died(exit_code=-9))

    def suspended(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """End what is awaited."""
        self.kill()


def run(slots: int, every_s: float, reports: int, trials: int, seconds: float) -> dict[str, float]:
    """Run a study on simulated workers, and stop it after a while."""
    workers: list[Simulated] = []
    clock = Clock()

    def make(slot: Slot) -> Worker:
        workers.append(Simulated(slot, clock, every_s, reports))
        return workers[-1]

    study = study_spec({"x": {"min": 0, "max": trials - 1}}, workers={"devices": "cpu", "per_device": slots})
    used: dict[str, float] = {}

    def started(runner: Runner) -> None:
        used.update(began=time.monotonic(), cpu=_cpu())
        threading.Timer(seconds, runner.stop).start()
        threading.Timer(seconds, lambda: used.update(ended=time.monotonic(), cpu_end=_cpu(), **_sums(workers))).start()

    with tempfile.TemporaryDirectory() as name, mock.patch.object(session, "worker_maker", return_value=make):
        folder = StudyFolder(root=Path(name, "runs", "study"))
        session.run_study(study, folder, Path(name, "study.yaml"), Silent(), on_start=started)
    wall = used["ended"] - used["began"]
    return {
        "events a second": used["events"] / wall,
        "us of CPU an event": (used["cpu_end"] - used["cpu"]) / used["events"] * 1e6,
        "cores": (used["cpu_end"] - used["cpu"]) / wall,
        "busy": used["trained"] / wall / slots,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _sums(workers: list[Simulated]) -> dict[str, float]:
    return {"events": sum(worker.events for worker in workers), "trained": sum(worker.trained_s for worker in workers)}


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--every", type=float, nargs="*", default=[1.0, 5.0, 30.0])
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    print(describe([]))
    for every in (0.0, *options.every):
        found = run(options.slots, every, options.reports, 1_000_000, options.seconds)
        pace = f"every {every:g} s" if every else "at once"
        print(f"{options.slots} slots, {pace:12s}", "  ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
