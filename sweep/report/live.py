"""The report's page while a session runs: what runs now is computed often, the statistics seldom, and neither costs much.

A browser asks for the state. It is computed again when a file of the study has changed, and not before a multiple of the time
that the last one took. The page with the statistics is computed in a thread, when a trial has ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from sweep.errors import SweepError
from sweep.report.facts import gather
from sweep.report.frame import as_json, fragment
from sweep.report.now import Now, happening
from sweep.report.page import LivePart, page_text, trial_data
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder
from sweep.storage.snapshot import Snapshot

# A state and a page are computed again after this many times the CPU time that the last one took, and after these seconds.
_STATE_TIMES, _PAGE_TIMES = 300.0, 600.0
_STATE_S, _PAGE_S = 2.0, 5.0
_AGAIN_S = 10.0  # the times of running trials grow although nothing is stored
_ENDED_POLL_S = 10.0  # a browser asks so often once the session has ended: another one may begin


class LivePage:
    """The page of a study, and what has changed since.

    Args:
        folder: the study's.
        take: reads the study.
    """

    def __init__(self, folder: StudyFolder, take: Callable[[], Snapshot]) -> None:
        self._folder, self._take = folder, take
        self._lock = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._now: Now | None = None
        self._mark: object = None
        self._taken, self._due = 0.0, 0.0
        self._serial = _moment()  # none that a page of an earlier server has seen
        self._text, self._version, self._shown, self._page_due = "", 0, _Shown(None), 0.0
        self._changed: tuple[int, dict[str, Any]] = 0, {}  # of the last state, with its number
        self._maker: threading.Thread | None = None

    def page(self) -> str:
        """Return the whole page.

        Raises:
            SweepError: the study cannot be read.
        """
        with self._lock:
            self._refresh()
            if not self._version and self._snapshot is not None:
                self._make(self._snapshot, self._now)
            return self._text

    def state(self, seen: int = 0) -> str:
        """Return as JSON what has changed since a state that the reader has seen.

        Args:
            seen: its number (`serial`).

        Raises:
            SweepError: the study cannot be read.
        """
        with self._lock:
            cpu = time.thread_time()
            self._refresh()
            if self._changed[0] != self._serial:
                self._changed = self._serial, self._changes()
                self._due = self._taken + max(_STATE_S, _STATE_TIMES * (time.thread_time() - cpu))
            ended = self._now is None and self._shown.holds(self._snapshot)
            again = _ENDED_POLL_S if ended else max(_STATE_S, self._due - time.monotonic())
            head = {"serial": self._serial, "version": self._version, "ended": ended, "again_s": round(again, 2)}
            return as_json(head if seen == self._serial else head | self._changed[1])

    def _refresh(self) -> None:
        """Read the study if it has changed and enough time has passed; have the page made if a trial has ended."""
        began = time.monotonic()
        if began >= self._due:
            mark = self._folder.stamps(), lock_holder(self._folder) is None
            if mark != self._mark or (self._now is not None and began - self._taken >= _AGAIN_S):
                snapshot = self._take()
                self._now = happening(snapshot) if snapshot.runner is not None else None
                self._snapshot, self._mark, self._taken = snapshot, mark, began
                self._serial += 1
                self._due = began + _STATE_S
        idle = self._maker is None or not self._maker.is_alive()
        late = began >= self._page_due or self._shown.runs != (self._now is not None)  # a session's begin and end do not wait
        if self._version and idle and late and not self._shown.holds(self._snapshot):
            self._maker = threading.Thread(target=self._make_beside, args=(self._snapshot, self._now), daemon=True)
            self._maker.start()

    def _changes(self) -> dict[str, Any]:
        """Return what runs now, its charts, and the trials that are not in the page as they are now."""
        if self._now is None or self._snapshot is None:
            return {}
        study, shown = self._snapshot.study, self._shown.trials
        changed = (r for r in self._snapshot.records if not r.state.finished or shown.get(r.number) is not r.state)
        trials = [trial_data(record, study) for record in changed]
        return {"now": fragment("now.html", {"now": self._now}), "charts": self._now.charts, "trials": trials}

    def _make_beside(self, snapshot: Snapshot, now: Now | None) -> None:
        with contextlib.suppress(SweepError):  # who asks for the state is told
            self._make(snapshot, now)

    def _make(self, snapshot: Snapshot, now: Now | None) -> None:
        """Compute the page of a snapshot."""
        cpu, version = time.process_time(), _moment()  # linear algebra has threads of its own
        text = page_text(gather(snapshot), LivePart(version=version, now=now))
        with self._lock:
            self._page_due = time.monotonic() + max(_PAGE_S, _PAGE_TIMES * (time.process_time() - cpu))
            self._shown, self._text = _Shown(snapshot), text
            self._version = version
            self._serial += 1


def _moment() -> int:
    return time.time_ns() // 1_000_000


class _Shown:
    """What a page shows of a study."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.trials = {record.number: record.state for record in snapshot.records} if snapshot else {}
        self.runs = snapshot is not None and snapshot.runner is not None
        self._ended = _ended(snapshot)

    def holds(self, snapshot: Snapshot | None) -> bool:
        """Return whether the page shows all trials that have ended, the remarks, and whether a session runs."""
        return self._ended == _ended(snapshot)


def _ended(snapshot: Snapshot | None) -> tuple[object, ...] | None:
    if snapshot is None:
        return None
    finished = [record for record in snapshot.records if record.state.finished]
    return snapshot.runner is None, snapshot.note, bool(snapshot.records), finished
