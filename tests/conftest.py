"""Fixtures of all tests: an empty folder, the command line as a real process, and a check for processes left behind."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweep.objectives import datasets
from tests.support.command_line import COMMAND, Done, run_sweep
from tests.support.waiting import no_process_left

__all__ = ["REPOSITORY", "Cli", "Done"]
REPOSITORY = Path(__file__).parent.parent
Cli = Callable[..., Done]
SLOW_TIMEOUT_S = 900
# Without their folder on the command line, a sample of the hostile cases runs: all of them take longer than the rest together.
HOSTILE_SAMPLE = 40
# The share of each file's slow tests that runs, at least one of each: all of them take longer than CI should.
SLOW_SHARE = float(os.environ.get("SLOW_SHARE", "1"))
SAMPLE_SEED = int(os.environ.get("SAMPLE_SEED", "13"))

# A shell ignores Ctrl-C in what it starts in the background, `nohup` the end of the terminal, and processes inherit that;
# tests send both.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which of the slow tests run."""
    hostile = "all hostile cases" if _all_hostile(config) else f"{HOSTILE_SAMPLE} hostile cases of each group"
    return f"slow tests: {SLOW_SHARE:.0%} of each file, {hostile}, {SAMPLE_SEED=}"


def _all_hostile(config: pytest.Config) -> bool:
    return any("hostile" in word for word in config.args)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the slow tests and hostile cases, and give the slow ones more time before they count as hanging."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            files.setdefault(item.path, []).append(item)
    draws = random.Random(SAMPLE_SEED)
    left_out = set[pytest.Item]()
    for path, found in files.items():
        most = HOSTILE_SAMPLE if path.parent.name == "hostile" and not _all_hostile(config) else len(found)
        left_out.update(draws.sample(found, len(found) - math.ceil(min(most, len(found)) * SLOW_SHARE)))
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))


@pytest.fixture(autouse=True)
def _no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process behind; a module that keeps workers for all its tests looks for itself."""
    if getattr(request.module, "KEEPS_WORKERS", False):
        yield
    else:
        with no_process_left():
            yield


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Take back the handlers of a command that ran in the test's own process: otherwise it would end with them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _no_other_sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sessions see those of the same user, and say so: here only those of the same test process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


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
        return run_sweep(*words, here=here, env=env, timeout=timeout)

    return run


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `sweep` and leave it running; it is killed with the test."""
    running: list[subprocess.Popen[str]] = []

    def launch(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *words],
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


@pytest.fixture(scope="session")
def fashion_data() -> Path:
    """The cache with FashionMNIST in it, fetched if it is not there."""
    root = datasets.cache_root()
    for _ in datasets.fetch("fashion_mnist", root):
        pass
    return root
