"""The command `sweep` itself, and what makes a function one of its verbs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from sweep import __version__

if TYPE_CHECKING:
    pass

STUDY_HELP = "STUDY is a study file, or the folder of a study that has run."


# In the order of use; `sweep --help` lists the others in a second group.
DAILY = ("init", "run", "resume", "plan", "status", "trials", "best", "dashboard", "report", "stop")


class _Verbs(click.Group):
    """Lists the verbs of every day first, in the order of use, and then the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.commands, key=lambda verb: DAILY.index(verb) if verb in DAILY else len(DAILY))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        longest = max(map(len, names))
        for title, group in (("Commands", names[: len(DAILY)]), ("Other commands", names[len(DAILY) :])):
            with formatter.section(title):
                width = formatter.width - longest - 6
                formatter.write_dl([(name.ljust(longest), self.commands[name].get_short_help_str(width)) for name in group])

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


study_argument = click.argument("study", shell_complete=complete_study)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def study_verb(*, runs: bool) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function of a `Target` a verb whose words name the study.

    Args:
        runs: the study will be trained; else its results are shown.
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

        return sweep.command(epilog=STUDY_HELP, cls=_Verb)(study_argument(overrides_argument(verb)))

    return decorate


class _Verb(click.Command):
    """A verb whose option `--ray` may have an address; a word after it that can be none is a study or an override."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from sweep.cli.words import with_address

        return super().parse_args(ctx, with_address(args))
