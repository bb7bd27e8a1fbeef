"""What a trial's handle needs of the attempt that runs it. Importing this module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sweep.study.space import Choice, Range
from sweep.study.trial import Decision, Position, Report, Suggested


class TrialHost(Protocol):
    """What a trial's handle needs of the attempt that runs it."""

    def checked(self, state: Any) -> dict[str, Any]:
        """Return a state as a dict; TypeError if a checkpoint could not give it back."""

    def record(self, step: int, metrics: Mapping[str, float], *, reported: bool) -> None:
        """Write metrics as scalars, and flush everything that the writer holds; `reported` by `Trial.report`."""

    def save(self, position: Position, state: dict[str, Any]) -> None:
        """Make a checkpoint of a checked state; the position needs no history."""

    def exchange(self, report: Report) -> Decision:
        """Send a report and wait for the decision on it."""

    def suggest(self, name: str, domain: Choice | Range) -> Suggested | Decision:
        """Ask for the value of a parameter and wait for it, or for the decision that ends the trial."""

    def stop_requested(self) -> bool:
        """Return whether the sweep is being stopped; this must be fast."""

    def restore_random_states(self) -> None:
        """Restore the random number generators from the checkpoint."""
