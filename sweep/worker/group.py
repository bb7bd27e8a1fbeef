"""Trials that one worker trains together, as one model with a dimension for its members: `train.fused(group)`.

    for each member: its own attempt (checkpoint, event files, reports, end), as if it were alone
    fused(group) ─► group.report(step, metrics, states) ─► each member's trial.report, one after the other

A member that is pruned, complete, or reports a NaN ends alone and keeps its place: the arithmetic of the others stays the same.
If `fused` raises, nobody knows whose fault it is: all members that have not ended are put back, to be trained alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

from sweep.study import plain
from sweep.study.objective import ObjectiveNotFound
from sweep.worker.endings import TrialComplete, TrialPruned, TrialStopped
from sweep.worker.handle import MetricNotFinite, Trial

# What ends one member, and not the group.
OF_ONE = (TrialPruned, TrialStopped, TrialComplete, MetricNotFinite)


class AllEnded(BaseException):
    """Leave the objective: no member is wanted any more."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A trial of a group.

    Attributes:
        number, repeat, params, seed: as those of a `Trial`.
        trial: its handle; None if it has ended before this group started, and only keeps its place.
    """

    number: int
    repeat: int
    params: dict[str, Any]
    seed: int
    trial: Trial | None


class Group:
    """The handle that `train.fused(group)` gets: all members' trials at once.

    Attributes:
        members: in the order of their places, which never changes.
        device: the device to train on, for `torch.device`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        done: Sequence[int],
        device: str,
        seed: Callable[[int], None],
        over: Callable[..., None],
    ) -> None:
        self.members, self.device, self._done = tuple(members), device, done
        self._seed, self._over = seed, over
        self._wanted = [member.trial is not None for member in members]
        self._in_step = list(self._wanted)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def alive(self) -> tuple[bool, ...]:
        """Return whether each member is to be trained in this step.

        The row of one that is not must stay as it is: a member that was further when the group was interrupted joins later.
        """
        return tuple(wanted and here for wanted, here in zip(self._wanted, self._in_step, strict=True))

    @property
    def states(self) -> tuple[dict[str, Any] | None, ...]:
        """Return what each member resumes from, as `Trial.state`; read it after the models are made."""
        from sweep.worker.randomness import random_states, restore_random_states

        fresh, found = random_states(), dict[int, dict[str, Any] | None]()
        # Each restores the random number generators. Those of the member that is furthest behind are to last: of equal ones it
        # is the last, since they are saved in the order of their places.
        for place in sorted(range(len(self)), key=lambda place: (-self._done[place], place)):
            trial = self.members[place].trial
            found[place] = trial.state if trial is not None else None
            if trial is not None and found[place] is None:
                restore_random_states(fresh)
        return tuple(found[place] for place in range(len(self)))

    @property
    def stop_requested(self) -> bool:
        """Return whether the sweep is being stopped: time for `group.save(states)`."""
        asked = [trial.stop_requested for _, trial in self._trials()]  # of each: it says that the trial saves
        return any(asked)

    def seed(self, place: int) -> None:
        """Seed all random number generators as for a member that is trained alone: call it before its model is made."""
        self._seed(place)

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over the steps from 1 to `total` that are not done by all members; see `alive`.

        Raises:
            TypeError, ValueError: as `Trial.steps`.
        """
        iterators = {place: trial.steps(total) for place, trial in self._trials()}
        due: dict[int, int] = {}

        def advance(place: int) -> None:
            due.pop(place, None)
            if (step := self._of_one(place, lambda: next(iterators[place], None))) is not None:
                due[place] = step

        from sweep.worker.randomness import random_states, restore_random_states

        before = random_states()
        for place in iterators:
            advance(place)
        restore_random_states(before)  # which each of them has restored for itself alone
        self._check_alive()
        while due := {place: step for place, step in due.items() if self._wanted[place]}:
            now = min(due.values())
            self._in_step = [due.get(place) == now for place in range(len(self))]
            yield now
            for place in [place for place, here in enumerate(self._in_step) if here and self._wanted[place]]:
                advance(place)
            self._check_alive()
        self._in_step = list(self._wanted)

    def report(
        self,
        step: int,
        metrics: Sequence[Mapping[str, SupportsFloat]],
        states: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Report each member that is alive, as `Trial.report`; a member whose metric is NaN or infinite fails alone.

        Args:
            step: as there.
            metrics, states: one for each place; those of members that are not alive are ignored.
        """
        given = [None] * len(self) if states is None else states
        self._check_length("metrics", metrics)
        self._check_length("states", given)
        self._each(lambda place, trial: trial.report(step, metrics[place], given[place]))

    def save(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Make a checkpoint of each member that is alive, as `Trial.save`."""
        self._check_length("states", states)
        self._each(lambda place, trial: trial.save(states[place]))

    def _each(self, act: Callable[[int, Trial], None]) -> None:
        for place, trial in self._trials():
            if self._in_step[place]:
                self._of_one(place, functools.partial(act, place, trial))
        self._check_alive()

    def _trials(self) -> list[tuple[int, Trial]]:
        both = enumerate(zip(self.members, self._wanted, strict=True))
        return [(place, member.trial) for place, (member, wanted) in both if wanted and member.trial is not None]

    def _of_one(self, place: int, act: Callable[[], Any]) -> Any:
        """Return what a member's call returns; None if it ends the member."""
        try:
            return act()
        except OF_ONE as error:
            self._wanted[place] = False
            self._over(place, error)
            return None

    def _check_length(self, name: str, given: object) -> None:
        if not isinstance(given, Sequence) or len(given) != len(self):
            raise TypeError(f"{name} must be a list with one entry for each of the {len(self)} members")

    def _check_alive(self) -> None:
        if not any(self._wanted):
            raise AllEnded


def varies_of(objective: Any) -> tuple[str, ...] | None:
    """Return the parameters that may differ between trials that an objective trains together; None if it cannot do that.

    Raises:
        ObjectiveNotFound: its attribute `fused` is no such function.
    """
    if (found := getattr(objective, "fused", None)) is None:
        return None
    varies = getattr(found, "varies", None)
    if not callable(found) or not isinstance(varies, list | tuple) or not all(isinstance(name, str) for name in varies):
        example = 'train_together.varies = ("lr", "seed"); train.fused = train_together'
        raise ObjectiveNotFound(f"its attribute fused must be a function with a list varies of parameters: {example}")
    return tuple(map(plain.text, varies))
