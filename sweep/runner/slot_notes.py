"""What was decided about the slots of a session: said at once, stored for `sweep status` and the report, and said at the end."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

from sweep.runner.observers import Observer
from sweep.storage.files import write_json
from sweep.storage.folder import SLOT_NOTES, WAITING_SLOTS, StudyFolder, recorded, slot_notes


class SlotNotes:
    """Collect the notes of a session.

    Args:
        folder: the study's, whose `environment.json` describes the session already.
        observer: shows them.

    Attributes:
        say: shows a line that is no decision.
    """

    def __init__(self, folder: StudyFolder, observer: Observer) -> None:
        self.say, self._observer, self._folder = observer.notice, observer, folder
        self._texts: list[str] = []

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the notes of this session, in order."""
        return tuple(self._texts)

    def waiting(self, slots: int) -> None:
        """Show and store how many slots wait for room on a cluster."""
        self._observer.waiting(slots)
        self._store(**{WAITING_SLOTS: slots})

    def add(self, text: str, **figures: Any) -> None:
        """Show a note and store it, with the figures that it was decided by."""
        self.say(text)
        self._texts.append(text)
        note = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "text": text, **figures}
        self._store(**{SLOT_NOTES: [*slot_notes(self._folder), note]})

    def _store(self, **found: Any) -> None:
        with contextlib.suppress(OSError):  # it was shown; what ends a session is found by its next write
            write_json(self._folder.environment, recorded(self._folder) | found)
