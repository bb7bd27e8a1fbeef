"""The code of a study as a value: a short digest, and what it was made from, so that a message can say what has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

RULES = 1  # by which digests are made; raise it when the same code gets another digest
_BOTH = "+"  # between the codes of a trial that was trained by several


@dataclass(frozen=True, kw_only=True)
class Code:
    """What trains the trials.

    Attributes:
        files: a digest for each file, by its path relative to the study's folder.
        packages: the version of each installed package, and of Python.
        parts: of a function that a program passed: a digest of each function, class and value that it uses.
        function: the digest of the function alone, by which one that moved into a module is recognized; None if unknown.
        rules: those of the digests; a code by other rules says nothing about this one.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    function: str | None = None
    rules: int = RULES

    @property
    def digest(self) -> str:
        """Return the digest of everything that counts."""
        return digest_of(json.dumps([sorted(part.items()) for part in (self.files, self.packages, self.parts)]))[:8]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Code:
        """Read the result of `to_json`; what is unknown or damaged is left out, since only a message needs it."""
        known = data if isinstance(data, dict) else {}
        found = {item.name: known[item.name] for item in fields(cls) if isinstance(known.get(item.name), dict)}
        function, rules = known.get("function"), known.get("rules")
        named = function if isinstance(function, str) else None
        return cls(**found, function=named, rules=rules if isinstance(rules, int) else RULES)


def digest_of(text: str | bytes) -> str:
    """Return the digest of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text).hexdigest()[:16]


def changes(old: Code, new: Code) -> Iterator[str]:
    """Yield what differs between the code of earlier trials and today's, a line each."""
    for was, now in ((old.files, new.files), (old.parts, new.parts)):
        for name in dict.fromkeys((*now, *was)):
            if was.get(name) != now.get(name):
                how = "is not used any more" if name not in now else "is new" if name not in was else "has changed"
                yield f"{name} {how}"
    for name in dict.fromkeys((*new.packages, *old.packages)):
        was_version, is_version = old.packages.get(name), new.packages.get(name)
        if was_version != is_version:
            yield f"{name}: was {was_version or 'not used'}, is now {is_version or 'not used'}"


def codes_in(code: str | None) -> list[str]:
    """Return the digests in a record's `code`, in the order in which they trained the trial; empty if it is unknown."""
    return code.split(_BOTH) if code else []


def joined(*codes: str | None) -> str | None:
    """Return a record's `code` for a trial that all of these have trained."""
    return _BOTH.join(dict.fromkeys(one for code in codes for one in codes_in(code))) or None
