"""A Ray cluster of several nodes on this machine: each is a process that does not see the folders that it must not see."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import alive, wait_for

_RAY = (sys.executable, "-m", "ray.scripts.scripts")
_MARK = "SWEEP_TEST_CLUSTER"
_OF_A_STUDY = ("sweep-slot", "sweep-template", "ray::Host")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # else a head wants the token that is at home, if one is


class Node:
    """A node: `ray start` that does not return, with the processes that it has started."""

    def __init__(self, words: Sequence[str], hidden: Sequence[Path], log: Path, env: dict[str, str]) -> None:
        command = [*_RAY, "start", *words, "--block", "--disable-usage-stats"]
        if hidden:  # in a namespace of its own, an empty folder over each
            mounts = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
            command = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **QUIET, **env}
            )
        self.log = log

    def processes(self) -> list[psutil.Process]:
        """Return its processes, the first one first."""
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def named(self, part: str) -> list[psutil.Process]:
        """Return its processes whose names begin like this."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith(part):
                    found.append(process)
        return found

    def kill(self) -> None:
        """Kill the whole node at once, as a power cut does."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """End it in order, and by force if that takes long."""
        everything = self.processes()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        deadline = time.monotonic() + 5
        while any(map(alive, everything)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in filter(alive, everything):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait(10)


class Cluster:
    """A head without room for trials, and nodes that come and go.

    Args:
        folder: for logs and what the nodes' processes have on their disk.
        port: of the head.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.address = folder, f"127.0.0.1:{port}"
        self.disk = folder / "disk"
        self.nodes: list[Node] = []
        self.disk.mkdir()
        words = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=0", "--include-dashboard=false"]
        self.head = Node([*words, "--object-store-memory=100000000"], [], folder / "head.log", {})
        _wait(self.head)

    def add(self, cores: int = 1, *, hidden: Sequence[Path] = (), env: dict[str, str] | None = None) -> Node:
        """Start a node and wait until it has joined."""
        log = self._folder / f"node-{len(self.nodes)}.log"
        words = [f"--address={self.address}", "--node-ip-address=127.0.0.1", f"--num-cpus={cores}"]
        own = {"TMPDIR": str(self.disk), "RAY_TMPDIR": tempfile.gettempdir(), _MARK: str(self._folder)}
        node = Node([*words, "--object-store-memory=100000000"], hidden, log, own | (env or {}))
        self.nodes.append(node)
        _wait(node)
        return node

    def left(self) -> list[str]:
        """Return what is left of a study on all nodes: processes that run, and files of trials."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == str(self._folder) and alive(process):
                    words = " ".join(process.cmdline())
                    if process.name().startswith(_OF_A_STUDY) or "watched = {}" in words:
                        found.append(f"{process.pid} {process.name()} {words[:60]}")
        return found + [str(path) for path in self.disk.glob("sweep-*/*/*")]

    def processes_left(self) -> list[str]:
        """Return what runs of a study on all nodes."""
        return [text for text in self.left() if not text.startswith("/")]

    def end_nodes(self) -> None:
        """End all nodes but the head."""
        for node in self.nodes:
            if node.process.poll() is None:
                node.end()

    def end(self) -> None:
        """End everything."""
        self.end_nodes()
        if self.head.process.poll() is None:
            self.head.end()


def _wait(node: Node) -> None:
    """Wait until a node says that it has started."""
    wait_for(lambda: "Ray runtime started" in node.log.read_text() or node.process.poll() is not None, 60)
    assert "Ray runtime started" in node.log.read_text(), node.log.read_text()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Have a cluster while the block runs; its own folder is in no folder of a test, which may be hidden from its nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="sweep-cluster-", ignore_cleanup_errors=True) as folder,
    ):
        for name, value in QUIET.items():  # also for what connects to it
            patch.setenv(name, value)
        found = Cluster(Path(folder), port)
        try:
            yield found
        finally:
            found.end()
