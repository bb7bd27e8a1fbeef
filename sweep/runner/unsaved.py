"""Say once in a session what an interruption costs: work, where trials save no state; digits, where they resume elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sweep.errors import one_line
from sweep.study.spec import StudySpec
from sweep.study.trial import Report, TrialResult, TrialState
from sweep.worker.protocol import Resumed

# What a person would not like to lose.
_LONG_S = 20.0
_LONG_UNSAVED_S = 60.0  # an objective may save at some reports only
_INTERRUPTED_S = 1.0


class UnsavedWork:
    """Look at what trials send.

    Args:
        study: says whether its trials are functions or commands.
        notice: shows a line.
    """

    def __init__(self, study: StudySpec, notice: Callable[[str], None]) -> None:
        self._what = "command" if study.command is not None else "objective"
        self._notice = notice
        self._said = self._moved = False

    def look(self, event: object, seconds: float) -> None:
        """Look at an event of a trial, which has trained for this long."""
        if isinstance(event, Report):
            self._say(not event.saves and seconds > _LONG_UNSAVED_S)
        elif isinstance(event, TrialResult):
            waiting = event.state is TrialState.WAITING and event.cause is None
            finished = event.state in (TrialState.COMPLETE, TrialState.PRUNED)
            self._say(not event.saves and ((waiting and seconds > _INTERRUPTED_S) or (finished and seconds > _LONG_S)))

        elif isinstance(event, Resumed) and event.moved and not self._moved:
            self._moved = True
            self._notice(f"trials resume where their digits may differ: {one_line(event.moved)}")

    def interrupt(self, seconds: Iterable[float]) -> None:
        """Look at the trials that are ended without a checkpoint, which have trained for this long."""
        self._say(max(seconds, default=0.0) > _INTERRUPTED_S)

    def _say(self, worth: bool) -> None:
        if worth and not self._said:
            self._said = True
            self._notice(f"this {self._what} saves no state: an interrupted trial starts over (`sweep docs own-code` says how)")
