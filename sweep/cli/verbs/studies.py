"""The verbs that keep studies in order."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sweep.cli.verbs.group import STUDY_HELP, complete_study, overrides_argument, study_argument, sweep


@sweep.command("import", epilog=STUDY_HELP)
@study_argument
@click.argument("other", shell_complete=complete_study)
@overrides_argument
@click.option("--study", "name", metavar="NAME", help="Which study, where OTHER is a storage with several.")
def import_(study: str, other: str, overrides: Sequence[str], name: str | None) -> None:
    """Import the finished trials of another study before a study's first trial, for its sampler to learn from.

    OTHER is a study of this program, or a SQLite storage of Optuna's: sqlite:///FILE.db
    """
    from sweep.cli.import_ import import_study
    from sweep.cli.target import to_run

    import_study(to_run(study, overrides), other, name)


@sweep.command(epilog=f"{STUDY_HELP} Example: sweep drop runs/fashion 3 7-9")
@study_argument
@click.argument("trials", nargs=-1, required=True, metavar="TRIAL...")
@click.option("--undo", is_flag=True, help="Take them back.")
def drop(study: str, trials: Sequence[str], undo: bool) -> None:
    """Take trials that have ended out of every ranking, statistic, sampler and TensorBoard; they stay on disk.

    A TRIAL is a number, or several: 3-7
    """
    from sweep.cli.remarks import drop_trials
    from sweep.cli.target import to_show

    drop_trials(to_show(study, ()), trials, undo=undo)


@sweep.command(
    epilog=f'{STUDY_HELP} Example: sweep note runs/fashion 3 "diverged"',
    context_settings={"ignore_unknown_options": True},  # a text may begin with a dash
)
@study_argument
@click.argument("text", nargs=-1, required=True, metavar="[TRIAL] TEXT")
def note(study: str, text: Sequence[str]) -> None:
    """Note something of a trial that has ended, or of the study; an empty TEXT removes the note."""
    from sweep.cli.remarks import note_of
    from sweep.cli.target import to_show

    note_of(to_show(study, ()), text)
