"""The parameters that a program or a function has, as it declares them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sweep.errors import SweepError


@dataclass(frozen=True, kw_only=True)
class Option:
    """One parameter.

    Attributes:
        name: as on the command line, without dashes.
        kind: `float`, `int`, `bool`, `text`; `flag`: a word that is there or not; `positional`; `other`: see `why`; `unknown`.
        default: a plain value, or a list of them; None if there is none.
        choices: the values that it may have; empty for any.
        help: its description.
        required: it must be given.
        several: its value is a list.
        low, high: its bounds.
        why: why it can be no parameter of a study.
    """

    name: str
    kind: str
    default: Any = None
    choices: Sequence[Any] = ()
    help: str = ""
    required: bool = False
    several: bool = False
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a program declares.

    Attributes:
        kind: what reads its arguments: `argparse`, `tyro`, `click`, `hydra` or `wandb`; `function` for a function of a trial.
        options: its parameters, in its own order.
        commands: its subcommands.
    """

    kind: str
    options: Sequence[Option] = ()
    commands: Mapping[str, Declared] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], kind: str = "") -> Declared:
        """Return what `sweep.worker.script.declaring` has written."""
        known = {one.name for one in fields(Option)}
        kind = data.get("kind", kind)
        return cls(
            kind=kind,
            options=tuple(Option(**{name: one[name] for name in known & one.keys()}) for one in data["options"]),
            commands={name: cls.from_json(command, kind) for name, command in data["commands"].items()},
        )

    def for_words(self, script: str, words: Sequence[str]) -> Declared:
        """Return what is left to choose when the program is started with these words.

        Raises:
            SweepError: the words lack a subcommand, or a value that the program needs and that cannot be proposed.
        """
        found = self
        plain = [word for word in words if not word.startswith("-")]
        while found.commands:
            name = next((word for word in plain if word in found.commands), None)
            if name is None:
                what = f"{script} has the subcommands {', '.join(found.commands)}, and none is named"
                do = f"name it after the program:  sweep init {shlex.join([script, next(iter(found.commands))])}"
                raise SweepError("subcommand-not-named", what, do=do)
            plain.remove(name)
            found = found.commands[name]  # the options of the program itself would have to stand before it
        options = found.options
        given = {word.lstrip("+-").partition("=")[0] for word in words if word.startswith("-") or "=" in word}
        needed = [one.name for one in options if one.kind == "positional" and one.required]
        if len(needed) > len(plain):
            missing = needed[len(plain)]
            text = next(one.help for one in options if one.name == missing)
            what = f"{script} needs a word for {missing!r}{f' ({text})' if text else ''}"
            do = f"add it:  sweep init {shlex.join([script, *words, missing.upper()])}"
            raise SweepError("program-needs-words", what, do=do)
        kept = [one for one in options if one.name not in given and not (one.kind == "positional" and one.required)]
        return Declared(kind=self.kind, options=kept)
