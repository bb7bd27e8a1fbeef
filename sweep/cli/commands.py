"""The verbs of the command line. Everything heavy is imported inside the verb that needs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, shell_complete

from sweep import __version__
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from sweep.cli.target import Target

_STUDY_HELP = "STUDY is a study file, or the folder of a study that has run."


class _Verbs(click.Group):
    """Lists the verbs in the order of this file, which is the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from sweep.cli.words import unknown_verb

            raise unknown_verb(args[0], args[1:], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def sweep() -> None:
    """Run hyperparameter sweeps for PyTorch and compare them in TensorBoard's HPARAMS tab."""


def _complete_study(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from sweep.cli.completion import studies

    return studies(incomplete)


def _complete_topic(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from sweep.cli.docs import topics

    return [topic for topic in topics() if topic.startswith(incomplete)]


_study = click.argument("study", shell_complete=_complete_study)
_overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def _study_verb(*, runs: bool) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function of a `Target` a verb whose words name the study.

    Args:
        runs: the study will be trained; else its results are shown.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def verb(study: str, overrides: Sequence[str], ray: str | None = None, **options: Any) -> int | None:
            from sweep.cli.target import to_run, to_show

            if ray is not None:
                overrides = [*overrides, "workers.engine=ray", f"workers.address={ray or 'null'}"]
            return function((to_run if runs else to_show)(study, overrides), **options)

        return sweep.command(epilog=_STUDY_HELP, cls=_Verb)(_study(_overrides(verb)))

    return decorate


class _Verb(click.Command):
    """A verb whose option `--ray` may have an address; a word after it that can be none is a study or an override."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from sweep.cli.words import with_address

        return super().parse_args(ctx, with_address(args))


def _session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    data = click.option("--data", metavar="DIR", help="Folder of the data sets (default: SWEEP_DATA, or the user's cache).")
    plain = click.option("--plain", is_flag=True, help="Print plain lines even on a terminal.")
    inline = click.option("--inline", is_flag=True, help="Run one trial at a time in this process, for a debugger.")
    ray = click.option(
        "--ray", metavar="[ADDRESS]", help="Run on the Ray cluster there (auto, HOST:PORT); default: a Ray of this machine."
    )
    keep = click.option("--keep", is_flag=True, help="Go on although the code has changed since earlier trials.")
    return keep(ray(inline(plain(data(function)))))


@sweep.command(epilog="Examples: sweep init train.py, sweep init train.py -- --data /data, sweep init mine.py:objective")
@click.argument("target", required=False, type=click.Path())
@click.argument("words", nargs=-1, metavar="[WORD_OF_THE_SCRIPT]...")
@click.option("-o", "--out", metavar="STUDY", help="The file to write (default: beside TARGET, train.yaml for train.py).")
@click.option("--python", default="python", metavar="PROGRAM", help="The script's interpreter (default: that of sweep).")
@click.option("--yes", is_flag=True, help="Ask nothing on a terminal, either.")
def init(target: str | None, words: Sequence[str], out: str | None, python: str, yes: bool) -> None:
    """Write a first study file for TARGET: a script, which is asked for its parameters, or FILE:FUNCTION."""
    from sweep.cli.init import make_study

    make_study(target, words, out=out, python=python, yes=yes)


@_study_verb(runs=True)
@_session_options
@click.option("--fresh", is_flag=True, help="Start over; the old folder is moved aside, never deleted.")
def run(target: Target, **options: Any) -> int:
    """Train a study's trials; resume the study if it was stopped.

    Any key of the study file can be overridden: sweep run STUDY lr.values='[0.1]' epochs.value=1
    """
    from sweep.cli.run import run_target

    return run_target(target, **options)


@_study_verb(runs=True)
@_session_options
@click.option("--retry-failed", is_flag=True, help="Retry failed trials.")
def resume(target: Target, **options: Any) -> int:
    """Resume a stopped study; fails if there is nothing to resume."""
    from sweep.cli.run import resume_target

    return resume_target(target, **options)


@_study_verb(runs=True)
@click.option("--first", default=12, show_default=True, type=click.IntRange(0), help="Number of trials to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(target: Target, first: int, as_json: bool) -> None:
    """Show what would run, and on which device, without running it."""
    from sweep.cli.plan import show_plan

    show_plan(target, first, as_json=as_json)


@_study_verb(runs=True)
def check(target: Target) -> None:
    """Check the study file, including the import of its objective."""
    from sweep.cli.plan import check_study

    check_study(target)


@_study_verb(runs=False)
@click.option("--watch", is_flag=True, help="Keep it up to date until the session ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(target: Target, watch: bool, as_json: bool) -> None:
    """Show counts, running trials with their progress, the best so far and the time left."""
    from sweep.cli.status import show_status, watch_status

    if watch and not as_json:
        watch_status(target)
    else:
        show_status(target.snapshot(), target.file_word, as_json=as_json)


_format_option = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output format."
)


@_study_verb(runs=False)
@_format_option
def trials(target: Target, form: str) -> None:
    """List all trials, in the order of their numbers."""
    from sweep.cli.tables import print_trials

    snapshot = target.snapshot()
    print_trials(snapshot, snapshot.trials(), form)


@_study_verb(runs=False)
@_format_option
@click.option("--top", type=click.IntRange(1), help="How many (default: 5; with several metrics the whole Pareto front).")
def best(target: Target, form: str, top: int | None) -> None:
    """List the best trials, best first; with several metrics the Pareto front, in the order of the first metric."""
    from sweep.cli.status import show_best

    show_best(target.snapshot(), target.file_word, top, form)


@sweep.command("import", epilog=_STUDY_HELP)
@_study
@click.argument("other", shell_complete=_complete_study)
@_overrides
@click.option("--study", "name", metavar="NAME", help="Which study, where OTHER is a storage with several.")
def import_(study: str, other: str, overrides: Sequence[str], name: str | None) -> None:
    """Import the finished trials of another study before a study's first trial, for its sampler to learn from.

    OTHER is a study of this program, or a SQLite storage of Optuna's: sqlite:///FILE.db
    """
    from sweep.cli.import_ import import_study
    from sweep.cli.target import to_run

    import_study(to_run(study, overrides), other, name)


@_study_verb(runs=False)
@click.option("--now", is_flag=True, help="Do not wait for the next step; trials resume from their last checkpoints later.")
def stop(target: Target, now: bool) -> None:
    """Ask a running study, on any machine, to make checkpoints and stop."""
    from sweep.cli.stop import stop_study

    stop_study(target, at_once=now)


@sweep.command(epilog=_STUDY_HELP)
@click.argument("words", nargs=-1, required=True, metavar="STUDY... [KEY=VALUE]...", shell_complete=_complete_study)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=6006, show_default=True, type=click.IntRange(1, 65535), help="Port; another if it is in use.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def dashboard(words: Sequence[str], host: str, port: int, no_browser: bool) -> int:
    """Open TensorBoard at the HPARAMS tab for one study, or for several side by side."""
    from sweep.cli.show import show_dashboard
    from sweep.cli.target import several_to_show

    return show_dashboard(several_to_show(words), host=host, port=port, browser=not no_browser)


@_study_verb(runs=False)
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


@sweep.command()
@click.argument("topic", required=False, shell_complete=_complete_topic)
def docs(topic: str | None) -> None:
    """Show a page of the documentation; without a TOPIC list the topics."""
    from sweep.cli.docs import list_topics, show_topic

    if topic is None:
        list_topics()
    else:
        show_topic(topic)


@sweep.command()
def schema() -> None:
    """Print the JSON schema of the study file, with which editors complete and check it.

    Save it with sweep schema > study.schema.json and begin a study file with the line
    # yaml-language-server: $schema=study.schema.json
    """
    from sweep.cli.tables import print_json
    from sweep.study.file.json_schema import json_schema

    print_json(json_schema())


@sweep.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the code with which a shell completes verbs, options and studies.

    In ~/.bashrc: eval "$(sweep completion bash)"

    In ~/.zshrc, after compinit: eval "$(sweep completion zsh)"

    For fish: sweep completion fish > ~/.config/fish/completions/sweep.fish
    """
    shell_complete(sweep, {}, "sweep", "_SWEEP_COMPLETE", f"{shell}_source")


@sweep.command()
@click.option("--ray", metavar="ADDRESS", help="Check the nodes of this Ray cluster (auto, HOST:PORT) instead.")
def doctor(ray: str | None) -> int:
    """Check this machine: devices, torch and torchvision, the data set, TensorBoard."""
    if ray is not None:
        from sweep.cli.doctor_cluster import examine_cluster

        return EXIT_OK if examine_cluster(ray) else EXIT_SOME_FAILED
    from sweep.cli.doctor import examine

    return EXIT_OK if examine() else EXIT_SOME_FAILED
