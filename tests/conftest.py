"""What all tests share: the command line as a real process, studies on disk, and a watch for processes left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.objectives import datasets

REPOSITORY = Path(__file__).parent.parent
Cli = Callable[..., "Done"]
SLOW_TIMEOUT_S = 900

# A script may have started this in the background, where a shell has Ctrl-C ignored; tests send it, and processes inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the slow tests more time than the others before they count as hanging."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return what was printed, read as JSON."""
        return json.loads(self.out)


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """Fail when the block leaves a process behind."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + 5
    while left := [p for p in psutil.Process().children(recursive=True) if p.pid not in before and _is_ours(p)]:
        if time.monotonic() > deadline:
            names = [" ".join(process.cmdline()) for process in left]
            for process in left:
                process.kill()
            pytest.fail(f"processes were left behind: {names}")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process behind; a module that keeps workers for all its tests looks for itself."""
    if getattr(request.module, "KEEPS_WORKERS", False):
        yield
    else:
        with no_process_left():
            yield


def _is_ours(process: psutil.Process) -> bool:
    # The resource trackers of multiprocessing and loky stay with the test process itself, by their design.
    try:
        words = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in words
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here: Path, request: pytest.FixtureRequest) -> Cli:
    """Run `sweep` as a user does, in the test's working directory."""
    limit = SLOW_TIMEOUT_S / 2 if request.node.get_closest_marker("slow") else 100

    def run(*words: str, env: dict[str, str] | None = None, timeout: float = limit) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *words],
            cwd=here,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `sweep` and leave it running; it is killed with the test."""
    running: list[subprocess.Popen[str]] = []

    def launch(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweep", *words],
            cwd=here,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield launch
    for process in running:
        process.kill()
        process.communicate()


def write_objectives(folder: Path) -> None:
    """Put the tests' objectives beside a study file, as the module `mine`."""
    (folder / "mine.py").write_text(
        (Path(__file__).parent / "support" / "objectives.py").read_text(encoding="utf-8"), encoding="utf-8"
    )


def write_study(folder: Path, text: str, name: str = "study.yaml") -> Path:
    """Write a study file and return its path."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Return the first true answer, or fail."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def fashion_data() -> Path:
    """The cache with FashionMNIST in it, fetched if it is not there."""
    root = datasets.cache_root()
    for _ in datasets.fetch("fashion_mnist", root):
        pass
    return root
