"""`sweep run` and `sweep resume`: the session, the signals that stop it, and the summary at its end."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path

from sweep.cli.live_view import observer_for
from sweep.cli.notify import notification
from sweep.cli.streams import in_background, tell_what_is_lost
from sweep.cli.tables import console, print_trial_table, statement_texts
from sweep.cli.target import Target
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, SweepError, one_line
from sweep.report.measured import main_metrics
from sweep.report.page import leave_report
from sweep.runner.observers import SessionOutcome, exit_code_of
from sweep.runner.runner import Runner
from sweep.runner.session import run_study
from sweep.runner.stopping import stop_in_order
from sweep.storage.folder import near
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import continued_study
from sweep.storage.suggested import with_suggested
from sweep.study.formatting import duration_text
from sweep.study.ranking import rank

_SHOWN = 12


def resume_target(target: Target, *, retry_failed: bool, **options: bool | str | None) -> int:
    """Resume a study as `run_target` does.

    Raises:
        SweepError: as `run_target`; also when there is nothing to resume.
    """
    snapshot = Snapshot.take(continued_study(target.study, target.folder), target.folder)
    if not target.folder.database.exists() and not target.folder.study_file.exists():  # that is before the first trial
        raise SweepError("nothing-to-resume", f"there is no study in {target.folder.root}", do=f"sweep run {target.word}")
    left = snapshot.counts["waiting"] + snapshot.counts["running"]
    failed = sum(record.has_failed for record in snapshot.records)
    if not left and snapshot.study.total is not None and not (failed and retry_failed):
        finished = f"all {len(snapshot.records)} trials of {target.folder.root} are finished"
        retry = f"sweep resume {target.word} --retry-failed   retries the {failed} failed trial{'s' * (failed != 1)}"
        raise SweepError("nothing-to-resume", finished, do=retry if failed else f"sweep best {target.word}")
    return run_target(target, retry_failed=retry_failed, **options)  # type: ignore[arg-type]  # click's, by their names


def run_target(
    target: Target,
    *,
    data: str | None,
    plain: bool,
    inline: bool,
    keep: bool = False,
    notify: str | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
) -> int:
    """Run a study with these options of the command and print how the session ended; return the exit code.

    Raises:
        SweepError: as `run_study`.
    """
    if data is not None:
        os.environ["SWEEP_DATA"] = str(Path(data).expanduser().absolute())  # workers inherit it
    stopped_by: list[int] = []
    tell = notification(notify, target, stopped_by)
    began = time.monotonic()
    started: list[Runner] = []

    def on_start(runner: Runner) -> None:
        started.append(runner)
        stop_in_order(runner.stop, stopped_by)

    with contextlib.nullcontext() if inline else in_background(stopped_by):  # a debugger waits for what it prints
        with observer_for(console(), plain=plain or inline) as observer:
            for note in target.study.notes:
                observer.notice(note)
            try:
                outcome = run_study(
                    target.study,
                    target.folder,
                    target.path,
                    observer,
                    inline=inline,
                    fresh=fresh,
                    retry_failed=retry_failed,
                    keep=keep,
                    on_start=on_start,
                    signals=stopped_by,
                )
            except SweepError as error:
                if started:  # else nothing has ended
                    tell(error.what, error.exit_code)
                raise
        _print_summary(target, outcome, time.monotonic() - began, stopped_by)
        code = exit_code_of(outcome, stopped_by)
        tell(outcome.how(stopped_by), code)
    tell_what_is_lost()  # the exit code says how the session ended
    return code


def _print_summary(target: Target, outcome: SessionOutcome, seconds: float, stopped_by: list[int]) -> None:
    study, folder = with_suggested(target.study, target.folder), target.folder
    word = shlex.quote(near(folder.root)) if target.overridden else target.word  # the folder stores the overrides
    ranking = rank(outcome.records, study)
    if ranking.order:
        print()
        shown = ranking.order[:_SHOWN]
        print_trial_table(shown, study, front=ranking.front_numbers, metrics=main_metrics(shown, study))
    print(f"\n{outcome.summary(study, stopped_by)}, after {duration_text(seconds)}")
    for note in outcome.notes:
        print(f"slots: {one_line(note)}")
    if len(stopped_by) < 2 and outcome.records:  # who asked twice does not want to wait
        reason, told = leave_report(folder)
        console().print(*statement_texts(told, target.file_word), sep="\n", crop=False)
        if reason:
            print(f"the report could not be written: {reason}", file=sys.stderr)
        else:
            print(f"read the report:     {near(folder.report)}")
    print(f"compare the trials:  sweep dashboard {word}")
    if outcome.exit_code not in (EXIT_OK, EXIT_SOME_FAILED):
        print(f"resume the study:    sweep resume {word}")
    elif outcome.exit_code == EXIT_SOME_FAILED:
        print(f"retry failed trials: sweep resume {word} --retry-failed")
    sys.stdout.flush()
