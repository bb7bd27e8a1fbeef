"""What installed packages require, by their metadata: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r";.*\bextra\b")


def one_needs(packages: Iterable[str], wanted: str) -> bool:
    """Return whether any of these packages is the wanted one or requires it, directly or not; extras do not count.

    Args:
        packages: names of distributions; one that is not found may require anything.
        wanted: a normalized name.
    """
    left = [(name, True) for name in packages]
    known: set[str] = set()
    while left:
        name, given = left.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name == wanted:
            return True
        if name in known:
            continue
        known.add(name)
        try:
            required = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            if given:
                return True
            continue  # for another system, say
        left += [(found[0], False) for one in required if not _EXTRA.search(one) and (found := _NAME.match(one))]
    return False
