"""Which versions are installed, without importing anything heavy."""

from __future__ import annotations

import platform
from importlib import metadata

# What a machine of a cluster must have in common with the runner's, besides Python.
COMPARED = ("sweep", "torch")


def version(package: str) -> str | None:
    """Return an installed package's version, None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def compared() -> dict[str, str | None]:
    """Return this machine's versions of Python and of what is `COMPARED`, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in COMPARED}}
