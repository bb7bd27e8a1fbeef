"""The command `sweep` itself, and what makes a function one of its verbs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from sweep import __version__

STUDY_HELP = "STUDY is a study file, or the folder of a study that has run."


_WHOLE = 500  # characters: the first sentence of every verb, which is wrapped
# In the order of use; `sweep --help` lists the others in a second group.
DAILY = ("init", "run", "resume", "plan", "list", "status", "logs", "trials", "best", "dashboard", "report", "stop")


class _Verbs(click.Group):
    """Lists the verbs of every day first, in the order of use, and then the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*DAILY, *sorted(self.commands.keys() - set(DAILY))]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        longest = max(map(len, names))
        for title, group in (("Commands", names[: len(DAILY)]), ("Other commands", names[len(DAILY) :])):
            with formatter.section(title):
                told = [(name.ljust(longest), self.commands[name].get_short_help_str(_WHOLE)) for name in group]
                formatter.write_dl(told, col_max=longest + 2)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from sweep.cli.words import unknown_verb

            raise unknown_verb(args[0], args[1:], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sweep")
def sweep() -> None:
    """Run hyperparameter sweeps for PyTorch and compare them in TensorBoard's HPARAMS tab."""


def complete_study(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what completes a study: study files, and folders of studies that have run."""
    from sweep.cli.completion import studies

    return studies(incomplete)


def complete_trial(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the numbers that complete a trial of the study that was typed before it, each with its state."""
    from sweep.cli.completion import trials

    return trials(str(context.params.get("study") or ""), incomplete)


study_argument = click.argument("study", shell_complete=complete_study)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def with_example(command: str) -> str:
    """Return what stands below the options in the help of a verb that takes a study."""
    return f"{STUDY_HELP} For example: {command}"


def study_verb(*, runs: bool, example: str) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function of a `Target` a verb whose words name the study.

    Args:
        runs: the study will be trained; else its results are shown.
        example: a whole command, for the verb's help.
    """

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def verb(study: str, overrides: Sequence[str], ray: str | None = None, **options: Any) -> int | None:
            from sweep.cli.target import from_overrides, to_run, to_show

            if ray is not None:
                overrides = [*overrides, "workers.engine=ray", f"workers.address={ray or 'null'}"]
            if not runs:
                return function(to_show(study, overrides), **options)
            if "start" in options:
                overrides = [*overrides, *from_overrides(options.pop("start"), options.pop("top"))]
            return function(to_run(study, overrides, fresh=options.get("fresh", False)), **options)

        return sweep.command(epilog=with_example(example), cls=_Verb)(study_argument(overrides_argument(verb)))

    return decorate


class _Verb(click.Command):
    """A verb whose option `--ray` may have an address; a word after it that can be none is a study or an override."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from sweep.cli.words import with_address

        return super().parse_args(ctx, with_address(args))
