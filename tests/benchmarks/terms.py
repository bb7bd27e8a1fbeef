"""What all sides of `compare` have in common: the same twelve settings, samples and epochs.

Nothing heavy is imported here, so that a peer's first process, which trains nothing, does not import torch.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from typing import Any

LRS, BATCH_SIZES, SHUFFLES = (0.01, 0.001), (32, 64, 128), (True, False)
GRID: list[dict[str, Any]] = [
    {"lr": lr, "batch_size": batch_size, "shuffle": shuffle}
    for lr, batch_size, shuffle in itertools.product(LRS, BATCH_SIZES, SHUFFLES)
]
TRAINING_SAMPLES = 55_000


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is trained, where, and how many trials run at a time."""

    folder: str
    epochs: int
    samples: int
    slots: int
    device: str

    def packed(self) -> str:
        """Return the terms as one word of a command line."""
        return json.dumps(asdict(self))


def unpacked(word: str) -> Terms:
    """Return the terms that `packed` wrote."""
    return Terms(**json.loads(word))


def tag(setting: dict[str, Any]) -> str:
    """Return a setting's name, as the tutorials' comment for SummaryWriter."""
    return " ".join(f"{name}={setting[name]}" for name in GRID[0])
