"""Train several trials together in one worker: which of them, in which slots, and what follows if they fail together.

A worker that trains K trials at a time has K slots, its seats. They start together, and each ends by itself. What fails as a
whole may be any member's fault: those that have not ended are put back, to be trained alone; after a lack of memory, in groups of
half the size. A group whose process died is first trained again as it was, as often as a trial would be (`retries`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from sweep.runner.ledger import Ledger
from sweep.runner.slot_state import SlotState
from sweep.storage.folder import StudyFolder
from sweep.study.groups import Groups, Key, why_none
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import NOT_FUSABLE, OUT_OF_MEMORY, GroupSpec, TrialSpec
from sweep.worker.devices import Slot
from sweep.worker.executors.together import Together
from sweep.worker.protocol import Worker


class Fusing:
    """Know the groups of a session.

    Args:
        study: `workers.fuse` says how many members a group may have.
        folder: the study's.
        ledger: knows the runs.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, ledger: Ledger) -> None:
        self._study, self._folder, self._ledger = study, folder, ledger
        self._size = study.workers.fuse or 1
        self._groups: Groups | None = None
        self._most: dict[Key, int] = {}  # of members, for runs whose group has failed
        self._deaths: Counter[Key] = Counter()  # of their groups

    def loaded(self, varies: Sequence[str] | None) -> str:
        """Note what the objective allows; return what is to be said about it, or an empty text."""
        if self._size == 1 or self._groups is not None:
            return ""
        why = why_none(self._study, varies)
        self._groups = Groups(study=self._study, varies=tuple(varies or ()), size=1 if why else self._size)
        return f"workers.fuse={self._size} has no effect: {why}" if why else ""

    def seated(self, seats: Sequence[SlotState], first: TrialRecord) -> list[tuple[SlotState, TrialRecord]]:
        """Return the runs that start together, each with its slot.

        Args:
            seats: the slots of a worker that is idle.
            first: the run to start next.
        """
        fellows = self._fellows(first.key)
        if len(fellows) == 1:
            seats[0].group = None
            return [(seats[0], first)]
        found = [(first, True) if key == first.key else self._ledger.take(key) for key in fellows]
        specs = tuple(spec_of(record, self._study, self._folder, {}, record.attempts + 1) for record, _ in found)
        keys = frozenset(spec.key for spec, (_, starts) in zip(specs, found, strict=True) if starts)
        group = GroupSpec(members=specs, wanted=keys)
        for seat in seats:
            seat.group = group
        return list(zip(seats, (record for record, starts in found if starts), strict=False))

    def _fellows(self, key: Key) -> Sequence[Key]:
        """Return the runs that are to be trained with this one, itself included, in order."""
        if self._groups is None:
            return (key,)
        most = self._most.get(key)
        return [other for other in self._groups.of(key, most) if other == key or self._most.get(other) == most]

    def failed(self, key: Key, members: int, cause: str | None) -> None:
        """Train a run in a smaller group, since that of so many members has failed; after a few deaths only, as a trial alone."""
        if cause == "died":
            self._deaths[key] += 1
            if self._deaths[key] <= self._study.retries:
                return
        if cause == NOT_FUSABLE:  # the next group would not do better
            self._groups = replace(self._groups, size=1) if self._groups else None
        self._most[key] = max(1, members // 2) if cause == OUT_OF_MEMORY else 1


def spec_of(record: TrialRecord, study: StudySpec, folder: StudyFolder, columns: dict[str, str], attempt: int) -> TrialSpec:
    """Return what a worker is told of a run.

    Args:
        record, study, folder: the run's, its study and the study's folder.
        columns: see `TrialSpec`.
        attempt: which one it is.
    """
    return TrialSpec(
        number=record.number,
        repeat=record.repeat,
        params={} if study.suggests else record.params,  # its function asks for them
        seed=record.seed,
        dir=str(folder.trial_dir(record.folder)),
        attempt=attempt,
        columns=columns,
    )


def enough(slots: Sequence[Slot], runs: int | None) -> Sequence[Slot]:
    """Return as many of the slots as there are runs for, with all seats of each worker; all if the number of runs is open."""
    return slots if runs is None else slots[: -(-runs // slots[0].seats) * slots[0].seats] if slots else slots


def workers_of(slots: Sequence[Slot]) -> list[Slot]:
    """Return one slot of each worker."""
    return [slot for slot in slots if slot.seat == 0]


def with_seats(slots: Sequence[Slot], count: int) -> list[Slot]:
    """Return `count` slots for each of these: the seats of its worker."""
    return [replace(slot, index=slot.index * count + seat, seat=seat, seats=count) for slot in slots for seat in range(count)]


def shared(make_worker: Callable[[Slot], Worker]) -> Callable[[Slot], Worker]:
    """Return a function that gives the seats of a slot one worker."""
    found: dict[int, Together] = {}

    def make(slot: Slot) -> Worker:
        if slot.seats == 1:
            return make_worker(slot)
        if slot.seat == 0:
            found[slot.index] = Together(make_worker(slot), slot.seats)
        return found[slot.index - slot.seat].member(slot.seat)

    return make
