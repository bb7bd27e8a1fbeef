"""Commands of click and typer."""

from __future__ import annotations

import enum
from typing import Any

from .answer import FALSE_AND_TRUE, asked, declare, option, plain

_HIDDEN = ("install_completion", "show_completion")  # typer's own


def on_click(core: Any) -> None:
    """Let each command tell its options when it is called."""
    real = core.Command.main

    def main(self: Any, args: Any = None, *more: Any, **options: Any) -> Any:
        if asked(args):
            declare("click", _command(self, core.Context(self)))
        return real(self, args, *more, **options)

    core.Command.main = main


def on_typer(typer: Any) -> None:
    """Let an application tell the options of the command that it makes."""
    real = typer.Typer.__call__

    def called(self: Any, *args: Any, **options: Any) -> Any:
        if asked(args[0] if args else options.get("args")):
            command = typer.main.get_command(self)
            declare("click", _command(command, command.make_context("", [], resilient_parsing=True)))
        return real(self, *args, **options)

    typer.Typer.__call__ = called


def _command(command: Any, context: Any) -> dict[str, Any]:
    commands = {}
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            commands[name] = _command(one, type(context)(one, parent=context))
    kept = [one for one in command.params if one.expose_value and not getattr(one, "hidden", False) and one.name not in _HIDDEN]
    return {"options": [_parameter(one, context) for one in kept], "commands": commands}


def _parameter(one: Any, context: Any) -> dict[str, Any]:
    kind, choices = _type(one)
    default = one.get_default(context, call=False)
    if isinstance(default, enum.Enum):  # typer takes a member's value, click its name; click's word for no default is one, too
        word = default.value if hasattr(one, "type_descriptor") else default.name
        default = word if word in choices else None
    long = [option for option in one.opts if option.startswith("--")]
    more = {"help": getattr(one, "help", None), "required": bool(one.required)}
    if one.param_type_name == "argument":
        return option(one.name, "positional", default, **more)
    if not long:
        return option(one.opts[0].lstrip("-"), "other", default, why="it has no long name", **more)
    name = long[0][2:]
    if getattr(one, "multiple", False) or getattr(one, "count", False):
        return option(name, "other", default, why="it may be given several times", **more)
    if getattr(one, "is_flag", False):
        off = [option[2:] for option in one.secondary_opts if option.startswith("--")]
        return option(off[0] if off and default is True else name, "flag", False, **more)
    if kind == "bool":
        kind, default, choices = "text", str(default).lower() if isinstance(default, bool) else None, FALSE_AND_TRUE[1]
    owner = getattr(one, "type", one)
    bounds = {"low": plain(getattr(owner, "min", None)), "high": plain(getattr(owner, "max", None))}
    return option(name, kind, default, choices=choices, several=one.nargs != 1, **bounds, **more)


def _type(one: Any) -> tuple[str, list[Any]]:
    """Return the kind of an option of click or typer, and its choices as words."""
    if hasattr(one, "type_descriptor"):  # typer, which has left click
        annotation = one.type_descriptor.annotation
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return "text", [member.value for member in annotation]
        return {float: "float", int: "int", bool: "bool"}.get(annotation, "text"), []
    choices = [choice.name if isinstance(choice, enum.Enum) else choice for choice in getattr(one.type, "choices", ())]
    return {"float": "float", "integer": "int", "boolean": "bool"}.get(one.type.name.split()[0], "text"), choices
