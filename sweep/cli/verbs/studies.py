"""The verbs that keep studies in order."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sweep.cli.verbs.group import complete_study, complete_trial, overrides_argument, study_argument, sweep, with_example


@sweep.command("list", epilog="For example: sweep list runs")
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(folder: str | None, as_json: bool) -> None:
    """List all studies below DIR (default: runs) with state, best trial and size, the last changed one last."""
    from sweep.cli.listing import list_studies

    list_studies(folder, as_json=as_json)


@sweep.command("import", epilog=with_example("sweep import studies/search.yaml runs/quick name=learned"))
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


@sweep.command(epilog=with_example("sweep clean runs --keep-best 3"))
@click.argument("words", nargs=-1, metavar="[STUDY|DIR]...", shell_complete=complete_study)
@click.option("--keep-best", type=click.IntRange(0), help="Keep the checkpoints of this many (default: as the study says).")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def clean(words: Sequence[str], keep_best: int | None, yes: bool) -> int:
    """Say what studies do not need on the disk, ask, and remove it; every number stays.

    That are the checkpoints of trials that have ended, except for the best ones, and folders that were moved aside. Without
    STUDY it is about all studies below runs.
    """
    from sweep.cli.clean import clean_studies

    return clean_studies(words, keep_best=keep_best, yes=yes)


@sweep.command(epilog=with_example("sweep drop runs/fashion 3 7-9"))
@study_argument
@click.argument("trials", nargs=-1, required=True, metavar="TRIAL...", shell_complete=complete_trial)
@click.option("--undo", is_flag=True, help="Take them back.")
def drop(study: str, trials: Sequence[str], undo: bool) -> None:
    """Take trials that have ended out of every ranking, statistic, sampler and TensorBoard; they stay on disk.

    A TRIAL is a number, or several: 3-7
    """
    from sweep.cli.remarks import drop_trials
    from sweep.cli.target import to_show

    drop_trials(to_show(study, ()), trials, undo=undo)


@sweep.command(
    epilog=with_example('sweep note runs/fashion 3 "diverged"'),
    context_settings={"ignore_unknown_options": True},  # a text may begin with a dash
)
@study_argument
@click.argument("text", nargs=-1, required=True, metavar="[TRIAL] TEXT", shell_complete=complete_trial)
def note(study: str, text: Sequence[str]) -> None:
    """Note something of a trial that has ended, or of the study; an empty TEXT removes the note."""
    from sweep.cli.remarks import note_of
    from sweep.cli.target import to_show

    note_of(to_show(study, ()), text)
