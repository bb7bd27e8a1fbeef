"""Run real scripts as trials in this process, with a runner that decides as the test says."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sweep.study.trial import Decision, Report, Scalar, TrialResult, TrialSpec
from sweep.worker.devices import plan_slots
from sweep.worker.protocol import Channel, Resumed
from sweep.worker.script.objective import objective_of
from sweep.worker.single import run_trial
from tests.support.studies import study_spec

PARAMS: dict[str, Scalar] = {"lr": 0.01, "size": 32, "shuffle": True, "name": "a b", "nothing": None}
EVENTS = """
import sys, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

writer = EventFileWriter(sys.argv[1])

def add(step, tag, number=None):
    value = Summary.Value(tag=tag) if number is None else Summary.Value(tag=tag, simple_value=number)
    if number is None:
        value.image.encoded_image_string = b"picture"
    writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
"""


@dataclass
class Line:
    """A channel to a runner that decides as the test says."""

    decisions: list[Decision] = field(default_factory=list)
    stop_after: int | None = None  # the number of reports before the stop
    sent: list[Any] = field(default_factory=list)

    def send(self, obj: Any) -> None:
        """Receive an event."""
        self.sent.append(obj)

    def recv(self) -> Decision:
        """Decide on the last event."""
        if isinstance(self.sent[-1], Resumed) or not self.decisions:
            return Decision.CONTINUE
        return self.decisions.pop(0)

    def stop_requested(self) -> bool:
        """Ask to stop, after this many reports."""
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    @property
    def channel(self) -> Channel:
        """Return the worker's end."""
        return Channel(send=self.send, recv=self.recv, stop_requested=self.stop_requested)

    @property
    def reports(self) -> list[Report]:
        """Return the reports that came."""
        return [event for event in self.sent if isinstance(event, Report)]


Run = Callable[..., TrialResult]


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def trial(tmp_path: Path, line: Line) -> Run:
    """Run a script's trial in this process, with a real script; its run folder is `run`, its log `log`."""
    study = study_spec(PARAMS, objective=None, command="python script.py", import_dir=tmp_path)

    @contextlib.contextmanager
    def log_to(_path: Path) -> Iterator[None]:
        with (tmp_path / "log").open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield

    def start(script: str, *words: str, line: Line = line, attempt: int = 1) -> TrialResult:
        (tmp_path / "script.py").write_text(textwrap.dedent(script))
        spec = TrialSpec(number=7, params=dict(PARAMS), seed=5, dir=str(tmp_path / "run"), attempt=attempt)
        train = objective_of(replace(study, command=("python", "script.py", *words)))
        return run_trial(line.channel, train, spec, study, plan_slots("cpu", 1, 1)[0], log_to)

    return start


def log(folder: Path) -> str:
    return (folder / "log").read_text()
