"""Ask a program which parameters it has: it is started once, and ended where it is about to read its arguments."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import shlex
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.study.command import program
from sweep.study.starting.declared import Declared
from sweep.worker.endings import TrialFailed
from sweep.worker.script.declaring.answer import FILE
from sweep.worker.script.lines import Piece, line_reader
from sweep.worker.script.objective import own_error
from sweep.worker.script.process import Script

LIMIT_S = 60.0  # an import of torch and its like from a cold disk takes half of it
_POLL_S = 0.05
_COPY = "sweep_declaring"  # a name that no program has
_SHOWN_LINES, _KEPT_LINES = 8, 200


def ask(
    words: Sequence[str], folder: Path, say: Callable[[str], None], limit_s: float = LIMIT_S, say_s: float = 10.0
) -> Declared:
    """Return what a program declares about its parameters.

    Args:
        words: the program, its script, and fixed words, as in a study file's command.
        folder: where it runs, the study file's.
        say: gets a line every `say_s` seconds, which shows that this is going on.
        limit_s: the seconds after which it is ended.

    Raises:
        SweepError: it cannot be started, failed, took too long, or did not read its arguments.
    """
    with tempfile.TemporaryDirectory(prefix="sweep-ask-") as place:
        shutil.copytree(Path(__file__).with_name("declaring"), Path(place) / _COPY)
        (Path(place) / "sitecustomize.py").write_text(f"from {_COPY}.hook import begin\nbegin({place!r})\n", encoding="utf-8")
        environment = {"WANDB_MODE": "disabled", **os.environ, "PYTHONUNBUFFERED": "1"}  # no run on a server
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [place, environment.get("PYTHONPATH")]))
        code, lines = _run([program(words[0], folder), *words[1:]], folder, environment, say, limit_s, say_s)
        with contextlib.suppress(FileNotFoundError):
            return Declared.from_json(json.loads((Path(place) / FILE).read_text(encoding="utf-8")))
    raise _unknown(code, lines, words, folder, limit_s)


def _run(
    words: list[str], folder: Path, environment: dict[str, str], say: Callable[[str], None], limit_s: float, say_s: float
) -> tuple[int | None, list[tuple[str, bool]]]:
    """Run a program to its end or the limit; return its exit code, None at the limit, and its last lines."""
    last: deque[tuple[str, bool]] = deque(maxlen=_KEPT_LINES)

    def printed(pieces: list[Piece], *, error: bool) -> None:
        last.extend((piece.text.rstrip(), error) for piece in pieces if piece.text.strip())

    try:
        script = Script(words, folder, environment)
    except TrialFailed as failed:
        raise SweepError("program-not-started", str(failed).partition("\n")[0]) from None
    with contextlib.closing(script), selectors.DefaultSelector() as selector:
        for pipe, error in zip(script.outputs, (False, True), strict=True):
            line_reader(selector, pipe, functools.partial(printed, error=error))
        begin = said = time.monotonic()
        while not script.gone():
            now = time.monotonic()
            if now - begin > limit_s:
                return None, [*last]
            if now - said > say_s:
                said = now
                say(f"it has not read its arguments yet: {now - begin:.0f} s of at most {limit_s:.0f} s")
            for key, _ in selector.select(_POLL_S):
                key.data()
            if not selector.get_map():
                time.sleep(_POLL_S)
        script.kill()
        while selector.get_map() and (ready := selector.select(_POLL_S)):
            for key, _ in ready:
                key.data()
        return script.code, [*last]


def _unknown(code: int | None, lines: list[tuple[str, bool]], words: Sequence[str], folder: Path, limit_s: float) -> SweepError:
    script = next((word for word in words[1:] if word.endswith(".py")), words[0])
    name = os.path.relpath(folder / script)
    shown = "\n".join(line for line, _ in lines[-_SHOWN_LINES:])
    told: dict[str, Any] = {"where": f"its last lines:\n{shown}" if shown else "it printed nothing"}
    by_hand = f"cd {shlex.quote(str(folder))} && {shlex.join(words)}"
    without = (
        "a script without arguments gets its parameters by two lines:\n"
        "  from sweep import trial\n"
        '  lr = trial.params.get("lr", 0.01)\n'
        "sweep docs own-code   shows its study file"
    )
    if code is None:
        what = f"{name} did not read its arguments in {limit_s:.0f} s, and was ended"
        why = "it does its work before it reads them, or it reads none (argparse, click, typer, tyro and Hydra are known)"
        return SweepError("program-reads-nothing", what, why=why, do=without, **told)
    if code:
        what = f"{name} failed before it read its arguments: {own_error(lines) or f'exit code {code}'}"
        do = f"try it by hand:  {by_hand} --help\nanother interpreter:  sweep init {shlex.quote(name)} --python PROGRAM"
        return SweepError("program-failed", what, do=do, exit_code=EXIT_SOME_FAILED, **told)
    what = f"{name} ended without reading arguments by argparse, click, typer, tyro or Hydra"
    return SweepError("program-reads-nothing", what, do=without, **told)
