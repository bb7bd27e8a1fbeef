"""The verbs of the command line. Whatever is heavy is imported inside the verb that needs it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from sweep import __version__
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, SweepError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from sweep.cli.target import Target
    from sweep.storage.snapshot import Snapshot

_STUDY_HELP = "STUDY is a study file, or the folder of a study that has run."


class _Verbs(click.Group):
    """Lists the verbs in the order in which they are written here, which is the order of use; ends quietly with a pipe."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # `sweep trials | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_OK
        return code


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def sweep() -> None:
    """Run hyperparameter sweeps for PyTorch and compare them in TensorBoard's HPARAMS tab."""


def _study_verb(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(function)
    return click.argument("study", shell_complete=_complete_study)(function)


def _complete_study(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from sweep.cli.completion import studies

    return studies(context, parameter, incomplete)


def _running_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--data", metavar="DIR", help="Folder of the data sets (default: SWEEP_DATA, or the user's cache).")(
        function
    )
    function = click.option("--plain", is_flag=True, help="Plain lines even on a terminal.")(function)
    return click.option("--inline", is_flag=True, help="One trial at a time in this process, for a debugger.")(function)


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@_running_options
@click.option("--fresh", is_flag=True, help="Start over; the old folder is moved aside, never deleted.")
def run(study: str, overrides: Sequence[str], data: str | None, plain: bool, inline: bool, fresh: bool) -> int:
    """Train a study's trials, or go on where it stopped.

    Any key of the study file can be overridden: sweep run STUDY lr.values='[0.1]' epochs.value=1
    """
    from sweep.cli.run import run_study
    from sweep.cli.target import to_run

    target = to_run(study, overrides)
    return run_study(target, study, overrides, data=data, plain=plain, inline=inline, fresh=fresh)


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@_running_options
@click.option("--retry-failed", is_flag=True, help="Take failed trials again.")
def resume(study: str, overrides: Sequence[str], data: str | None, plain: bool, inline: bool, retry_failed: bool) -> int:
    """Go on with a study that was stopped; an error when there is nothing to resume."""
    from sweep.cli.run import run_study
    from sweep.cli.target import to_run
    from sweep.storage.snapshot import Snapshot
    from sweep.storage.stored_study import continued_study

    target = to_run(study, overrides)
    snapshot = Snapshot.take(continued_study(target.study, target.folder), target.folder)
    if not target.folder.database.exists():
        raise SweepError("nothing-to-resume", f"there is no study in {target.folder.root}", do=f"sweep run {shlex.quote(study)}")
    left = snapshot.counts["waiting"] + snapshot.counts["running"]
    failed = snapshot.counts["failed"]
    if not left and snapshot.study.total is not None and not (failed and retry_failed):
        retry = f"sweep resume {shlex.quote(study)} --retry-failed   takes the {failed} failed again" if failed else None
        finished = f"all {len(snapshot.records)} trials of {target.folder.root} are finished"
        raise SweepError("nothing-to-resume", finished, do=retry or f"sweep best {shlex.quote(study)}")
    return run_study(target, study, overrides, data=data, plain=plain, inline=inline, retry_failed=retry_failed)


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@click.option("--first", default=12, show_default=True, type=click.IntRange(0), help="How many trials to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(study: str, overrides: Sequence[str], first: int, as_json: bool) -> int:
    """Show what would run, and on which device, without running it."""
    from sweep.cli.plan import show_plan
    from sweep.cli.target import to_run

    show_plan(to_run(study, overrides), first, as_json=as_json)
    return EXIT_OK


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
def check(study: str, overrides: Sequence[str]) -> int:
    """Say whether the study file is sound, down to importing its objective."""
    from sweep.cli.plan import check_study
    from sweep.cli.target import to_run

    check_study(to_run(study, overrides))
    return EXIT_OK


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@click.option("--watch", is_flag=True, help="Keep it up to date until the sweep ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(study: str, overrides: Sequence[str], watch: bool, as_json: bool) -> int:
    """Show counts, running trials with their progress, the best so far and the time left."""
    from sweep.cli.status import show_status, watch_status
    from sweep.cli.target import to_look_at

    target = to_look_at(study, overrides)
    if watch and not as_json:
        watch_status(lambda: _snapshot(target))
    else:
        show_status(_snapshot(target), as_json=as_json)
    return EXIT_OK


def _format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    choice = click.Choice(["table", "csv", "json"])
    return click.option("--format", "form", type=choice, default="table", show_default=True, help="How to print them.")(function)


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@_format_option
def trials(study: str, overrides: Sequence[str], form: str) -> int:
    """List all trials, in the order of their numbers."""
    from sweep.cli.tables import print_trials
    from sweep.cli.target import to_look_at

    snapshot = _snapshot(to_look_at(study, overrides))
    print_trials(snapshot, snapshot.trials(), form)
    return EXIT_OK


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@_format_option
@click.option("--top", type=click.IntRange(1), help="How many (default: 5; of several metrics the whole Pareto front).")
def best(study: str, overrides: Sequence[str], form: str, top: int | None) -> int:
    """List the best trials, the best one first; of several metrics the Pareto front, in the order of the first metric."""
    from sweep.cli.status import show_best
    from sweep.cli.target import to_look_at

    show_best(_snapshot(to_look_at(study, overrides)), top, form)
    return EXIT_OK


@sweep.command("import", epilog=_STUDY_HELP)
@click.argument("study", shell_complete=_complete_study)
@click.argument("other", shell_complete=_complete_study)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--study", "name", metavar="NAME", help="Which study, where OTHER is a storage that holds several.")
def import_(study: str, other: str, overrides: Sequence[str], name: str | None) -> int:
    """Let a study learn from the finished trials of another one, before its own first trial.

    OTHER is a study of ours, or a SQLite storage of Optuna's: sqlite:///FILE.db
    """
    from sweep.cli.import_ import import_study
    from sweep.cli.target import to_run

    import_study(to_run(study, overrides), other, name)
    return EXIT_OK


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@click.option("--now", is_flag=True, help="Do not wait for the next step; go on from the last checkpoints later.")
def stop(study: str, overrides: Sequence[str], now: bool) -> int:
    """Ask a running sweep, on whatever machine, to make checkpoints and stop."""
    from sweep.cli.stop import stop_study
    from sweep.cli.target import to_look_at

    stop_study(to_look_at(study, overrides), at_once=now)
    return EXIT_OK


@sweep.command(epilog=_STUDY_HELP)
@click.argument("words", nargs=-1, required=True, metavar="STUDY... [KEY=VALUE]...", shell_complete=_complete_study)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=6006, show_default=True, type=click.IntRange(1, 65535), help="Port; another if it is taken.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def dashboard(words: Sequence[str], host: str, port: int, no_browser: bool) -> int:
    """Open TensorBoard on a study, or on several side by side, at the HPARAMS tab."""
    from sweep.cli.show import show_dashboard
    from sweep.cli.target import several_to_look_at

    return show_dashboard(several_to_look_at(words), host=host, port=port, browser=not no_browser)


@sweep.command(epilog=_STUDY_HELP)
@_study_verb
@click.option("--out", metavar="FILE", help="Where to write the page (default: report.html in the study's folder).")
@click.option("--figures", metavar="DIR", help="Write the charts there as pictures, too.")
@click.option(
    "--figure-format", "form", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="Of the pictures."
)
def report(study: str, overrides: Sequence[str], out: str | None, figures: str | None, form: str) -> int:
    """Write one page about a study that needs nothing else: what is best, what matters, and how sure that is."""
    from sweep.cli.show import show_report
    from sweep.cli.target import to_look_at

    target = to_look_at(study, overrides)
    show_report(_snapshot(target), study, out=out, figures=figures, form=form)
    return EXIT_OK


@sweep.command()
def schema() -> int:
    """Print the JSON schema of the study file, with which editors complete and check it.

    Keep it with sweep schema > study.schema.json and begin a study file with the line
    # yaml-language-server: $schema=study.schema.json
    """
    from sweep.cli.tables import print_json
    from sweep.study.file.json_schema import json_schema

    print_json(json_schema())
    return EXIT_OK


@sweep.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what makes a shell complete verbs, options and studies.

    For good, in ~/.bashrc: eval "$(sweep completion bash)"

    In ~/.zshrc, after compinit: eval "$(sweep completion zsh)"

    For fish: sweep completion fish > ~/.config/fish/completions/sweep.fish
    """
    from sweep.cli.completion import script

    print(script(sweep, shell))
    return EXIT_OK


@sweep.command()
def doctor() -> int:
    """Show what this machine has: devices, torch and torchvision, the data set, TensorBoard."""
    from sweep.cli.doctor import examine

    well = True
    for finding in examine():
        well &= finding.ok
        print(f"{'ok ' if finding.ok else 'BAD'}  {finding.subject:12}{finding.text}", flush=True)
        if finding.do:
            print(f"{'':17}do: {finding.do}")
    return EXIT_OK if well else EXIT_SOME_FAILED


def _snapshot(target: Target) -> Snapshot:
    from sweep.storage.snapshot import Snapshot

    return Snapshot.take(target.study, target.folder)
