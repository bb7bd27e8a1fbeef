"""A slot as the runner sees it: its worker, and what the worker is about."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sweep.runner.timers import SlotTimer
from sweep.study.record import TrialRecord
from sweep.worker.devices import Slot
from sweep.worker.protocol import Worker


@dataclass(kw_only=True, eq=False)
class SlotState:
    """What the runner keeps of a slot.

    Attributes:
        began: when the trial in flight began, moved back by what it had been trained before.
        queued: the trial to start once the worker, whose process is new, is loaded: a timeout counts training alone.
        fruitless: it reports without checkpoints, so that waiting for its next step would save nothing.
    """

    slot: Slot
    worker: Worker
    clock: SlotTimer
    loaded: bool = False
    deaths_at_start: int = 0
    trial: TrialRecord | None = None
    queued: TrialRecord | None = None
    began: float = 0.0
    fruitless: bool = False
    timed_out: bool = False

    @property
    def seconds(self) -> float:
        """Return how long the trial in flight has been trained."""
        return time.monotonic() - self.began
