"""A slot as the runner sees it: its worker, and what the worker is doing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sweep.runner.timers import SlotTimer
from sweep.study.record import TrialRecord
from sweep.study.spec import WorkersSpec
from sweep.worker.devices import Slot, plan_slots
from sweep.worker.protocol import Worker


@dataclass(kw_only=True, eq=False)
class SlotState:
    """What the runner knows of a slot.

    Attributes:
        place: the slot itself.
        began: when the running trial began, moved back by the time of its earlier attempts.
        queued: the trial to start once the worker, whose process is new, is loaded: a timeout counts training alone.
        awaited: whether a session that stops waits for the next step: not where a trial reports without checkpoints.
    """

    place: Slot
    worker: Worker
    timer: SlotTimer
    loaded: bool = False
    deaths_at_start: int = 0
    trial: TrialRecord | None = None
    queued: TrialRecord | None = None
    began: float = 0.0
    awaited: bool = True
    timed_out: bool = False

    @property
    def seconds(self) -> float:
        """Return how long the running trial has been trained."""
        return time.monotonic() - self.began


def slots_for(workers: WorkersSpec) -> list[Slot]:
    """Return the slots that a session begins with.

    Raises:
        SweepError: a GPU is asked for that is not visible.
    """
    return plan_slots(workers.devices, workers.per_device, workers.threads)
