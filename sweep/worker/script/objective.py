"""One run of a script, from its start to its end: a loop that waits for its output, its requests and its end."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import selectors
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweep.storage.folder import LOG
from sweep.storage.regular import make_folders
from sweep.study.command import JSON_FILE, filled, filled_text, program, resumes_itself, uses
from sweep.study.python_words import nested
from sweep.study.spec import StudySpec
from sweep.study.trial import Scalar, with_tuples
from sweep.worker.endings import TrialFailed, TrialStopped
from sweep.worker.handle import Trial
from sweep.worker.protocol import death_of
from sweep.worker.script import wandb_run
from sweep.worker.script.client import VARIABLE
from sweep.worker.script.connection import Connections
from sweep.worker.script.lines import GrowingFile, Piece, line_reader
from sweep.worker.script.private import private_folder
from sweep.worker.script.process import Script
from sweep.worker.script.reports import METRICS, Reports
from sweep.worker.script.requests import Requests
from sweep.worker.script.wandb_run import OfflineRuns

PATIENCE_S = 10.0
GRACE_S = 20.0  # less than the runner's own
_POLL_S = 0.05
_READ_S = 0.25
_REST_S = 2.0  # for what is still in the pipes when it has ended
_LAST_ROWS_S = 1.5  # for wandb's own process, which writes the last rows and ends when it misses a script that was killed
_LAST_LINES, _KEPT_LINES = 30, 200


def objective_of(study: StudySpec) -> Callable[[Trial], dict[str, float] | None]:
    """Return the objective that a study's command is; output that has the name of its first metric is a report."""
    command, metric = study.command or (), study.metric.name

    def train(trial: Trial) -> dict[str, float] | None:
        with private_folder() as private:
            logdir = private / "logs"  # a folder that TensorBoard does not show
            logdir.mkdir()
            reports = Reports(trial, metric, logdir, continues=resumes_itself(command, trial.params))
            try:
                last = _Run(trial, reports, study, logdir).run()
            finally:
                if not isinstance(sys.exception(), TrialStopped):
                    reports.events.remove()
            if metric not in trial.metrics and reports.dropped:
                raise TrialFailed(f"the command never reported {metric!r}: in the first line that has it, {reports.dropped}")
            return last

    return train


class _Run:
    def __init__(self, trial: Trial, reports: Reports, study: StudySpec, logdir: Path) -> None:
        self._trial, self._reports, self._command, self._env = trial, reports, study.command or (), study.env
        self._own: dict[str, Scalar] = {
            "number": trial.number,
            "seed": trial.seed,
            "dir": str(trial.dir),
            "logdir": str(logdir),
            "device": trial.device,
            "step": reports.after or 0,
        }
        self._params = {name: with_tuples(value) for name, value in trial.params.items()}  # a function's has lists
        self._groups, self._together = study.nested, nested(trial.params, study.nested)
        self._folder = Path(study.import_dir)
        self._cwd = self._folder if study.cwd is None else self._folder / self._text(study.cwd)
        self._wandb = OfflineRuns(trial.dir, study.metric.name, reports.row, reports.point)
        self._private = logdir.parent
        self._selector = selectors.DefaultSelector()
        self._requests = Requests(trial, reports, lambda: self._reason, self._end)
        self._connections = Connections(self._private, self._selector, self._requests.answer)
        self._metrics = GrowingFile(trial.dir / METRICS, from_end=reports.after is not None)
        self._reason: BaseException | None = None  # why it is being ended
        self._asked: float | None = None  # when it was asked to end
        self._read = 0.0  # when its files were read
        self._ended: float | None = None  # when its main process was found to have ended
        self._last: deque[tuple[str, bool]] = deque(maxlen=_KEPT_LINES)  # with whether it was printed to stderr

    def run(self) -> dict[str, float] | None:
        """Start the script and wait until it has ended; return its last metrics, besides those that it has reported.

        Raises:
            TrialFailed: it cannot be started, or failed.
            BaseException: what the handle raised at one of its reports.
        """
        with self._selector, contextlib.closing(self._connections) as connections:
            words, environment = self._filled(connections.facts)
            try:
                own = self._cwd.relative_to(self._trial.dir).parts if self._cwd.is_relative_to(self._trial.dir) else ()
                make_folders(self._cwd, len(own))  # a link in the run folder is not followed
                self._cwd.mkdir(parents=True, exist_ok=True)
            except OSError as why:
                raise TrialFailed(f"the folder that the command is to run in cannot be made: {why}") from None
            with contextlib.closing(Script(words, self._cwd, environment)) as script:
                for pipe, error in zip(script.outputs, (False, True), strict=True):
                    line_reader(self._selector, pipe, functools.partial(self._printed, error=error))
                self._follow(script)
                with self._kept():
                    if self._reason is None:
                        self._wandb.read()
                        self._reports.events.finish()
                if self._reason is not None:
                    raise self._reason
                if script.code:
                    raise self._requests.refused or self._failure(script, words)
        last = self._reports.last(self._wandb.last_metrics())
        if not self._trial.metrics and not last:
            print(
                "sweep: the command reported nothing. Four ways:  from sweep import trial; trial.report(step, {...})"
                '  or print {"step": 1, "name": 0.1} as a line  or SummaryWriter(log_dir=...) in ${logdir}'
                "  or wandb.log, with env: {WANDB_MODE: offline} in the study file",
                file=sys.stderr,
                flush=True,
            )
        return last

    def _follow(self, script: Script) -> None:
        while True:
            gone = script.gone()
            if gone:
                self._ended = self._ended or time.monotonic()
            needed = gone and self._wandb.unfinished and self._reason is None
            writes = needed and time.monotonic() - (self._ended or 0.0) < _LAST_ROWS_S
            if gone and not writes:
                script.kill()  # processes that it left running may hold the pipes, or a device's memory
            ready = self._selector.select(_POLL_S if writes or not gone else 0)
            for key, _ in ready:
                key.data()
            all_read = True
            if gone or time.monotonic() - self._read > _READ_S:
                all_read = self._read_files(last=gone)
                self._read = time.monotonic()
            self._connections.expire()
            self._end_if_asked(script)
            if self._ended and not writes and all_read and (not ready or time.monotonic() - self._ended > _REST_S):
                return  # a process that left the group may print for ever

    def _read_files(self, *, last: bool) -> bool:
        """Read the script's files for a while; return whether that was all."""
        with self._kept():
            for piece in self._metrics.lines(last=last):
                self._report(piece)
        with self._kept():
            if self._reason is None:
                return self._wandb.read(_READ_S) and self._reports.events.read(_READ_S)
        return True

    def _end_if_asked(self, script: Script) -> None:
        now = time.monotonic()
        if self._asked is None and self._trial.stop_requested:
            self._asked = now
            self._requests.stopping = True
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

    def _printed(self, pieces: list[Piece], *, error: bool) -> None:
        shown = [piece for piece in pieces if error or not self._report(piece)]
        for piece in shown[-_KEPT_LINES:]:
            line = piece.text.rstrip("\r").rpartition("\r")[2][:500]  # what a terminal would show of a progress bar
            if not piece.begins and self._last:
                self._last.pop()
            self._last.append((line, error))
        if shown:
            with self._kept():
                _print("".join(f"{piece.text}\n" if piece.ends else piece.text for piece in shown), error=error)

    def _report(self, piece: Piece) -> bool:
        """Report a line; return whether it is a report."""
        if self._reason is not None or not piece.whole:
            return False
        with self._kept():
            if not self._reports.line(piece.text):
                return False
        return True

    def _filled(self, connection: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        trial, elsewhere = self._trial, self._cwd != self._folder
        if uses([*self._command, *self._env.values()], JSON_FILE, trial.params):
            file = self._private / "params.json"
            file.write_text(json.dumps(self._together), encoding="utf-8")
            self._own[JSON_FILE] = str(file)
        words = filled(self._command[1:], self._params, self._own, self._folder if elsewhere else None, self._groups)
        facts = self._own | {"attempt": trial.attempt, "params": trial.params} | connection
        # Else Python buffers what it prints into a pipe, and every report would be late.
        environment = {"PYTHONUNBUFFERED": "1"} | os.environ
        environment |= {name: self._text(value) for name, value in self._env.items()}
        if elsewhere and (given := environment.get("PYTHONPATH")):  # relative to the study file's folder, as without cwd
            environment["PYTHONPATH"] = os.pathsep.join(str(self._folder / one) for one in given.split(os.pathsep))
        if elsewhere and "-m" in words:  # whose module is beside the study file
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(self._folder), environment.get("PYTHONPATH")]))
        if wandb_run.is_offline(environment):
            environment = (
                wandb_run.DEFAULTS | environment | wandb_run.variables(trial.dir, self._private / "wandb.yaml", self._together)
            )
        return [program(self._text(self._command[0]), self._folder), *words], environment | {VARIABLE: json.dumps(facts)}

    def _text(self, text: str) -> str:
        return filled_text(text, self._params, self._own)

    def _failure(self, script: Script, words: Sequence[str]) -> TrialFailed:
        code, command, last = script.code, shlex.join(words), own_error(self._last)
        if code < 0:  # what it printed is not the cause
            what = [f"the command was ended by {death_of(-code)}"] + [f"it printed last: {last}"] * bool(last)
        else:
            what = [f"{last} (exit code {code})"] * bool(last) + [f"the command exited with code {code}"]
        printed = "\n".join(line for line, _ in [*self._last][-_LAST_LINES:]) or "(it printed nothing)"
        log = self._trial.dir / LOG
        by_hand = f"try it by hand:  cd {shlex.quote(str(self._cwd))} && {command}"
        return TrialFailed("\n".join([*what, f"its whole output: {log}", by_hand, "the last lines of its output:", printed]))


def own_error(lines: Sequence[tuple[str, bool]]) -> str:
    """Return the line in which a program says why it failed: the exception of a traceback, or the last one with a word in it.

    Args:
        lines: the last ones, each with whether it was printed to stderr, which is preferred.
    """
    told = [line for line, error in lines if error and re.search(r"\w", line)] or [
        line for line, _ in lines if re.search(r"\w", line)
    ]
    traces = [place for place, line in enumerate(told) if line.startswith("Traceback (most recent call last)")]
    if traces:
        after = [line for line in told[traces[-1] + 1 :] if not line[0].isspace()]
        return after[0] if after else told[-1].strip()
    return told[-1].strip() if told else ""


def _print(text: str, *, error: bool) -> None:
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, end="", file=stream, flush=True)
    except UnicodeEncodeError:  # PYTHONIOENCODING=ascii
        print(text.encode("ascii", "backslashreplace").decode(), end="", file=stream, flush=True)
