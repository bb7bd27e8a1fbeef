"""What runs the workers of a session: this machine, or a cluster whose machines come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweep.errors import SweepError
from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot
from sweep.worker.protocol import Worker


class Engine(Protocol):
    """Makes the worker of each slot."""

    @property
    def grows(self) -> bool:
        """Return whether there may be room for more slots while a session runs; then it also goes on without one."""

    def make_worker(self, slot: Slot, /) -> Worker:
        """Return a slot's worker."""

    def look(self, open_slots: int, wanted: int | None) -> tuple[Sequence[Slot], Sequence[str]]:
        """Return the slots that there is room for now, and what there is to say.

        Args:
            open_slots: how many there are already.
            wanted: how many trials run and are still to start; None if that is open.
        """


@dataclass(frozen=True, kw_only=True)
class Here:
    """This machine, whose slots are those that a session begins with."""

    make_worker: Callable[[Slot], Worker]
    grows: bool = False

    def look(self, _open_slots: int, _wanted: int | None) -> tuple[Sequence[Slot], Sequence[str]]:
        """Return nothing: what is here does not change."""
        return (), ()


def check_engine(workers: WorkersSpec, *, inline: bool = False) -> None:
    """Check that what is to run the workers is there.

    Args:
        workers: the study's.
        inline: trials are to run in this process.

    Raises:
        SweepError: Ray is not installed, or it cannot be used so.
    """
    if workers.engine != "ray":
        return
    if inline:
        raise SweepError(
            "inline-on-a-cluster",
            "trials cannot run in this process and on a Ray cluster",
            why="workers.engine is ray, and --inline runs one trial at a time in this process",
            do="workers.engine=local   with --inline, in this process\nno --inline            on the cluster",
        )
    if (workers.fuse or 1) > 1:
        raise SweepError(
            "fused-on-a-cluster",
            f"workers.fuse={workers.fuse} trains several trials in one worker of this machine, not of a Ray cluster",
            do="workers.fuse=auto      one trial at a time, on the cluster\nworkers.engine=local   together, on this machine",
        )
    from sweep.worker.executors.ray.connecting import check_installed

    check_installed()
