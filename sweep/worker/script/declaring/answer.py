"""The answer: the program's parameters, as JSON in the folder of the copy."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

FILE = "declared.json"
FALSE_AND_TRUE = (["False", "True"], ["false", "true"])  # as argparse's and as click's programs mostly read them
_LONGEST_HELP, _MOST_CHOICES = 200, 100


class State:
    """What there is one of.

    Attributes:
        folder: where the answer goes.
        process: the one that is asked; copies that the program makes of itself are not.
        earlier: the parameters of parsers that read only some of the arguments.
    """

    folder = ""
    process = 0
    earlier: list[dict[str, Any]] = []  # noqa: RUF012


def asked(words: Any = None) -> bool:
    """Return whether these are the words of the command line, and this process is the one that is asked."""
    return os.getpid() == State.process and (words is None or set(words) <= set(sys.argv[1:]))


def declare(kind: str, found: dict[str, Any]) -> None:
    """Write what the program declares, and end it."""
    known = {one["name"] for one in found["options"]}
    options = [one for parser in State.earlier for one in parser["options"] if one["name"] not in known]
    temporary = os.path.join(State.folder, "writing")  # noqa: PTH118  # pathlib is not imported before the program does
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump({"kind": kind, **found, "options": options + found["options"]}, file)
    os.replace(temporary, os.path.join(State.folder, FILE))  # noqa: PTH105, PTH118
    os._exit(0)  # the program's threads and exit handlers have no part in this


def option(name: str, kind: str, default: Any = None, *, help: Any = None, choices: Any = None, **more: Any) -> dict[str, Any]:  # noqa: A002
    """Return an option, with the fields of `sweep.study.starting.declared.Option`."""
    value = plain(default)
    if isinstance(value, str) and kind in ("int", "float"):  # argparse converts such a default, too
        with contextlib.suppress(ValueError):
            value = {"int": int, "float": float}[kind](value)
    listed = [plain(one) for one in choices or ()]
    text = " ".join(str(help).split())[:_LONGEST_HELP] if help else ""
    if len(listed) > _MOST_CHOICES or None in listed:
        listed = []
    return {"name": name, "kind": kind, "default": value, "choices": listed, "help": text, **more}


def plain(value: Any) -> Any:
    """Return a value if JSON has it, a number, a text or a list of these; else None."""
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if type(value) in (int, float) and abs(value) >= 1e300:  # JSON has no infinity
        return None
    return value if type(value) in (bool, int, float, str) else None
