"""`sweep run` and `sweep resume`: the run itself, the signals that stop it, and how it is said to have ended."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweep.cli.live_view import observer_for
from sweep.cli.tables import console, print_trial_table
from sweep.cli.target import Target
from sweep.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, EXIT_TERMINATED
from sweep.report.page import leave_report
from sweep.runner import session
from sweep.runner.observers import RunOutcome
from sweep.runner.signals import stop_in_order
from sweep.storage.folder import StudyFolder
from sweep.study.formatting import duration_text, states_text
from sweep.study.progress import TrialCounts
from sweep.study.ranking import rank


def run_study(
    target: Target,
    argument: str,
    overrides: Sequence[str],
    *,
    data: str | None,
    plain: bool,
    inline: bool,
    fresh: bool = False,
    retry_failed: bool = False,
) -> int:
    """Run a study and say how it ended; return the exit code.

    Args:
        target: the study and its folder.
        argument, overrides: the words that named it, for the hints.
        data: folder of the data sets.
        plain, inline, fresh, retry_failed: the options of that name.

    Raises:
        SweepError: as `run_study`.
    """
    if data is not None:
        os.environ["SWEEP_DATA"] = str(Path(data).expanduser().absolute())  # workers inherit it
    stopped_by: list[int] = []
    began = time.monotonic()
    with observer_for(console(), plain=plain or inline) as observer:
        outcome = session.run_study(
            target.study,
            target.folder,
            target.path,
            observer,
            inline=inline,
            fresh=fresh,
            retry_failed=retry_failed,
            on_start=lambda runner: stop_in_order(runner.stop, stopped_by),
        )
    _say_how_it_ended(target, outcome, [argument, *overrides], time.monotonic() - began, stopped_by)
    if outcome.exit_code is None:
        return EXIT_INTERRUPTED if stopped_by[0] == signal.SIGINT else EXIT_TERMINATED
    return outcome.exit_code


def _say_how_it_ended(target: Target, outcome: RunOutcome, words: list[str], seconds: float, stopped_by: list[int]) -> None:
    study = target.study
    # With overrides the folder says it all: what was run is written there.
    words_text = shlex.join(words if len(words) == 1 else [os.path.relpath(target.folder.root)])
    ranking = rank(outcome.records, study)
    if ranking.order:
        print()
        print_trial_table(ranking.order[:12], study, front=ranking.front_numbers)
    summary = states_text(TrialCounts(outcome.records).counts(study.total))
    how = f"stopped by {signal.Signals(stopped_by[0]).name}" if outcome.exit_code is None else outcome.ended_by
    print(f"\n{study.name}: {summary}; {how}, after {duration_text(seconds)}")
    if len(stopped_by) < 2 and outcome.records:  # who asked twice is in a hurry
        _write_report(target.folder)
    print(f"compare the trials:  sweep dashboard {words_text}")
    if outcome.exit_code not in (EXIT_OK, EXIT_SOME_FAILED):
        print(f"go on with it:       sweep resume {words_text}")
    elif outcome.exit_code == EXIT_SOME_FAILED:
        print(f"try failed ones:     sweep resume {words_text} --retry-failed")
    sys.stdout.flush()


def _write_report(folder: StudyFolder) -> None:
    if reason := leave_report(folder):
        print(f"the report could not be written: {reason}", file=sys.stderr)
    else:
        print(f"read the report:     {os.path.relpath(folder.report)}")
