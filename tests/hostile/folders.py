"""A study that was killed in the middle of a trial, to be copied and damaged, and the command line inside the test's process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sweep.cli.main import main
from tests.support.command_line import Running
from tests.support.studies import study_text, write_study

# Steps 1 to 4 with a checkpoint each; where the file `hold` is, the second step waits until the file `go` is there.
OBJECTIVE = """\
import os, time
import torch


def train(trial):
    weights = torch.zeros(2) if trial.state is None else trial.state["weights"]
    for step in trial.steps(4):
        if step == 3 and trial.number == 1 and os.path.exists("hold"):
            open("waiting", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        weights = weights + trial.params["x"] * torch.rand(2)
        trial.report(step, {"score": weights.sum()}, {"weights": weights})
"""
PARAMETERS = {"x": [1, 2, 3]}


# Number, state and value of each trial.
Values = list[tuple[int, str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A study file with a study that is half done: trial 0 is complete, trial 1 was killed at its third step."""

    here: Path

    @property
    def study(self) -> Path:
        """Return the study file."""
        return self.here / "study.yaml"

    @property
    def root(self) -> Path:
        """Return the study's folder."""
        return self.here / "runs" / "study"

    @property
    def run(self) -> Path:
        """Return the run folder of the interrupted trial."""
        return self.root / "0001_x=2"

    @property
    def events(self) -> Path:
        """Return its event file."""
        return next(self.run.glob("events*"))


@contextlib.contextmanager
def held(here: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    """Run the study, wait until trial 1 is at its third step, and give the process; `go` lets it go on."""
    for name in ("go", "waiting"):
        (here / name).unlink(missing_ok=True)
    (here / "hold").touch()
    with Running("run", "study.yaml", *words, here=here, env=env) as running:
        running.wait_until((here / "waiting").exists)
        yield running


def write_files(here: Path, **keys: Any) -> None:
    """Write the study file and its objective."""
    (here / "mine.py").write_text(OBJECTIVE)
    log = {"figures": False, "images": False}
    write_study(here, study_text(PARAMETERS, log=log, objective="mine:train", **keys))


def make_half_done(here: Path) -> Place:
    """Run the study and kill it."""
    write_files(here)
    with held(here) as running:
        running.send(signal.SIGKILL)
        running.end()
    for name in ("hold", "waiting"):
        (here / name).unlink()
    return Place(here=here)


def copied(place: Place, here: Path) -> Place:
    """Copy a study to another folder."""
    shutil.copytree(place.here, here, dirs_exist_ok=True)
    found = here / "runs" / "study" / "environment.json"
    found.write_text(found.read_text().replace(str(place.here), str(here)))
    return Place(here=here)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Hangs(BaseException):
    """A command takes too long."""


def sweep(*words: str, seconds: int = 60) -> Said:
    """Run a command inside this process, as fast as it can be; what it raises is raised, and it must not hang."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hangs(" ".join(words))

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Said(code=code, out=out.getvalue(), err=err.getvalue())


def assert_clear(said: Said) -> None:
    """Check that a command succeeded, or ended with a message that has a name, and no traceback."""
    assert "Traceback" not in said.err, said.err
    assert said.code in (0, 1, 2, 3, 4), said
    if said.code not in (0, 1) or "error:" in said.err:
        assert re.search(r"\[[a-z]+(-[a-z]+)*\]", said.err), said.err
    assert all(line.isprintable() for line in said.err.split("\n")), said.err


def values(place: Place) -> Values:
    """Return number, state and value of each trial."""
    said = sweep("trials", str(place.root), "--format", "json")
    assert said.code == 0, said.err
    return [(trial["number"], trial["state"], trial["value"]) for trial in json.loads(said.out)]


def state_of(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Return kind, modification time and content of everything in a folder, links not followed."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        about = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else ""
        found[os.fspath(path.relative_to(folder))] = (stat.filemode(about.st_mode)[0], about.st_mtime_ns, content)
    return found


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "precious")


def _dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "missing")


def _link_to_folder(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _folder(path: Path, _outside: Path) -> None:
    path.mkdir()


def _fifo(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):  # a socket's path is short
        made.bind(path.name)


def _full(path: Path, _outside: Path) -> None:
    path.symlink_to("/dev/full")


def _hard_link(path: Path, outside: Path) -> None:
    (path).hardlink_to(outside / "precious")


# What can stand in place of a file, by name; each is called with the path and the folder outside the study.
KINDS: dict[str, Callable[[Path, Path], None]] = {
    "a link": _link,
    "a dangling link": _dangling,
    "a link to a folder": _link_to_folder,
    "a folder": _folder,
    "a named pipe": _fifo,
    "a socket": _socket,
    "a link to /dev/full": _full,
    "a hard link": _hard_link,
}


def make_outside(here: Path, like: Path | None = None) -> Path:
    """Make a folder with a file that must not change.

    Args:
        here: its parent.
        like: the file's content; default: some text.
    """
    outside = here / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(like.read_bytes() if like is not None and like.is_file() else b"years of work\n")
    return outside


def finish(place: Place, whole: Values) -> None:
    """The next session ends the study as if nothing had happened."""
    said = sweep("resume", str(place.root), "--inline")
    assert said.code == 0, said.err
    assert values(place) == whole
