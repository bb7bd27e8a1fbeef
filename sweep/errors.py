"""Errors as messages: what happened, where, the likely cause, and what to type now.

Every error that a user can meet is a `SweepError` with a stable `id`; tests check the text. A wrong study file is a list of
`Problem`, one a line, so that all of them are seen at once.

`one_line` and `printable` make any text safe to print.

Imported by every other package; imports none of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What to do with a study that cannot be resumed in its folder.
ANOTHER_STUDY = "keep the folder and start another:  sweep run STUDY name=another-name"
ANOTHER_OR_FRESH = (
    "keep both:   give it another name (name=...)\nstart over:  add --fresh (the old folder is moved aside, not deleted)"
)

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_WRONG_INPUT = 2
EXIT_TOO_MANY_FAILURES = 3
EXIT_LOCKED = 4
EXIT_TIMED_OUT = 124
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# Colours and other graphics, with which logs are decorated.
_GRAPHICS = re.compile(r"\x1b\[[0-9;:]*m")
# All characters of the class Zs: harmless, but not printable to Python.
_SPACES = frozenset("\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")


def one_line(text: str) -> str:
    """Return a text as one line for a terminal or a log.

    Whatever could do more than show a character is escaped as in Python: line ends, tabs, escape sequences, characters that are
    invisible or change the direction of writing, and bytes of a file's name that are no text.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _SPACES else repr(one)[1:-1] for one in text)


def printable(text: str) -> str:
    """Return a text of several lines for a terminal: each as `one_line`, but without colours."""
    if text.isprintable():
        return text
    return "\n".join(one_line(_GRAPHICS.sub("", line).removesuffix("\r").expandtabs()) for line in text.split("\n"))


class SweepError(Exception):
    """Carry one complete message to the user.

    Args:
        id: stable, kebab-case name of the error, printed beside it for searching.
        what: what happened, one sentence.
        where: file, line or folder.
        why: the likely cause.
        do: what to type now; several lines are kept as they are.
        exit_code: exit code of the command (`sweep/docs/operations.md`).
    """

    def __init__(
        self,
        id: str,  # noqa: A002  # the word for it in messages and tests
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        do: str | None = None,
        exit_code: int = EXIT_WRONG_INPUT,
    ) -> None:
        super().__init__(what)
        self.id, self.what, self.where, self.why, self.do = id, what, where, why, do
        self.exit_code = exit_code

    def __str__(self) -> str:
        lines = [f"error: {_indented(self.what)}  [{self.id}]"]
        for label, text in (("where", self.where), ("why", self.why), ("do", self.do)):
            if text:
                lines.append(f"  {label + ':':7}{_indented(text)}")
        return "\n".join(lines)


def _indented(text: str) -> str:
    return printable(text.strip()).replace("\n", "\n" + 9 * " ")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong in a study file.

    Attributes:
        where: `file:line`, or `command line` or `overrides` for an override; empty in a dict.
        key: dotted path of the key, such as `parameters.lr.values`.
        message: what is wrong with it.
        hint: what to write instead, or empty.
    """

    where: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return one_line(f"{text}; {self.hint}" if self.hint else text)


class StudyFileError(SweepError):
    """Carry every problem of one study file.

    Args:
        path: the study file as it was typed, or a description of a dict.
        problems: at least one, in the order of the file.
    """

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("study-file", f"{path} has {count}; nothing was started")
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([f"error: {one_line(self.what)}  [{self.id}]", *(f"  {problem}" for problem in self.problems)])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar known word, None when none is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the most similar known word, or all known words when none is similar."""
    words = list(known)
    if near := nearest(word, words):
        return f"did you mean {near!r}?"
    return f"known here: {', '.join(words)}" if words else ""
