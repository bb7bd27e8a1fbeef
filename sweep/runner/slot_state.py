"""What the runner knows of a slot, and of the trial in it."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.runner.timers import SlotTimer
from sweep.study.record import TrialRecord
from sweep.study.trial import GroupSpec
from sweep.worker import protocol
from sweep.worker.devices import Slot


@dataclass(kw_only=True, eq=False)
class SlotState:
    """A slot while a session runs.

    Attributes:
        place: the slot itself.
        node: where its worker is, if that is not this machine.
        began: when the running trial began, moved back by the time of its earlier attempts.
        before: the seconds of its earlier attempts; None if none is known.
        queued: the trial to start once the worker, whose process is new, is loaded: a timeout counts training alone.
        group: what the running trial is trained together with; None if it is alone.
        closing: the slot is closed when its trial has ended.
        timed_out, killed: the running trial's time is over; it was ended by force.
        awaited: whether a session that stops waits for the next step: not where a trial reports without checkpoints.
    """

    place: Slot
    worker: protocol.Worker
    timer: SlotTimer
    node: str = ""
    loaded: bool = False
    deaths_at_start: int = 0
    trial: TrialRecord | None = None
    queued: TrialRecord | None = None
    began: float = 0.0
    before: float | None = None
    awaited: bool = True
    group: GroupSpec | None = None
    closing: bool = False
    timed_out: bool = False
    killed: bool = False

    @property
    def seconds(self) -> float:
        """Return how long the running trial has been trained."""
        return self.timer.now() - self.began
