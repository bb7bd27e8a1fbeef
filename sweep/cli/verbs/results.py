"""The verbs that show the results of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep.cli.verbs.group import STUDY_HELP, complete_study, study_verb, sweep

if TYPE_CHECKING:
    from sweep.cli.target import Target

_format_option = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output format."
)


@study_verb(runs=False)
@click.option("--watch", is_flag=True, help="Keep it up to date until the session ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(target: Target, watch: bool, as_json: bool) -> None:
    """Show counts, running trials with their progress, the best so far and the time left."""
    from sweep.cli.status import show_status, watch_status

    if watch and not as_json:
        watch_status(target)
    else:
        show_status(target.snapshot(), target.file_word, as_json=as_json)


@study_verb(runs=False)
@_format_option
def trials(target: Target, form: str) -> None:
    """List all trials, in the order of their numbers."""
    from sweep.cli.tables import print_trials

    snapshot = target.snapshot()
    print_trials(snapshot, snapshot.trials(), form)


@study_verb(runs=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "yaml", "args"]),
    default="table",
    show_default=True,
    help="Output format; yaml and args: the best one's parameters for a study file, or as words of a command line.",
)
@click.option("--top", type=click.IntRange(1), help="How many (default: 5; with several metrics the whole Pareto front).")
@click.option("--copy", "place", metavar="DIR", help="Copy the best one, with its checkpoint and parameters, to a new folder.")
def best(target: Target, form: str, top: int | None, place: str | None) -> None:
    """List the best trials, best first; with several metrics the Pareto front, in the order of the first metric."""
    if place is not None:
        from sweep.cli.winner import copy_best

        copy_best(target.snapshot(), Path(place).expanduser())
    elif form in ("yaml", "args"):
        from sweep.cli.winner import words_of_best

        click.echo(words_of_best(target.snapshot(), form), nl=False)
    else:
        from sweep.cli.status import show_best

        show_best(target.snapshot(), target.file_word, top, form)


@sweep.command(epilog=STUDY_HELP)
@click.argument("words", nargs=-1, required=True, metavar="STUDY... [KEY=VALUE]...", shell_complete=complete_study)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=6006, show_default=True, type=click.IntRange(1, 65535), help="Port; another if it is in use.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def dashboard(words: Sequence[str], host: str, port: int, no_browser: bool) -> int:
    """Open TensorBoard at the HPARAMS tab for one study, or for several side by side."""
    from sweep.cli.show import show_dashboard
    from sweep.cli.target import several_to_show

    return show_dashboard(several_to_show(words), host=host, port=port, browser=not no_browser)


@study_verb(runs=False)
@click.option("--out", metavar="FILE", help="Where to write the page (default: report.html in the study's folder).")
@click.option("--figures", metavar="DIR", help="Also write the figures there, as image files.")
@click.option(
    "--figure-format", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="Format of these files."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "json"]),
    default="html",
    show_default=True,
    help="The page, or its statements.",
)
def report(target: Target, out: str | None, figures: str | None, figure_format: str, form: str) -> None:
    """Write one self-contained page about a study: the best trials, the parameters that matter, and how certain that is."""
    from sweep.cli.show import show_report

    show_report(target, out=out, figures=figures, figure_format=figure_format, form=form)
