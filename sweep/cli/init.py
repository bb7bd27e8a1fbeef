"""`sweep init`: makes the first study file of a script or function, and asks at most two questions, on a terminal."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sweep.errors import SweepError, did_you_mean
from sweep.runner.stopping import raise_on_termination
from sweep.study.file.reading import read_study
from sweep.study.starting.starts import built_in, chosen, named, of_function, of_program, with_metric
from sweep.study.starting.target import target_of
from sweep.study.starting.text import Start, first_study, in_own_words
from sweep.worker.script.asking import ask

_STUDIES = (".yaml", ".yml")
_GOALS = ("minimize", "maximize")


@dataclass(frozen=True, kw_only=True)
class _Made:
    """The start of a study, and its file; `unsure` if its metric is only a proposal."""

    start: Start
    file: Path
    unsure: bool = False


def make_study(target: str | None, words: Sequence[str], *, out: str | None, python: str, yes: bool) -> None:
    """Write the first study file of a script or function; print what it says, and what to type next.

    Args:
        target: `train.py`, `train.py:function`, a sweep file of W&B's; None for the built-in objective.
        words: fixed words for the script.
        out: the file to write; None for one beside the script, of its name.
        python: the interpreter of the script.
        yes: ask nothing.

    Raises:
        SweepError: there is no such script, the file exists, or the script does not say which parameters it has.
    """
    if target is not None and Path(target).suffix in _STUDIES and Path(target).is_file():
        path = Path(target)
        file = _free(out, path.with_name(f"{path.stem}-study.yaml"))
        if file.resolve().parent != path.resolve().parent:
            what = f"{path} names its program as a file beside itself, so its study cannot be in another folder"
            raise SweepError("another-folder", what, do=f"leave -o out, or name a file in {path.resolve().parent}")
        _write(file, in_own_words(path))
        print(f"{file} is written\nsweep run {shlex.quote(str(file))}")
        return
    raise_on_termination()  # what asks a program removes its folder then
    made = _made(target, words, out, python)
    if sys.stdin.isatty() and sys.stdout.isatty() and not yes:
        made = _asked(made)
    _write(made.file, first_study(named(made.start, made.file)))
    _show(made)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        do = "sweep init ... -o FILE   writes another file"
        raise SweepError("study-not-written", f"cannot write {path}: {error.strerror}", do=do) from None


def _made(word: str | None, words: Sequence[str], out: str | None, python: str) -> _Made:
    if word is None:
        return _Made(start=built_in(), file=_free(out, Path("fashion.yaml")))
    target = target_of(word)
    file = _free(out, target.path.with_suffix(".yaml"))
    folder, unsure = file.resolve().parent, not target.shown.metrics
    if target.function is not None:
        start = of_function(target.reference(folder), target.function, target.shown, folder)
        return _Made(start=start, file=file, unsure=unsure and start.proposals is not None)
    interpreter = os.path.abspath(python) if "/" in python else python  # noqa: PTH100  # without links: those of a venv count
    command = [interpreter, os.path.relpath(target.path.resolve(), folder), *words]
    print(f"asking {target.path} for its parameters", file=sys.stderr, flush=True)
    declared = ask(command, folder, lambda line: print(line, file=sys.stderr, flush=True))
    return _Made(start=of_program(str(target.path), command, declared, target.shown, folder), file=file, unsure=unsure)


def _free(out: str | None, default: Path) -> Path:
    file = default if out is None else Path(out)
    if file.exists() or file.is_symlink():
        raise _exists(file)
    return file


def _exists(file: Path) -> SweepError:
    other = file.with_name(f"{file.stem}-2{file.suffix or '.yaml'}")
    one, two = shlex.quote(str(other)), shlex.quote(str(file))
    do = f"write another file:  sweep init ... -o {one}\nuse this one:        sweep plan {two}"
    return SweepError("file-exists", f"{file} exists already, and is left as it is", do=do)


# ---------------------------------------------------------------- questions and answers


def _asked(made: _Made) -> _Made:
    """Ask for the metric, if the script does not show it, and for the parameters to sweep."""
    start = made.start
    if made.unsure:
        [(name, goal)] = start.metrics
        answer = click.prompt(
            "Which metric does it report, and minimize or maximize?", default=f"{name} {goal}", value_proc=_metric
        )
        start = with_metric(start, *answer)
    if start.proposals is not None:
        known = [one.option.name for one in start.proposals if len(one.values) > 1]
        default = " ".join(one.option.name for one in start.proposals if one.swept)
        print(f"Parameters: {' '.join(known)}")
        names: list[str] = click.prompt("Which ones to sweep?", default=default, value_proc=lambda text: _names(text, known))
        start = dataclasses.replace(start, proposals=chosen(start.proposals, names))
    return dataclasses.replace(made, start=start, unsure=False)


def _metric(text: str) -> tuple[str, str | None]:
    words = text.split()
    goal = words.pop() if words and words[-1] in _GOALS else None
    if len(words) != 1:
        raise click.UsageError("one name, and minimize or maximize after it")
    return words[0], goal


def _names(text: str, known: Sequence[str]) -> list[str]:
    names = text.replace(",", " ").split()
    if not names:
        raise click.UsageError("at least one")
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no parameter {name!r} with proposed values: {did_you_mean(name, known)}")
    return names


def _show(made: _Made) -> None:
    start, file = made.start, shlex.quote(str(made.file))
    metrics = ", ".join(f"{goal} {name}" for name, goal in start.metrics)
    print(f"{made.file} is written: {metrics}{' (the file says how to report it)' if made.unsure else ''}")
    if start.proposals is None:
        print("the function asks for its parameters itself")
    else:
        study = read_study(made.file)
        swept = [one.option.name for one in start.proposals if one.swept]
        others = sum(not (one.swept or one.constant) for one in start.proposals)
        more = f"; further parameters are comments in it: {others}" if others else ""
        told = f" of {', '.join(swept)}" if swept else ", since nothing is swept yet"
        trials = f"{study.total} trial{'s' * (study.total != 1)}"
        print(f"{study.method}, {trials}{told}{more}")
        if unset := [one.option.name for one in start.proposals if one.option.required and not (one.swept or one.constant)]:
            print(f"before that, write values for {', '.join(unset)}: there is no default")
    if start.runs.get("objective", "").startswith("sweep."):
        print("for a script or function of yours:  sweep init train.py")
    print(f"sweep run {file}")
