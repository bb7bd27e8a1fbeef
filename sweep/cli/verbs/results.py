"""The verbs that show the results of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweep.cli.verbs.group import complete_study, complete_trial, study_argument, study_verb, sweep, with_example

if TYPE_CHECKING:
    from sweep.cli.target import Target

_format_option = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output format."
)


@study_verb(runs=False, example="sweep status runs/fashion --watch")
@click.option("--watch", is_flag=True, help="Keep it up to date until the session ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(target: Target, watch: bool, as_json: bool) -> None:
    """Show counts, running trials with their progress, the best so far and the time left."""
    from sweep.cli.status import show_status, watch_status

    if watch and not as_json:
        watch_status(target)
    else:
        show_status(target.snapshot(), target.file_word, as_json=as_json)


@study_verb(runs=False, example="sweep trials runs/fashion --format csv > trials.csv")
@_format_option
def trials(target: Target, form: str) -> None:
    """List all trials, in the order of their numbers."""
    from sweep.cli.tables import print_trials

    snapshot = target.snapshot()
    print_trials(snapshot, snapshot.trials(), form)


@study_verb(runs=False, example="sweep best runs/fashion --top 3")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "yaml", "args"]),
    default="table",
    show_default=True,
    help="Output format; yaml: the best one's parameters, as the key parameters of a study file; args: as words of a shell.",
)
@click.option("--top", type=click.IntRange(1), help="How many (default: 5; with several metrics the whole Pareto front).")
@click.option("--copy", "place", metavar="DIR", help="Copy the best one, with its checkpoint and parameters, to a new folder.")
def best(target: Target, form: str, top: int | None, place: str | None) -> None:
    """List the best trials, best first; with several metrics the Pareto front, in the order of the first metric."""
    one = "--copy" if place is not None else f"--format {form}" if form in ("yaml", "args") else None
    if one and (top is not None or (place is not None and form != "table")):
        raise click.UsageError(f"{one} is for the best trial alone: leave out {'--top' if top is not None else '--format'}")
    if place is not None:
        from sweep.cli.winner import copy_best

        copy_best(target.snapshot(), Path(place).expanduser())
    elif form in ("yaml", "args"):
        from sweep.cli.winner import words_of_best

        click.echo(words_of_best(target.snapshot(), form), nl=False)
    else:
        from sweep.cli.status import show_best

        show_best(target.snapshot(), target.file_word, top, form)


@sweep.command(epilog=with_example("sweep logs runs/fashion 7 -f"))
@study_argument
@click.argument("trial", required=False, type=click.IntRange(0), shell_complete=complete_trial)
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial, or the session, has ended.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Of what is there show the last N lines (default: all).")
def logs(study: str, trial: int | None, follow: bool, tail: int | None) -> None:
    """Show what a trial has printed; without a number, all running ones, each line with its trial."""
    from sweep.cli.logs import show_logs
    from sweep.cli.target import to_show

    show_logs(to_show(study, ()), trial, follow=follow, tail=tail)


@sweep.command(epilog=with_example("sweep dashboard runs/fashion runs/quick"))
@click.argument("words", nargs=-1, required=True, metavar="STUDY... [KEY=VALUE]...", shell_complete=complete_study)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=6006, show_default=True, type=click.IntRange(1, 65535), help="Port; another if it is in use.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def dashboard(words: Sequence[str], host: str, port: int, no_browser: bool) -> int:
    """Open TensorBoard at the HPARAMS tab for one study, or for several side by side."""
    from sweep.cli.show import show_dashboard
    from sweep.cli.target import several_to_show

    return show_dashboard(several_to_show(words), host=host, port=port, browser=not no_browser)


@sweep.command(epilog=with_example("sweep report runs/first runs/second"))
@click.argument("words", nargs=-1, required=True, metavar="STUDY... [KEY=VALUE]...", shell_complete=complete_study)
@click.option(
    "--out", metavar="FILE", help="Where to write the page (default: report.html in the study's folder; of several beside it)."
)
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
@click.option("--serve", is_flag=True, help="Serve the page at 127.0.0.1, kept up to date while the study runs.")
@click.option(
    "--port", default=6007, show_default=True, type=click.IntRange(1, 65535), help="Of --serve; another if it is in use."
)
@click.option("--no-browser", is_flag=True, help="With --serve: do not open a browser.")
def report(words: Sequence[str], serve: bool, port: int, no_browser: bool, **options: str | None) -> int | None:
    """Write one self-contained page about a study, or about several side by side: what is best, and how certain that is."""
    from sweep.cli.show import show_report
    from sweep.cli.target import several_to_show

    targets = several_to_show(words)
    if serve:
        from sweep.cli.serve import serve_report

        writes = any(options[name] for name in ("out", "figures")) or options["form"] == "json"
        return serve_report(targets, port=port, browser=not no_browser, writes=writes)
    show_report(targets, **options)  # type: ignore[arg-type]  # click's, by their names
    return None
