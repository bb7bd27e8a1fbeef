"""What a trial leaves in its process: put back where that is possible, else named."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from sweep.worker.marks import VARIABLE, end_marked, mark_of, marked
from sweep.worker.module_state import Modules
from sweep.worker.process_state import ProcessState

MODULE = """
import random, itertools, collections
counter, data, rows, table, generator = 0, None, [], {"a": 1}, random.Random(0)
class Options: depth = 1
def count(): global counter; counter += 1
def load(): global data; data = object(); rows.append(1); table["b"] = 2
def enlarge(): table["a"] = 3
def deepen(): Options.depth = 2
far, queue, circle, numbers = {"a": ({"b": [1]},)}, collections.deque([1, 2]), itertools.cycle([1, 2]), iter([1, 2])
squares = (i * i for i in range(3))
class Child(Options): __slots__ = ("width",)
child = Child(); child.width = 1
def reach(): far["a"][0]["b"][0] = 2
def widen(): child.width = 2
def override(): Child.__init__ = lambda self: None
def advance(): next(circle); next(squares); next(numbers)
def counted():
    calls = 0
    def inner():
        nonlocal calls
        calls += 1
    return inner
called = counted()
def keep(*, kept={"a": 1}): kept["a"] += 1
"""


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    made = Modules(str(tmp_path))
    yield made
    made.close()


CHANGES: dict[str, Callable[[], Any]] = {
    "gradient": lambda: torch.set_grad_enabled(False),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "flag": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "function": lambda: setattr(torch.nn.functional, "relu", None),
    "errors": lambda: numpy.seterr(all="ignore"),
    "method": lambda: setattr(torch.nn.Dropout, "forward", None),
    "inherited method": lambda: setattr(torch.nn.BatchNorm1d, "forward", print),
    "flag of a class": lambda: torch.distributions.Distribution.set_default_validate_args(False),
    "optimizer": lambda: setattr(torch.optim, "SGD", None),
    "new logger": lambda: logging.getLogger("left by a trial").addHandler(logging.NullHandler()),
    "folder": lambda: os.chdir("/"),
    "variable": lambda: os.environ.__setitem__("LEFT", "1"),
    "path": lambda: sys.path.insert(0, "/left"),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "logging": lambda: logging.root.addHandler(logging.NullHandler()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_can_be_put_back_is(modules: Modules, change: Callable[[], Any]) -> None:
    """Afterwards nothing differs, so that nothing is named."""
    state = ProcessState(modules)
    state.add_torch()
    before = [read() for _, read, _ in state._parts]
    change()
    assert [read() for _, read, _ in state._parts] != before
    assert state.put_back() == []
    assert [read() for _, read, _ in state._parts] == before


def test_what_cannot_be_put_back_is_named(modules: Modules) -> None:
    """A thread, and a child in a session of its own: the process has to be replaced."""
    state, end = ProcessState(modules), threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    assert state.put_back() == ["a thread that is still alive", "a process that has not ended"]
    end.set()
    thread.join()
    child.kill()
    child.wait()
    assert state.put_back() == []


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("count", ["counter"]),
        ("load", []),
        ("enlarge", ["table.a"]),
        ("deepen", ["Options.depth"]),
        ("generator.random", ["generator"]),
        ("reach", ["far.a.0.b.0"]),
        ("queue.popleft", ["queue.0", "queue.1"]),
        ("advance", ["circle", "numbers", "squares"]),
        ("widen", ["child.width"]),
        ("override", ["Child.__init__"]),
        ("called", ["called.calls"]),
        ("keep", ["keep.defaults.kept.a"]),
    ],
)
def test_a_changed_value_of_a_module_is_named_and_a_cache_is_not(
    tmp_path: Path, modules: Modules, monkeypatch: pytest.MonkeyPatch, call: str, names: list[str]
) -> None:
    """None may become something, and lists and dicts may grow; also in a module that is imported later."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "left_by_trials", raising=False)
    (tmp_path / "left_by_trials.py").write_text(MODULE)
    module: Any = __import__("left_by_trials")
    assert modules.changed() == []
    eval(f"module.{call}()", {"module": module})  # noqa: S307  # of this file
    assert modules.changed() == [f"left_by_trials.{name}" for name in names]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of a process")
def test_only_processes_with_the_mark_are_ended(tmp_path: Path) -> None:
    """Not one of another study, nor one that has the mark's text elsewhere."""
    mark = mark_of(tmp_path)
    variables = [
        {VARIABLE: mark},
        {VARIABLE: f"{mark}.a"},
        {VARIABLE: mark[:-1]},
        {VARIABLE: f"{mark}a"},
        {"A": f"{VARIABLE}={mark}"},
    ]
    children = [subprocess.Popen(["sleep", "60"], env=one, start_new_session=True) for one in variables]
    try:
        assert set(marked(mark)) <= {child.pid for child in children}
        assert sorted(end_marked(mark)) == sorted(child.pid for child in children[:2])
        assert [child.wait() for child in children[:2]] == [-9, -9]
        assert [child.poll() for child in children[2:]] == [None] * 3
    finally:
        for child in children:
            child.kill()
            child.wait()
