"""Where the time of a study went, as a value; `sweep.runner.timers` measures it.

    training        the objective, except for what follows
    logging         scalars, panels and whatever else reaches the event files through the trial's writer
    checkpointing   what `trial.save`, or a report with a state, writes and syncs
    starting        until the process is loaded and the data is prepared; of a trial, until its objective is called
    waiting         for the runner's decision, its next trial, or the other slots; messages on their way, too

Nothing here imports anything of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["training", "logging", "checkpointing", "starting", "waiting"]
KINDS: tuple[Kind, ...] = ("training", "logging", "checkpointing", "starting", "waiting")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Seconds by what they went to: of an attempt or a slot as measured, of a run or a study as shares of the wall clock."""

    training: float = 0.0
    logging: float = 0.0
    checkpointing: float = 0.0
    starting: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        """Return all of it: of a run or a study the wall clock."""
        return self.training + self.logging + self.checkpointing + self.starting + self.waiting

    @property
    def shares(self) -> dict[Kind, float]:
        """Return what part of the total went to what; nothing of no time."""
        total = self.total
        return {kind: getattr(self, kind) / total for kind in KINDS} if total else {}

    def __add__(self, other: Account) -> Account:
        return Account(
            training=self.training + other.training,
            logging=self.logging + other.logging,
            checkpointing=self.checkpointing + other.checkpointing,
            starting=self.starting + other.starting,
            waiting=self.waiting + other.waiting,
        )

    def scaled_to(self, seconds: float) -> Account:
        """Return the same shares of so many seconds; where there are none, nothing but the start has been."""
        total = self.total
        if not total:
            return Account(starting=seconds)
        return Account(**{kind: getattr(self, kind) * seconds / total for kind in KINDS})

    def to_json(self) -> dict[str, float]:
        """Return plain data to the millisecond, whose parts sum to its `wall_s`."""
        parts = {kind: round(getattr(self, kind), 3) for kind in KINDS}
        return {"wall_s": round(sum(parts.values()), 3)} | {f"{kind}_s": seconds for kind, seconds in parts.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Account:
        """Read what `to_json` made."""
        return cls(**{kind: float(data[f"{kind}_s"]) for kind in KINDS})
