"""`main` runs one command and turns errors into messages and exit codes (`sweep/docs/design.md`, section 3)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from sweep.cli.commands import sweep
from sweep.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_WRONG_INPUT, SweepError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = sweep.main(args=argv, prog_name="sweep", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except SweepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
