"""Seeds that derive from the study's."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose from the study's seed: 31 bits, which NumPy, torch and Optuna accept."""
    text = ":".join(str(part) for part in (seed, *purpose))  # by SHA-256, so that it is the same with every Python
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
