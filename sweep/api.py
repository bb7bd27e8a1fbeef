"""`sweep.run`: run a study from a Python program or a notebook, and get its results as Python values.

The study and its folder are the same as on the command line: each shows what the other has run, and resumes it if it can find the
objective. Ctrl-C, SIGTERM and SIGHUP make checkpoints first, as there; then the previous handler gets the signal, so that Ctrl-C
ends in a KeyboardInterrupt as in any other call. Threads other than the main thread get no signals: `sweep stop` stops a study
that they run.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.errors import SweepError
from sweep.report.notebook import ReportPage, results_html, written_report
from sweep.report.page import leave_report
from sweep.runner.notebook_view import observer_for
from sweep.runner.observers import Observer, SessionOutcome, counts_text
from sweep.runner.plain_lines import PlainLines
from sweep.runner.runner import Runner
from sweep.runner.session import run_study
from sweep.runner.stopping import stop_in_order
from sweep.search.methods import option_problems
from sweep.storage.folder import StudyFolder, folder_of, near
from sweep.storage.optuna_database import load_read_only
from sweep.storage.parents import find_parents
from sweep.storage.suggested import with_suggested
from sweep.study.file.inheriting import FindParents
from sweep.study.file.reading import given_study, read_study
from sweep.study.objective import is_by_value, reference_to
from sweep.study.ranking import rank
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.worker.handle import Trial

if TYPE_CHECKING:
    import optuna
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResult:
    """The results of a study.

    Attributes:
        name: the study's name.
        dir: its folder; a trial's run folder is `dir / trial.folder`.
        metric: the name of the objective value, or of the first of several.
        trials: every trial that was ever started, by number.
        best: the best complete trial, None when there is none; with several metrics the best in the first one.
        front: the Pareto front, in the order of the first metric; with one metric only the best trial.
        ended_by: one line on why no further trial was started.
        statements: what can be said about the results, as the report says it; `sweep report --format json` has the figures.
    """

    name: str
    dir: Path
    metric: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    front: tuple[TrialRecord, ...]
    ended_by: str
    statements: tuple[str, ...] = ()
    _study: StudySpec | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        best = f"{self.metric}={self.best.value:g} by trial {self.best.number} {self.best.params}" if self.best else "none"
        best += f", one of {len(self.front)} in the Pareto front" if len(self.front) > 1 else ""
        return f"<StudyResult {self.name}: {counts_text(self.trials, None)}; {self.ended_by}; best: {best}; in {self.dir}>"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows of the results."""
        if self._study is None:
            return None
        return results_html(self._study, StudyFolder(root=self.dir), self.trials, self.ended_by, self.statements)

    def report(self) -> ReportPage:
        """Write the report again, as the study is now, and return it; a notebook shows it below the cell.

        Raises:
            SweepError: it could not be written.
        """
        return written_report(StudyFolder(root=self.dir))

    @property
    def optuna_study(self) -> optuna.Study:
        """Return the study for Optuna's tools, read-only."""
        return load_read_only(self.dir / "study.db")

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each trial, by number: `state`, `value`, `params_...`, `metrics_...`, `duration_s` and others.

        Raises:
            SweepError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            what = "to_pandas needs pandas, which is not installed"
            raise SweepError("pandas-missing", what, do=f"{sys.executable} -m pip install pandas") from None
        rows = [
            {
                "number": trial.number,
                "state": str(trial.state),
                "value": trial.value,
                **({"standard_error": trial.standard_error} if trial.runs else {}),
                **{f"params_{name}": value for name, value in trial.params.items()},
                **{f"metrics_{name}": value for name, value in trial.metrics.items()},
                "seed": trial.seed,
                "attempts": trial.attempts,
                "duration_s": trial.duration_s,
                "dir": str(self.dir / trial.folder),
                "error": trial.error,
                "code": trial.code,
                "dropped": trial.dropped,
                "note": trial.note,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows, columns=list(dict.fromkeys(name for row in rows for name in row))).set_index("number")


def run(
    study: str | os.PathLike[str] | Mapping[str, Any],
    objective: Callable[[Trial], Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    keep: bool = False,
    inline: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Train a study's trials; resume the study if it was stopped.

    Args:
        study: a study file, or a dict of its keys, which then needs a `name`.
        objective: any function of a trial: from a module, a script or a notebook, a closure, a lambda. Default: the
            function that the study names as `module:function`.
        overrides: keys with values that replace the study's: `{"lr.values": [0.1], "epochs.value": 1}`.
        fresh: start over; the old folder is moved aside, never deleted.
        retry_failed: run failed trials again, under their own numbers.
        keep: go on although the code has changed since earlier trials; every trial records its code.
        inline: run one trial at a time in this process, for a debugger.
        quiet: show nothing meanwhile; that old results are shown although the code has changed is a warning then.

    Raises:
        SweepError: the study is not valid, another process runs it, or it cannot be resumed; failed trials raise no error.
        KeyboardInterrupt: Ctrl-C, after the trials have made checkpoints; the same call then resumes the study.
    """
    spec, path = _read(study, objective, dict(overrides or {}), functools.partial(find_parents, fresh=fresh))
    folder = folder_of(spec)
    stopped_by: list[int] = []
    handlers: dict[signal.Signals, Any] = {}

    def on_start(runner: Runner) -> None:
        if threading.current_thread() is threading.main_thread():
            handlers.update(stop_in_order(runner.stop, stopped_by))

    try:
        with observer_for(quiet=quiet) as observer:
            for note in spec.notes:
                observer.notice(note)
            outcome = run_study(
                spec,
                folder,
                path,
                observer,
                objective=objective if is_by_value(spec.trained) else None,
                inline=inline,
                fresh=fresh,
                retry_failed=retry_failed,
                keep=keep,
                warn=functools.partial(_warn, path) if quiet else None,
                on_start=on_start,
                signals=stopped_by,
            )
            told = _print_summary(spec, folder, outcome, stopped_by, observer)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if stopped_by:
        signal.raise_signal(stopped_by[0])
    ranking = rank(outcome.records, spec)
    return StudyResult(
        name=spec.name,
        dir=folder.root,
        metric=spec.metric.name,
        trials=tuple(outcome.records),
        best=ranking.best,
        front=ranking.front,
        ended_by=outcome.ended_by,
        statements=told,
        _study=with_suggested(spec, folder),
    )


def _warn(path: Path, text: str) -> None:
    """Warn each time: `warnings.warn` would be silent when the same cell of a notebook runs again."""
    warnings.warn_explicit(text, UserWarning, filename=os.fspath(path), lineno=1)


def _read(study: Any, objective: Any, overrides: dict[str, Any], find_parents: FindParents) -> tuple[StudySpec, Path]:
    """Return the study, and its file or the program that its dict is in."""
    import_dir: Path | None = None
    if objective is not None:
        if not callable(objective):
            what = f"the objective is a {type(objective).__name__}, not a function"
            do = 'sweep.run(study, train), or name it in the study:  "objective": "module:function"'
            raise SweepError("objective-not-callable", what, do=do)
        overrides["objective"], import_dir = reference_to(objective)
    rest: dict[str, Any] = {"find_objective": objective is None, "option_problems": option_problems, "find_parents": find_parents}
    if isinstance(study, Mapping):
        program = getattr(sys.modules["__main__"], "__file__", None)
        path = Path(program).resolve() if program else Path.cwd()  # a notebook does not know its own name
        import_dir = import_dir or (path.parent if program else path)
        return given_study(study, overrides, import_dir=import_dir, **rest), path
    path = Path(study)
    if path.is_dir():
        what = f"{path} is a folder; sweep.run takes a study file or a dict"
        raise SweepError("study-is-a-folder", what, do=f"in a terminal:  sweep resume {path}")
    return read_study(path, overrides, import_dir=import_dir, **rest), path


def _print_summary(
    study: StudySpec, folder: StudyFolder, outcome: SessionOutcome, stopped_by: list[int], observer: Observer
) -> tuple[str, ...]:
    """Print how the session ended, and return what the report says."""
    observer.notice(outcome.summary(study, stopped_by))
    said: tuple[str, ...] = ()
    if len(stopped_by) < 2 and outcome.records:  # who asked twice does not want to wait
        reason, told = leave_report(folder)
        said = tuple(one.text + (f" {one.command}" if one.command else "") for one in told)
        for text in said if isinstance(observer, PlainLines) else ():  # a notebook shows them with the result
            observer.notice(text)
        place = near(folder.report)
        observer.notice(f"the report could not be written: {reason}" if reason else f"report: {place}")
    if stopped_by and not all(record.state.finished for record in outcome.records):
        observer.notice("the same call resumes the study")
    return said
