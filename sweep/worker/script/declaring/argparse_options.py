"""Parsers of argparse, and of tyro, which makes one for argparse."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Any

from .answer import FALSE_AND_TRUE, State, asked, declare, option

_SUPPRESS, _REST = "==SUPPRESS==", "..."  # argparse's words for what is not shown or set, and for all words that follow


def on_argparse(argparse: Any) -> None:
    """Let each parser tell its options when it is to read the command line."""
    real = argparse.ArgumentParser.parse_known_args
    whole = argparse.ArgumentParser.parse_args

    def parse_known_args(self: Any, args: Any = None, *more: Any, **options: Any) -> Any:
        if asked(args):
            found = _parser(self)
            if self.add_help or type(self).parse_known_args is not parse_known_args:
                declare("argparse", found)
            State.earlier.append(found)  # one without help reads some arguments before the parser that follows
        return real(self, args, *more, **options)

    def parse_args(self: Any, args: Any = None, *more: Any, **options: Any) -> Any:
        # A kind of parser that has a method of its own may add its parameters there (simple_parsing).
        if asked(args) and type(self).parse_known_args is parse_known_args:
            declare("argparse", _parser(self))
        return whole(self, args, *more, **options)

    argparse.ArgumentParser.parse_known_args, argparse.ArgumentParser.parse_args = parse_known_args, parse_args


def on_tyro(tyro: Any) -> None:
    """Let `tyro.cli` tell the options of the parser that it would use."""
    import inspect
    import warnings

    real = tyro.cli

    def cli(f: Any, *more: Any, **options: Any) -> Any:
        if not asked(options.get("args")):
            return real(f, *more, **options)
        make = tyro.extras.get_parser
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = make(f, **{name: value for name, value in options.items() if name in inspect.signature(make).parameters})
        found = _parser(parser)
        _told_by_help(found)
        return declare("tyro", found)

    tyro.cli = sys.modules["tyro._cli"].cli = cli  # type: ignore[attr-defined]


def _is(action: Any, *names: str) -> bool:
    """Return whether an action is of one of these classes, argparse's own or of a copy of argparse, which tyro brings."""
    return any(one.__name__ in names for one in type(action).__mro__)


def _parser(parser: Any) -> dict[str, Any]:
    options, commands = [], {}
    for action in parser._actions:
        if _is(action, "_SubParsersAction"):
            commands = {name: _parser(one) for name, one in action.choices.items()}
        elif action.help != _SUPPRESS and not _is(action, "_HelpAction", "_VersionAction"):
            options.append(_action(action, parser))
    return {"options": options, "commands": commands}


def _action(action: Any, parser: Any) -> dict[str, Any]:
    try:
        text = parser._get_formatter()._expand_help(action) if action.help else ""
    except (KeyError, TypeError, ValueError):
        text = action.help
    long = [one for one in action.option_strings if one.startswith("--")]
    name = (long or action.option_strings or [action.dest])[0].lstrip("-")
    default = None if isinstance(action.default, str) and action.default == _SUPPRESS else action.default
    more = {"help": text, "required": bool(action.required), "metavar": str(action.metavar or "")}
    if not action.option_strings:
        return option(name, "positional", default, **{**more, "required": action.nargs not in ("?", "*", _REST)})
    if not long:
        return option(name, "other", default, why="it has no long name", **more)
    off = [one[2:] for one in long if one.startswith("--no")]
    if action.nargs == 0 and len(long) > 1 and off and isinstance(default, (bool, type(None))):  # --amp and --no-amp
        return option(off[0] if default else name, "flag", False, **more)
    if _is(action, "_AppendAction", "_AppendConstAction", "_CountAction"):
        return option(name, "other", default, why="it may be given several times", **more)
    if action.nargs == 0 or (action.nargs == "?" and action.const is True and default is False):
        return option(name, "flag", False, **more)
    if action.nargs in (_REST, "A..."):
        return option(name, "other", default, why="it takes all words that follow", **more)
    if action.type is bool:
        return option(name, "other", default, why="argparse's type=bool takes every word for true, False as well", **more)
    if isinstance(default, bool):
        return option(name, "text", str(default), choices=FALSE_AND_TRUE[0], **more)
    if action.type is None and type(default) in (int, float) and not action.choices:
        return option(name, "other", default, why="without type=, the program gets a text for a number", **more)
    # With a function for its type, such as `positive_int`, the default tells the kind.
    kind = {int: "int", float: "float"}.get(type(default) if callable(action.type) and action.type is not float else action.type)
    kind = "int" if action.type is int else kind or "text"
    several = action.nargs not in (None, "?", 1)
    return option(name, kind, default, choices=action.choices, several=several, **more)


def _told_by_help(found: dict[str, Any]) -> None:
    """Complete the options of tyro, which converts words itself: kind and default stand in the help that it writes."""
    for one in found["options"]:
        match = re.search(r"\s*\((?:default: (.*)|required)\)$", one["help"])
        given = match[1] if match else None
        one["help"] = one["help"][: match.start()] if match else one["help"]
        one["several"] = one.get("several", False) and one["metavar"].startswith("[")
        kind = re.search(r"INT|FLOAT", one["metavar"])
        if one["kind"] != "text":
            continue
        if kind is not None:
            one["kind"] = kind[0].lower()
        if given in (None, "None"):
            continue
        if one["metavar"] in ("{True,False}", "True|False"):
            one["choices"] = FALSE_AND_TRUE[0]
        number = {"int": int, "float": float}.get(one["kind"], str)
        with contextlib.suppress(ValueError):
            one["default"] = [number(word) for word in given.split()] if one["several"] else number(given)
    for command in found["commands"].values():
        _told_by_help(command)
