"""The words of a command and their placeholders: checked before the sweep starts, filled in for each trial.

    [python, train.py, "${args}", "--out=${dir}"]  ──►  [/usr/bin/python3, train.py, --lr=0.01, --shuffle=true, --out=/…/0003_…]

A placeholder of `WHOLE_WORDS`, such as `${args}`, must be a whole word and becomes words for all parameters. Every other one may
be part of a word, of the folder in which the command runs (`cwd`), and of a variable's value (`env`). A command that runs in
another folder than the study file's gets the whole path of each file that a word of it names there.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.errors import SweepError, did_you_mean
from sweep.study import hydra_words
from sweep.study.python_words import PYTHON_WORDS, nested
from sweep.study.trial import Params, Scalar

PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_OPERATOR = re.compile(r"[^'\" ]*;|\|{1,2}|&{1,2}|[012&]?>{1,2}(&[12])?|<")
_STEP = "step"
JSON_FILE = "json_file"
_VARIABLE = "env:"  # before the name of a variable of the environment
_SCRIPTS = (".py", ".sh")
# Variables that a trial's script gets from the program, with what to write instead of setting them.
_OWN_VARIABLES = {
    "SWEEP_TRIAL": "remove it",
    "CUDA_VISIBLE_DEVICES": "write workers: {devices: [0, 1]}",
    "WANDB_DIR": "remove it: each trial has a folder of its own",
    "WANDB_SWEEP_PARAM_PATH": "remove it: each trial's parameters fill wandb.config",
}
NOT_STUDIES = (*_SCRIPTS, ".ipynb")
_MOST_FILES = 500


def text(value: Any) -> str:
    """Write a value as a word: a string as it is, everything else as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _flags(params: Params) -> Iterator[str]:
    for name, value in params.items():
        match value:
            case None | False:
                pass
            case True:
                yield f"--{name}"
            case tuple():
                yield from (f"--{name}", *map(text, value))
            case _:  # in one word, so that a value that begins with `-` is no option
                yield f"--{name}={text(value)}"


_HYDRA = "overrides"
# The placeholders that become words for all parameters of a trial.
WHOLE_WORDS: dict[str, Callable[[Mapping[str, Any]], Iterable[str]]] = {
    "args": lambda params: [f"--{name}={text(value)}" for name, value in params.items()],
    "flags": _flags,
    _HYDRA: hydra_words.overrides,
    **PYTHON_WORDS,
}
# A parameter of the same name has precedence: the author of the study file chose its name.
OWN = (*WHOLE_WORDS, "json", JSON_FILE, "number", "seed", "dir", "logdir", "device", _STEP)


def problems(words: Sequence[str], parameters: Mapping[str, Any], folder: Path) -> Iterator[tuple[int, str, str]]:
    """Yield each problem of a command: the index of the word, what is wrong, and what to write instead.

    Args:
        words: the command's.
        parameters: the study file's keys of each parameter, which may be wrong.
        folder: where the command runs, the study file's.
    """
    known = dict.fromkeys((*parameters, *OWN))
    found = [*_wrong_placeholders(words, known, parameters)]
    yield from found
    for place, word in enumerate(words):
        if place and _OPERATOR.fullmatch(word) and not words[place - 1].startswith("-"):
            script = " ".join('"$@"' if _whole(one) else one for one in words)
            every = next(filter(_whole, words), "${args}")
            yield place, f"{word} is for a shell, and none runs the command", f"write bash -c {shlex.quote(script)} - {every}"
            return
    if not PLACEHOLDER.search(words[0]) and (wrong := trouble(program(words[0], folder))):
        message, hint = wrong
        yield 0, message, f"write ./{words[0]}" if "/" not in words[0] and (folder / words[0]).is_file() else hint
    for place, word in enumerate(words[1:2], start=1):
        if word.endswith(_SCRIPTS) and not PLACEHOLDER.search(word) and not (folder / word).is_file():
            yield place, f"there is no file {word!r} in {folder}", "its words name files in the study file's folder"
    if not found and _gets_no_parameter(words, parameters, folder):
        yield (
            0,
            "no word names a parameter, so each trial would run the same command",
            "add ${args}, or use trial.params of `from sweep import trial` in the script",
        )


def place_problems(
    cwd: str | None, env: Mapping[str, str], parameters: Mapping[str, Any], folder: Path
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield each problem of `cwd` and `env`: where it is, what is wrong, and what to write instead."""
    known = dict.fromkeys((*parameters, *(name for name in OWN if name not in WHOLE_WORDS)))
    texts = [(("cwd",), cwd or ""), *((("env", name), value) for name, value in env.items())]
    for where, value in texts:
        for name in PLACEHOLDER.findall(value):
            if name.startswith(_VARIABLE):
                if (variable := name.removeprefix(_VARIABLE)) not in os.environ:
                    yield where, f"the environment has no variable {variable!r}", f"export {variable}=... before sweep is started"
            elif name not in known or (where, name) == (("cwd",), JSON_FILE):  # a file's path is no folder's
                yield where, f"${{{name}}} is neither a parameter nor a placeholder for one text", did_you_mean(name, known)
            elif isinstance(parameters.get(name), Mapping) and parameters[name].get("when"):
                message = f"${{{name}}} has no value in trials to which its condition (when) does not apply"
                yield where, message, "write ${json}, which has the parameters that apply"
    if cwd and "${" not in cwd and not (folder / cwd).is_dir():
        yield ("cwd",), f"there is no folder {str(folder / cwd)!r}", "write cwd: ${dir}/work for a folder of each trial's own"
    for name in env:
        if name in _OWN_VARIABLES:
            yield ("env", name), "this variable is sweep's own", _OWN_VARIABLES[name]


def _wrong_placeholders(
    words: Sequence[str], known: Collection[str], parameters: Mapping[str, Any]
) -> Iterator[tuple[int, str, str]]:
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    other = re.compile(
        rf"\$\{{\{{?\s*({names})\s*\}}?\}}|[$%@]?\{{+\s*({names})\s*\}}+|%\(?({names})(?:\)s|%)|<({names})>|\$\(?({names})\b\)?"
    )
    for place, word in enumerate(words):
        for name in PLACEHOLDER.findall(word):
            if name.startswith(_VARIABLE):
                variable = name.removeprefix(_VARIABLE)
                if variable not in os.environ:
                    yield place, f"the environment has no variable {variable!r}", f"export {variable}=... before sweep is started"
            elif name not in known:
                yield place, f"${{{name}}} is neither a parameter nor a placeholder", did_you_mean(name, known)
            elif name in WHOLE_WORDS and name not in parameters and word != f"${{{name}}}":
                yield place, f"${{{name}}} becomes several words and must be a whole word", "put spaces around it"
            elif isinstance(parameters.get(name), Mapping) and parameters[name].get("when"):
                message = f"${{{name}}} has no value in trials to which its condition (when) does not apply"
                yield place, message, "write ${args}, which has the parameters that apply, or ${json}"
        if " " in word or (place and words[place - 1] == "-c"):
            continue  # the text of a program, for a shell, say
        for match in other.finditer(PLACEHOLDER.sub("", word)):
            name = next(filter(None, match.groups()))
            yield place, f"{match[0]} is no placeholder, and no shell replaces it", f"write ${{{name}}}"


def _gets_no_parameter(words: Sequence[str], parameters: Mapping[str, Any], folder: Path) -> bool:
    """Return whether a script surely gets none: no word has one, and no Python file beside it mentions this package or wandb."""
    swept = [name for name, keys in parameters.items() if not (isinstance(keys, Mapping) and "value" in keys)]
    named = {name for word in words for name in PLACEHOLDER.findall(word)}
    script = next((folder / word for word in words if word.endswith(_SCRIPTS) and (folder / word).is_file()), None)
    if not swept or script is None or named & {*parameters, *WHOLE_WORDS, "json", JSON_FILE, "number", "dir"}:
        return False
    try:
        files = [script, *itertools.islice(filter(Path.is_file, folder.rglob("*.py")), _MOST_FILES)]
    except (OSError, RecursionError):  # folders that are nested too deeply
        return False
    return len(files) <= _MOST_FILES and not any(re.search(b"sweep|wandb", _content(file).lower()) for file in files)


def _content(file: Path, size: int = -1) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(size)
    except OSError:
        return b"sweep"  # it cannot be read, so nothing is known about it


def trouble(path: str) -> tuple[str, str] | None:
    """Return why a program cannot be started and what to type; None if nothing is known to be wrong with it.

    Args:
        path: a path, or a name that is searched on the PATH.
    """
    file = Path(path)
    if "/" not in path:
        if re.match(r"\w+=", path):
            return f"{path} is for a shell, and none runs the command", f"write env {path} python ..."
        if path == "torchrun" and shutil.which(path) is None:
            return "there is no program 'torchrun' on the PATH", "write python -m torch.distributed.run"
        if shutil.which(path) is None:
            return f"there is no program {path!r} on the PATH", "`python` is the interpreter that sweep runs on"
        return None
    if file.is_dir():
        return f"{path} is a folder, not a program", "name the program in it"
    if not file.exists():
        if "/~" in path:
            return f"there is no program {path!r}", "no shell replaces ~: write the whole path"
        return f"there is no program {path!r}", "`python` is the interpreter that sweep runs on"
    first = _content(file, 256).split(b"\n")[0]
    interpreter = "python" if path.endswith(".py") or b"python" in first else "sh"
    by_name = f"name its interpreter:  command: {interpreter} {file.name}"
    if not os.access(path, os.X_OK):
        return f"{path} is not executable", f"chmod +x {path}  or {by_name}"
    if first.startswith(b"#!"):
        asked = (first[2:].split() or [b""])[0].decode(errors="replace")
        if first.endswith(b"\r"):
            return f"the first line of {path} ends with a carriage return, as on Windows", f"sed -i 's/\\r$//' {path}"
        if not Path(asked).exists():
            return f"the interpreter of {path}, {asked}, does not exist", f"correct its first line, or {by_name}"
    elif file.suffix in _SCRIPTS and not first.startswith(b"\x7fELF"):
        return f"{path} has no interpreter: its first line does not begin with #!", by_name
    return None


def program(word: str, folder: Path) -> str:
    """Return the program that a command's first word means; a path is relative to the study file's folder."""
    if word == "python":
        return sys.executable
    return str(folder / word) if "/" in word else word


def resumes_itself(words: Sequence[str], parameters: Collection[str]) -> bool:
    """Return whether the command has the placeholder for the last reported step, so that it resumes after it by itself."""
    return uses(words, _STEP, parameters)


def filled(
    words: Sequence[str],
    params: Params,
    own: Mapping[str, Scalar],
    beside: Path | None = None,
    groups: Sequence[str] = (),
) -> list[str]:
    """Return a command's words for a trial: its parameters replace their placeholders, and `own` the others.

    Args:
        words, params, own: the command's, the trial's, and the values of the other placeholders.
        beside: the folder in which words name files, if the command runs in another one.
        groups: of parameters that are one mapping each where all of them are given together.
    """
    hydra = f"${{{_HYDRA}}}" in words and _HYDRA not in params
    together = nested(params, groups)
    own = {**own, "json": json.dumps(together)}
    found: list[str] = []
    for word in words:
        if (name := _whole(word)) is not None and name not in params:
            found += WHOLE_WORDS[name](together)
        else:
            one = filled_text(word, params, own)
            one = _located(one, beside) if beside else one
            found.append(hydra_words.quoted(one) if hydra and one != word else one)
    return found


def uses(words: Sequence[str], name: str, parameters: Collection[str]) -> bool:
    """Return whether a command has a placeholder that is no parameter's."""
    return name not in parameters and any(name in PLACEHOLDER.findall(word) for word in words)


def filled_text(word: str, params: Params, own: Mapping[str, Scalar]) -> str:
    """Return a word, or another text, with values in place of its placeholders, of which none stands for words."""
    values = {"json": json.dumps(dict(params)), **own, **params}
    return PLACEHOLDER.sub(lambda match: text(_value(match[1], values)), word)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    return os.environ.get(name.removeprefix(_VARIABLE), "") if name.startswith(_VARIABLE) else values[name]


def _located(word: str, folder: Path) -> str:
    """Return a word with the whole path of what it names in a folder, alone or as the value of an option.

    A mere name may be that of a folder by chance, so a folder counts only if the word has a `/`.
    """
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    exists = os.path.exists if "/" in value else os.path.isfile  # no error where the text is too long for a path
    return f"{option}{equals}{folder / value}" if value and exists(folder / value) else word


def _whole(word: str) -> str | None:
    """Return the name of the placeholder that a word is, if it stands for all parameters."""
    name = word.removeprefix("${").removesuffix("}")
    return name if name in WHOLE_WORDS and word == f"${{{name}}}" else None


def not_a_study(path: Path) -> SweepError:
    """Return the error for a program that was given in place of a study file: it says how to get one."""
    study, word = path.with_suffix(".yaml"), shlex.quote(str(path))
    kind = {".py": "script", ".ipynb": "notebook"}.get(path.suffix, "shell script")
    if path.suffix == ".ipynb":
        do = "in the notebook:  import sweep; sweep.run(study, train)      (sweep docs own-code)"
    elif path.suffix == ".py":
        do = f"sweep init {word}   writes {study}, with its parameters\nsweep run {shlex.quote(str(study))}"
    else:
        runs = f"command: sh {shlex.quote(path.name)} ${{args}}\nmetric: {{name: loss, goal: minimize}}\nmethod: grid"
        parameters = "parameters: {lr: {values: [0.1, 0.01]}}"
        do = f"write {study}, with your parameters:\n\n{runs}\n{parameters}\n\nsweep run {shlex.quote(str(study))}"
    return SweepError("not-a-study-file", f"{path} is a {kind}, not a study file", do=do)
