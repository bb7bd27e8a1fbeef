"""One run of a script, from its start to its end: a loop that waits for its output, its requests and its end."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import selectors
import shlex
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep.study.command import filled, program, resumes_itself
from sweep.study.trial import Scalar
from sweep.worker.handle import Trial, TrialFailed, TrialStopped
from sweep.worker.protocol import death_of
from sweep.worker.script.client import VARIABLE
from sweep.worker.script.connection import Connections
from sweep.worker.script.process import GrowingFile, Script, line_reader
from sweep.worker.script.reports import METRICS, Reports

PATIENCE_S = 10.0
GRACE_S = 20.0  # less than the runner's own
_POLL_S = 0.05
_READ_S = 0.25
_LAST_LINES = 30


def objective_of(command: Sequence[str], folder: Path, metric: str) -> Callable[[Trial], None]:
    """Return the objective that a command is.

    Args:
        command: its words, with placeholders (`sweep.study.command`).
        folder: where it runs.
        metric: output that has this name is a report.
    """

    def train(trial: Trial) -> None:
        with _logdir(trial) as logdir:
            reports = Reports(trial, metric, logdir, continues=resumes_itself(command, trial.params))
            try:
                _Run(trial, reports, command, folder, logdir).run()
            finally:
                if not isinstance(sys.exception(), TrialStopped):
                    reports.events.remove()

    return train


@contextlib.contextmanager
def _logdir(trial: Trial) -> Iterator[Path]:
    """Make a folder that TensorBoard does not show; its name depends on the trial, so the next attempt removes a killed one's."""
    mark = hashlib.sha256(str(trial.dir).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"sweep-{os.getuid()}-{mark}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(self, trial: Trial, reports: Reports, command: Sequence[str], folder: Path, logdir: Path) -> None:
        self._trial, self._reports, self._command, self._folder, self._logdir = trial, reports, command, folder, logdir
        self._selector = selectors.DefaultSelector()
        self._connections = Connections(trial, reports, self._selector, lambda: self._reason, self._end)
        self._metrics = GrowingFile(trial.dir / METRICS, from_end=bool(reports.after))
        self._reason: BaseException | None = None  # why it is being ended
        self._asked: float | None = None  # when it was asked to end
        self._read = 0.0  # when its files were read
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def run(self) -> None:
        """Start the script and wait until it has ended.

        Raises:
            TrialFailed: it cannot be started, or failed.
            BaseException: what the handle raised at one of its reports.
        """
        with self._selector, contextlib.closing(self._connections) as connections:
            words, environment = self._filled(connections.facts)
            with contextlib.closing(Script(words, self._folder, environment)) as script:
                for pipe, error in zip(script.outputs, (False, True), strict=True):
                    line_reader(self._selector, pipe, functools.partial(self._printed, error=error))
                self._follow(script)
                with self._kept():
                    if self._reason is None:
                        self._reports.events.finish()
                if self._reason is not None:
                    raise self._reason
                if script.code:
                    raise connections.refused or self._failure(script, words)
        if not self._trial.metrics:
            print(
                "sweep: the command reported nothing. Three ways:  from sweep import trial; trial.report(step, {...})"
                '  or print {"step": 1, "name": 0.1} as a line  or SummaryWriter(log_dir=...) in ${logdir}',
                file=sys.stderr,
                flush=True,
            )

    def _follow(self, script: Script) -> None:
        while True:
            gone = script.gone()
            if gone:
                script.kill()  # processes that it left running may hold the pipes, or a device's memory
            ready = self._selector.select(0 if gone else _POLL_S)
            for key, _ in ready:
                key.data()
            if gone or time.monotonic() - self._read > _READ_S:
                self._read = time.monotonic()
                self._read_files(last=gone)
            self._end_if_asked(script)
            if gone and not ready:
                return

    def _read_files(self, *, last: bool) -> None:
        with self._kept():
            for line in self._metrics.lines(last=last):
                self._line(line)
        with self._kept():
            if self._reason is None:
                self._reports.events.read()

    def _end_if_asked(self, script: Script) -> None:
        now = time.monotonic()
        if self._asked is None and self._trial.stop_requested:
            self._asked = now
            self._connections.stopping = True
        if self._asked is None:
            return
        if not self._connections.used or now - self._asked > PATIENCE_S:
            self._reason = self._reason or TrialStopped()
            script.terminate()
        if now - self._asked > GRACE_S:
            script.kill()

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep what the handle raises until the script has ended because of it."""
        try:
            yield
        except BaseException as error:  # TrialPruned and a write that failed as well
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self._reason = self._reason or error
        self._asked = self._asked or time.monotonic()

    def _printed(self, line: str, *, error: bool) -> None:
        with self._kept():
            if error or not self._line(line):
                self._last.append(line.rstrip("\r").rpartition("\r")[2][:500])  # what a terminal would show of a progress bar
                print(line, file=sys.stderr if error else sys.stdout, flush=True)

    def _line(self, line: str) -> bool:
        return self._reason is None and self._reports.line(line)

    def _filled(self, connection: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        trial = self._trial
        own: dict[str, Scalar] = {
            "number": trial.number,
            "seed": trial.seed,
            "dir": str(trial.dir),
            "logdir": str(self._logdir),
            "device": trial.device,
            "step": self._reports.after,
        }
        words = filled(self._command, trial.params, own)
        facts = own | {"attempt": trial.attempt, "params": trial.params} | connection
        # Else Python buffers what it prints into a pipe, and every report would be late.
        environment = {"PYTHONUNBUFFERED": "1"} | os.environ | {VARIABLE: json.dumps(facts)}
        return [program(words[0], self._folder), *words[1:]], environment

    def _failure(self, script: Script, words: Sequence[str]) -> TrialFailed:
        printed = "\n".join(self._last) or "(it printed nothing)"
        code = script.code
        ended = f"exited with code {code}" if code >= 0 else f"was ended by {death_of(-code)}"
        return TrialFailed(f"the command {ended}: {shlex.join(words)}\nthe last lines of its output:\n{printed}")
