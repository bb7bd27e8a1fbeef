"""Configurations instead of options: Hydra's, and W&B's."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

from .answer import State, asked, declare, option


def on_hydra(hydra: Any) -> None:
    """Let an application print its configuration, as `--cfg job` does, and tell its values."""
    real = hydra.main

    def main(*args: Any, **options: Any) -> Any:
        def decorator(function: Any) -> Any:
            run = real(*args, **options)(function)

            def application(*config: Any, **more: Any) -> Any:
                if config or more or not asked():
                    return run(*config, **more)
                State.process = 0  # Hydra reads its words with argparse
                sys.argv += ["--cfg", "job"]
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    run()
                return declare("hydra", {"options": _configuration(printed.getvalue()), "commands": {}})

            return application

        return decorator

    hydra.main = main
    vars(sys.modules["hydra.main"])["main"] = main


def _configuration(text: str) -> list[dict[str, Any]]:
    from omegaconf import OmegaConf  # Hydra needs it

    config = OmegaConf.create(text)
    return [*_values(OmegaConf.to_container(config, resolve=False))]


def _values(config: Any, before: str = "") -> Any:
    """Yield an option for each value of a nested configuration."""
    for key, value in config.items():
        name = before + str(key)
        if isinstance(value, dict):
            yield from _values(value, f"{name}.")
        elif isinstance(value, str) and "${" in value:
            yield option(name, "other", value, why="it follows from other values")
        else:
            kind = {bool: "bool", int: "int", float: "float"}.get(type(value), "text")
            given = None if value == "???" else value
            yield option(name, kind, given, required=value == "???", several=isinstance(value, list))


def on_wandb(wandb: Any) -> None:
    """Let `wandb.init` tell the configuration that it gets."""
    real = wandb.init

    def init(*args: Any, **options: Any) -> Any:
        config = options.get("config")
        config = config if config is None or hasattr(config, "items") else getattr(config, "__dict__", None)
        if not asked() or config is None:
            return real(*args, **options)
        return declare("wandb", {"options": [*_values(dict(config))], "commands": {}})

    wandb.init = init
