"""Run the trials of a group in a worker: each member's attempt, and what `fused` does with all of them."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.storage.folder import LOG
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch
from sweep.study.trial import (
    GROUP_FAILED,
    NOT_FUSABLE,
    OUT_OF_MEMORY,
    AttemptKey,
    GroupSpec,
    TrialResult,
    TrialSpec,
    TrialState,
    with_lists,
)
from sweep.worker import cuda
from sweep.worker.attempt import NO_SPACE, Attempt, Objective, WriteFailed
from sweep.worker.devices import Slot
from sweep.worker.endings import CannotFuse, StateIgnored, TrialComplete
from sweep.worker.group import AllEnded, Group, Member
from sweep.worker.protocol import Channel
from sweep.worker.single import LogTo, heading, not_written, start_over
from sweep.worker.tracebacks import forget, user_traceback


class _Run:
    """One run of a group: its members' attempts, and the results that are still to be sent."""

    def __init__(self, channel: Channel, objective: Any, spec: GroupSpec, study: StudySpec, slot: Slot) -> None:
        self._channel, self._objective, self._study, self._slot, self._spec = channel, objective, study, slot, spec
        self.specs = spec.starting
        self._watches = {one.key: Stopwatch() for one in self.specs}
        self._attempts: dict[AttemptKey, Attempt] = {}
        self._sent: set[AttemptKey] = set()
        self.results: list[TrialResult] = []  # of the members that end with the group

    @property
    def left(self) -> list[TrialSpec]:
        """Return the trials that have not ended."""
        return [one for one in self.specs if one.key not in self._sent]

    def begin(self) -> None:
        """Begin every member's attempt, each from its checkpoint."""
        for one in self.left:
            watch = self._watches[one.key]
            self._attempts[one.key] = Attempt(self._channel, self._objective, one, self._study, self._slot, watch)
        for one in self.left:
            if (result := self._attempts[one.key].begin()) is not None:
                self._end(one, result)

    def train(self) -> None:
        """Call `fused`, and give the members that have not ended what it returned."""
        if not self._attempts:
            return
        members = [
            Member(
                number=one.number,
                repeat=one.repeat,
                params={name: with_lists(value) for name, value in self._study.given(one.params).items()},
                seed=one.seed,
                trial=self._attempts[one.key].trial if one.key in self._attempts else None,
            )
            for one in self._spec.members
        ]
        done = [self._attempts[one.key].done if one.key in self._attempts else 0 for one in self._spec.members]
        group = Group(members, done, self._slot.torch_device, self._seed, self._over)
        try:
            returned = self._objective.fused(group)
            if returned is not None and not (isinstance(returned, list | tuple) and len(returned) == len(members)):
                raise TypeError(f"train.fused must return None, or a list with one entry for each of the {len(members)} members")
        except AllEnded:
            return
        except WriteFailed:
            raise
        except BaseException as error:  # SystemExit too
            starts_over = isinstance(error, StateIgnored) and self._study.start is None
            if starts_over or (isinstance(error, OSError) and error.errno in NO_SPACE):
                raise
            self._put_back(error)
            forget(error)
            return
        for place, one in enumerate(self._spec.members):
            if one.key in self._attempts:
                attempt = self._attempts[one.key]
                try:
                    result = attempt.returned(None if returned is None else returned[place])
                except BaseException as error:
                    result = attempt.ended_by(error)
                    forget(error)
                self._end(one, result)

    def _put_back(self, error: BaseException) -> None:
        """End the attempts of a group that failed as a whole: each is to be trained without the others."""
        cause, text = cuda.cause_of(error), user_traceback(error)
        print(text, file=sys.stderr, flush=True)
        if cause != OUT_OF_MEMORY:
            cause = NOT_FUSABLE if isinstance(error, CannotFuse) else GROUP_FAILED
        for one in self.specs:
            if one.key in self._attempts:
                metrics = dict(self._attempts[one.key].trial.metrics)
                self._end(one, TrialResult(state=TrialState.WAITING, metrics=metrics, error=text, cause=cause))
        # As after an error of a trial alone: the process's context on a GPU may be gone.
        self.results[-1] = replace(self.results[-1], spent=bool(self._slot.gpus) or cause == OUT_OF_MEMORY)

    def close(self) -> None:
        """Close the files of the attempts that are left."""
        for attempt in self._attempts.values():
            attempt.close()
        self._attempts.clear()

    def not_written(self, error: BaseException) -> None:
        """Let the trials that have not ended wait, since their files could not be written."""
        ended = {result.key for result in self.results} | self._sent
        for one in self.specs:
            if one.key not in ended:
                self._add(one, not_written(error))

    def _add(self, one: TrialSpec, result: TrialResult) -> None:
        self.results.append(replace(result, time=self._watches[one.key].read(), key=one.key))

    def _seed(self, place: int) -> None:
        from sweep.worker import randomness

        one = self._spec.members[place]
        if one.key in self._attempts:
            self._attempts[one.key].seed()
        else:
            randomness.seed_all(one.seed, self._slot.torch_device)

    def _over(self, place: int, error: BaseException) -> None:
        one = self._spec.members[place]
        attempt = self._attempts[one.key]
        result = attempt.returned(None) if isinstance(error, TrialComplete) else attempt.ended_by(error)
        forget(error)
        self._end(one, result)

    def _end(self, one: TrialSpec, result: TrialResult) -> None:
        """Close a member's attempt; its result is sent now if others go on, so that the runner knows it."""
        attempt = self._attempts[one.key]
        result = attempt.end(result)
        attempt.close()
        del self._attempts[one.key]
        self._add(one, result)
        if self._attempts:
            self._sent.add(one.key)
            self._channel.send(replace(self.results.pop(), spent=False))  # the process is still needed
            self._channel.recv()


def run_group(
    channel: Channel, objective: Objective, spec: GroupSpec, study: StudySpec, slot: Slot, log_to: LogTo
) -> list[TrialResult]:
    """Run the trials of a group to their ends; return the results that are still to be sent, at least one.

    Args:
        channel, objective, study, slot: as for one trial; the objective has a function `fused`.
        spec: which trials.
        log_to: redirects what is printed; all of it is in the log of the first trial that runs.
    """
    folders = [Path(one.dir) for one in spec.starting]
    run = _Run(channel, objective, spec, study, slot)
    try:
        for one, folder in zip(spec.starting, folders, strict=True):
            folder.mkdir(exist_ok=True)
            with log_to(folder / LOG):
                print(heading(one, study, slot), flush=True)
                if folder != folders[0]:
                    print(f"trained together with others: what they print is in {folders[0].name}/{LOG}", flush=True)
        with log_to(folders[0] / LOG), contextlib.closing(run):
            try:
                run.begin()
                run.train()
            except StateIgnored as error:
                forget(error)
                run.close()
                start_over(run.left)
                run.begin()
                run.train()
    except (OSError, WriteFailed) as error:
        run.not_written(error)
    return run.results
