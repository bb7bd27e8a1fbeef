"""The words of a command and their placeholders: checked before the sweep starts, filled in for each trial.

    [python, train.py, "${args}", "--out=${dir}"]  ──►  [/usr/bin/python3, train.py, --lr=0.01, --shuffle=true, --out=/…/0003_…]

`${args}` must be a whole word and becomes one word for each parameter. Every other placeholder may be part of a word.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from sweep.errors import did_you_mean
from sweep.study.trial import Params, Scalar

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_ARGS = "args"
_STEP = "step"
# A parameter of the same name has precedence: the author of the study file chose its name.
OWN = (_ARGS, "json", "number", "seed", "dir", "logdir", "device", _STEP)


def problems(words: Sequence[str], parameters: Collection[str], folder: Path) -> Iterator[tuple[int, str, str]]:
    """Yield each problem of a command: the index of the word, what is wrong, and what to write instead.

    The command runs in `folder`, the study file's.
    """
    known = dict.fromkeys((*parameters, *OWN))
    for place, word in enumerate(words):
        for name in _PLACEHOLDER.findall(word):
            if name not in known:
                yield place, f"${{{name}}} is neither a parameter nor a placeholder", did_you_mean(name, known)
            elif name == _ARGS and name not in parameters and word != f"${{{_ARGS}}}":
                yield place, "${args} becomes several words and must be a whole word", "put spaces around it"
    if not _PLACEHOLDER.search(words[0]) and shutil.which(program(words[0], folder)) is None:
        where = str(folder) if "/" in words[0] else "on the PATH"
        yield 0, f"there is no program {words[0]!r} {where}", "`python` is the interpreter that sweep runs on"
    for place, word in enumerate(words[1:2], start=1):
        if word.endswith((".py", ".sh")) and not _PLACEHOLDER.search(word) and not (folder / word).is_file():
            yield place, f"there is no file {word!r} in {folder}", "the command runs in the study file's folder"


def program(word: str, folder: Path) -> str:
    """Return the program that a command's first word means; a path is relative to the study file's folder."""
    if word == "python":
        return sys.executable
    return str(folder / word) if "/" in word else word


def resumes_itself(words: Sequence[str], parameters: Collection[str]) -> bool:
    """Return whether the command has the placeholder for the last reported step, so that it resumes after it by itself."""
    return _STEP not in parameters and any(_STEP in _PLACEHOLDER.findall(word) for word in words)


def filled(words: Sequence[str], params: Params, own: Mapping[str, Scalar]) -> list[str]:
    """Return a command's words for a trial: its parameters replace their placeholders, and `own` the others."""
    values = {**own, "json": json.dumps(dict(params)), **params}
    found: list[str] = []
    for word in words:
        if word == f"${{{_ARGS}}}" and _ARGS not in params:
            found += [f"--{name}={text(value)}" for name, value in params.items()]
        else:
            found.append(_PLACEHOLDER.sub(lambda match: text(values[match[1]]), word))
    return found


def text(value: Scalar) -> str:
    """Write a value as a word: a string as it is, everything else as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)
