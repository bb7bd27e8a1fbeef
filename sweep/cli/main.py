"""`main` runs one command and turns errors into messages and exit codes (`sweep/docs/operations.md`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from sweep.cli import streams
from sweep.cli.commands import sweep
from sweep.cli.words import missing_study, unknown_option
from sweep.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, EXIT_WRONG_INPUT, SweepError

# The verbs after which the keys of a study may be typed.
_WITH_OVERRIDES = ("run", "resume", "plan", "check")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words; None for those of this process, which is then made ready for any kind of output.
    """
    if argv is not None or "_SWEEP_COMPLETE" in os.environ:  # the shell wants the completions as they are
        return _run(argv)
    streams.secure()
    code = _run(None)
    return (code or EXIT_SOME_FAILED) if streams.tell_what_is_lost() else code


def _run(argv: Sequence[str] | None) -> int:
    try:
        code = sweep.main(args=argv, prog_name="sweep", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except SweepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        explained = _explained(error)
        if explained is None:
            error.show()
        else:
            print(explained, file=sys.stderr)
        return EXIT_WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _explained(error: click.ClickException) -> SweepError | None:
    """Return a usage error as a message that says what to type; None for those that click explains well."""
    context = getattr(error, "ctx", None)
    verb = context.info_name if context is not None else None
    if isinstance(error, click.MissingParameter) and error.param is not None and error.param.name in ("study", "words") and verb:
        return missing_study(verb)
    if isinstance(error, click.NoSuchOption) and verb in _WITH_OVERRIDES:
        return unknown_option(error.option_name, verb, error.possibilities or ())
    return None
