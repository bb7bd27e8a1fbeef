"""The verbs that start a session, or stop one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.verbs.group import complete_study, study_argument, study_verb, sweep, with_example

if TYPE_CHECKING:
    from sweep.cli.target import Target


def _session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    data = click.option("--data", metavar="DIR", help="Folder of the data sets (default: SWEEP_DATA, or the user's cache).")
    plain = click.option("--plain", is_flag=True, help="Print plain lines even on a terminal.")
    inline = click.option("--inline", is_flag=True, help="Run one trial at a time in this process, for a debugger.")
    ray = click.option(
        "--ray", metavar="[ADDRESS]", help="Run on the Ray cluster there (auto, HOST:PORT); default: a Ray of this machine."
    )
    notify = click.option(
        "--notify", metavar="COMMAND", help="Run this at the end, with the result as JSON on its standard input."
    )
    keep = click.option("--keep", is_flag=True, help="Go on although the code has changed since earlier trials.")
    return notify(keep(ray(inline(plain(data(function))))))


def _from_options(function: Callable[..., Any]) -> Callable[..., Any]:
    start = click.option(
        "--from", "start", metavar="STUDY", shell_complete=complete_study, help="Go on from the best trials of that study."
    )
    return start(click.option("--top", type=click.IntRange(1), help="From how many of them (default: 1).")(function))


@sweep.command(epilog="For example: sweep init train.py, sweep init train.py -- --data /data, sweep init mine.py:objective")
@click.argument("target", required=False, type=click.Path())
@click.argument("words", nargs=-1, metavar="[WORD_OF_THE_SCRIPT]...")
@click.option("-o", "--out", metavar="STUDY", help="The file to write (default: beside TARGET, train.yaml for train.py).")
@click.option("--python", default="python", metavar="PROGRAM", help="The script's interpreter (default: that of sweep).")
@click.option("--yes", is_flag=True, help="Ask nothing on a terminal, either.")
def init(target: str | None, words: Sequence[str], out: str | None, python: str, yes: bool) -> None:
    """Write a first study file for TARGET: a script, which is asked for its parameters, or FILE:FUNCTION."""
    from sweep.cli.init import make_study

    make_study(target, words, out=out, python=python, yes=yes)


@study_verb(runs=True, example="sweep run studies/fashion.yaml epochs.value=1")
@_session_options
@_from_options
@click.option("--fresh", is_flag=True, help="Start over; the old folder is moved aside, never deleted.")
def run(target: Target, **options: Any) -> int:
    """Train a study's trials; resume the study if it was stopped.

    Any key of the study file can be overridden: sweep run STUDY lr.values='[0.1]' epochs.value=1
    """
    from sweep.cli.run import run_target

    return run_target(target, **options)


@study_verb(runs=True, example="sweep resume runs/fashion --retry-failed")
@_session_options
@click.option("--retry-failed", is_flag=True, help="Retry failed trials.")
def resume(target: Target, **options: Any) -> int:
    """Resume a stopped study; fails if there is nothing to resume."""
    from sweep.cli.run import resume_target

    return resume_target(target, **options)


@study_verb(runs=True, example="sweep plan studies/fashion.yaml")
@_from_options
@click.option("--first", default=12, show_default=True, type=click.IntRange(0), help="Number of trials to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(target: Target, first: int, as_json: bool) -> None:
    """Show what would run, and on which device, without running it."""
    from sweep.cli.plan import show_plan

    show_plan(target, first, as_json=as_json)


@study_verb(runs=True, example="sweep check studies/fashion.yaml")
def check(target: Target) -> None:
    """Check the study file, including the import of its objective."""
    from sweep.cli.plan import check_study

    check_study(target)


@study_verb(runs=False, example="sweep stop runs/fashion")
@click.option("--now", is_flag=True, help="Do not wait for the next step; trials resume from their last checkpoints later.")
def stop(target: Target, now: bool) -> None:
    """Ask a running study, on any machine, to make checkpoints and stop."""
    from sweep.cli.stop import stop_study

    stop_study(target, at_once=now)


@sweep.command(epilog=with_example("sweep wait runs/fashion --timeout 2h && sweep best runs/fashion"))
@study_argument
@click.option("--timeout", metavar="TIME", help="Wait no longer than this, such as 30m or 2h; the exit code is then 124.")
def wait(study: str, timeout: str | None) -> int:
    """Wait until no session runs a study, and end with the exit code of the last one."""
    from sweep.cli.target import to_show
    from sweep.cli.wait import seconds_in, wait_for_end

    seconds = None if timeout is None else seconds_in(timeout)
    return wait_for_end(to_show(study, ()), seconds)
