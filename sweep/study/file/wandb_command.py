"""The words of a W&B command, whose macros become placeholders of ours."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from sweep.study.file.wandb_keys import Keys

_ENV, _INTERPRETER, _PROGRAM = "${env}", "${interpreter}", "${program}"
_DEFAULT = [_ENV, _INTERPRETER, _PROGRAM, "${args}"]
_PLACEHOLDERS = {
    "${args}": "${python_args}",
    "${args_no_equals}": "${python_args_apart}",
    "${args_no_hyphens}": "${python_pairs}",
    "${args_no_boolean_flags}": "${python_flags}",
    "${args_append_hydra}": "${python_pairs_added}",
    "${args_override_hydra}": "${python_pairs_forced}",
    "${args_json}": "${json}",
    "${args_json_file}": "${json_file}",
}
# Those that no command of ours has: `${args}` has a meaning of its own there.
MACROS = frozenset({_ENV, _INTERPRETER, _PROGRAM, *_PLACEHOLDERS} - {"${args}"})


def command_of(keys: Keys, command: Any, program: Any) -> Any:
    """Return our words for a command of W&B's, None for its default; what is no list of words is returned as it is."""
    if command is None:
        command = _DEFAULT
    if not isinstance(command, list) or any(isinstance(word, list | dict | bool) or word is None for word in command):
        return command
    found: list[str] = []
    for place, word in enumerate(str(word) for word in command):
        if word == _PROGRAM and not isinstance(program, str):
            keys.refuse(("command", place), "${program} stands for the key program, which is missing", "write program: train.py")
        elif word == _ENV and command[place + 1 : place + 2] == [_INTERPRETER]:
            pass  # it looks for Python on the PATH: `python` is the one that sweep runs on
        else:
            own = {_ENV: "/usr/bin/env", _INTERPRETER: "python", _PROGRAM: program} | _PLACEHOLDERS
            found.append(own.get(word) or re.sub(r"\$\{envvar:", "${env:", word))
    return found


def job_command(keys: Keys, job: Any) -> Any:
    """Return the command for a job of W&B Launch, whose program is on W&B's server: a script of that name beside the file."""
    if not isinstance(job, str) or not job:
        return job
    script = f"{PurePosixPath(job).name.partition(':')[0]}.py"
    keys.source.hints["command", 1] = f"the program of {job} is on W&B's server: copy it here, or write command=..."
    keys.source.notes.append(f"job: its program is on W&B's server; {script} beside this file runs in its place")
    return ["python", script, "${python_args}"]
