"""`sweep logs`: what trials have printed, and with `-f` what they print from now on.

A log is read as bytes and shown line by line; of a progress bar, which rewrites its line, only the last state. A trial's log is
followed over all its attempts. While the logs of several runs are shown at once, each line begins with its run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from sweep.cli.streams import nobody_reads
from sweep.cli.target import Target, no_such_trial
from sweep.errors import SweepError
from sweep.storage.database import read_records, read_running, read_states
from sweep.storage.folder import LOG
from sweep.storage.lock import lock_holder
from sweep.storage.messages import not_regular
from sweep.storage.regular import NotRegular, identity, open_own
from sweep.study.formatting import run_text, trials_text
from sweep.study.record import TrialRecord
from sweep.study.repeats import trial_of

_POLL_S = 0.2
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20  # a longer one is shown in pieces


class _Log:
    """The log of a run, shown as far as it has been written.

    Args:
        path: it may not exist yet.
        name: the run's, before each line; empty if there is no other one.
        tail: how many of the lines that are there at first are shown; None for all.
    """

    def __init__(self, path: Path, name: str, tail: int | None) -> None:
        self._path, self.name, self._tail = path, name, tail
        self._file: tuple[int, int] | None = None
        self._place, self._begun = 0, b""

    def show(self, width: int, *, last: bool) -> None:
        """Print the lines that have been added since the last call.

        Args:
            width: of the names of all runs.
            last: print also a line that has not ended.

        Raises:
            SweepError: it is a link or such.
        """
        try:
            descriptor = open_own(self._path, os.O_RDONLY)
        except NotRegular as error:
            raise not_regular(error) from None
        except OSError:  # not yet there, or gone
            return
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if self._file not in (None, identity(found)) or found.st_size < self._place:  # another one, or it was cut
                self._place, self._begun = 0, b""
            self._file = identity(found)
            if self._tail is not None:
                self._place, self._tail = _start_of_tail(file, self._tail), None
            file.seek(self._place)
            while chunk := file.read(_CHUNK):
                self._place += len(chunk)
                *lines, self._begun = (self._begun + chunk).split(b"\n")
                self._print(lines, width)
                if len(self._begun) > _LONGEST_LINE:
                    self._print([self._begun], width)
                    self._begun = b""
        if last and self._begun:
            self._print([self._begun], width)
            self._begun = b""

    def _print(self, lines: Iterable[bytes], width: int) -> None:
        prefix = f"{self.name:{width}} | " if self.name else ""
        for line in lines:
            shown = line.rstrip(b"\r").rpartition(b"\r")[2]  # as a terminal would show it at last
            print(prefix + shown.decode("utf-8", "replace"))


def show_logs(target: Target, number: int | None, *, follow: bool, tail: int | None) -> None:
    """Print the log of a trial, or those of all running ones.

    Args:
        target: the study.
        number: the trial's; None for all running ones.
        follow: go on until the trial, or the session, has ended, or Ctrl-C.
        tail: how many of the lines that are there are shown; None for all.

    Raises:
        SweepError: there is no such trial, or none is running.
    """
    try:
        _show(target, number, follow=follow, tail=tail)
    except KeyboardInterrupt:
        if not follow:
            raise


def _show(target: Target, number: int | None, *, follow: bool, tail: int | None) -> None:
    study, folder = target.study, target.folder
    logs: dict[str, _Log] = {}
    open_logs: set[str] = set()
    while True:
        began = time.monotonic()
        running = lock_holder(folder) is not None  # before the records, so that all that it stored is in them
        found = read_running(folder) if number is None else read_records(folder, [number])
        runs = found if running or number is not None else []  # else they are those of a session that was killed
        if not logs:
            _check(target, number, runs, waits=running and follow)
        for run in runs:
            if run.folder not in logs:
                name = run_text(run, study) if number is None or study.repeats > 1 else ""
                logs[run.folder] = _Log(folder.trial_dir(run.folder) / LOG, name, tail)
                open_logs.add(run.folder)
        left = {run.folder for run in runs if not run.state.finished} if running else set()
        ended = number is not None and bool(runs) and trial_of(runs, study).state.finished
        width = max((len(log.name) for log in logs.values()), default=0)
        for place in sorted(open_logs | left):
            logs[place].show(width, last=not follow or place not in left)
        open_logs = left
        sys.stdout.flush()
        if not (follow and running) or ended or nobody_reads():
            return
        time.sleep(max(_POLL_S, 10 * (time.monotonic() - began)))  # among many trials a look takes longer


def _check(target: Target, number: int | None, runs: Sequence[TrialRecord], *, waits: bool) -> None:
    """Check that there is a log to show, or to wait for.

    Raises:
        SweepError: there is none.
    """
    if runs or (waits and number is None):
        return
    known = read_states(target.folder)
    there = f"there are {trials_text(known)}" if known else "nothing has run"
    if number is None:
        what = f"no trial of {target.study.name} is running, and of the others no number is given; {there}"
        raise SweepError(
            "no-trial-runs", what, do=f"sweep logs {target.word} {max(known, default=0)}   shows the log of that trial"
        )
    if waits and (target.study.total is None or number < target.study.total):
        return
    raise no_such_trial(target, number, known)


def _start_of_tail(file: BinaryIO, lines: int) -> int:
    """Return where the last lines of a file begin."""
    place = size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        lines += file.read(1) == b"\n"  # that of the last one does not begin another
    while place > 0 and lines > 0:
        start = max(0, place - _CHUNK)
        file.seek(start)
        chunk = file.read(place - start)
        for _ in range(min(lines, chunk.count(b"\n"))):
            place_in_chunk = chunk.rindex(b"\n")
            chunk, lines = chunk[:place_in_chunk], lines - 1
            if lines == 0:
                return start + place_in_chunk + 1
        place = start
    return place
