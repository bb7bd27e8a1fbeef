"""The command line, with all its verbs."""

from sweep.cli.verbs import program, results, sessions, studies
from sweep.cli.verbs.group import sweep

__all__ = ["program", "results", "sessions", "studies", "sweep"]
