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
