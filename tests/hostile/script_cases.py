"""Many scripts as the trials of one sweep: each is a case, with what its trial must be afterwards."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.study.record import TrialRecord
from tests.support.command_line import Done, run_sweep
from tests.support.reading import records, scalars
from tests.support.studies import study_text, write_study

GOOD = "print('{\"score\": 7}', flush=True)"  # the report that shows that the trial went on


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script, and what its trial must be.

    Attributes:
        code: the script's; `sys.argv[1:]` are the run folder and the log folder.
        points: steps and values of the metric.
        error: what the first line of the error has; empty for a trial that must be complete.
        cause: of a failed trial.
        log, not_in_log: texts.
        seconds: the most that the trial may take.
        details: what else the error has.
    """

    code: str
    points: Sequence[tuple[int, float]] = ((1, 7),)
    error: str = ""
    cause: str = "exception"
    log: str = ""
    not_in_log: str = "Traceback of sweep"
    seconds: float = 30
    details: str = ""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A sweep that has run: the command, and the trials by case."""

    done: Done
    trials: dict[str, TrialRecord]
    folder: Path

    def check(self, name: str, case: Case) -> None:
        """Check that the trial is what it must be, that no message is a traceback of sweep's, and that the sweep went on."""
        trial = self.trials[name]
        run = self.folder / trial.folder
        log = (run / "log.txt").read_text(errors="replace")
        about = f"{trial.error}\n{log[-2000:]}"
        assert trial.state == ("failed" if case.error else "complete"), about
        if case.error:
            assert trial.error is not None
            assert case.error in trial.error.splitlines()[0], about
            assert case.details in trial.error, about
            assert trial.cause == case.cause, about
        assert not re.search(r"worker/script/(?!client)", trial.error or ""), about
        assert scalars(run).get("score", []) == [tuple(point) for point in case.points], about
        assert case.log in log, about
        assert case.not_in_log not in log, about
        assert trial.attempts == 1, about
        assert (trial.duration_s or 0) < case.seconds, about


def run_cases(here: Path, cases: Mapping[str, Case], *words: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run each case as a trial of one sweep."""
    (here / "cases").mkdir()
    for name, case in cases.items():
        text = textwrap.dedent(case.code).replace("GOOD", GOOD)
        (here / "cases" / f"case-{name}.py").write_bytes(f"import json, os, sys, time\n{text}".encode())
    study = write_study(
        here,
        study_text(
            {"case": [*cases]},
            objective=None,
            command=["python", "cases/case-${case}.py", "${dir}", "${logdir}"],
            stop_after_failures=len(cases) + 1,
            workers={"devices": "cpu", "per_device": 2},
        ),
    )
    done = run_sweep("run", str(study), *words, here=here, env=env, timeout=600)
    assert done.code == (1 if any(case.error for case in cases.values()) else 0), done.out[-5000:] + done.err
    folder = here / "runs" / "study"
    return Ran(done=done, trials={str(found.params["case"]): found for found in records(folder)}, folder=folder)
