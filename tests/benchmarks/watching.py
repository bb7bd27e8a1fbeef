"""Run a command and measure all of its processes, their CPU seconds and memory; end those that it leaves behind.

A process belongs to the command when its environment has the marker that the command was started with: so daemons that have
left their parent are found too. What cannot be measured is None: without /proc there is no memory, and CPU seconds
are those that the system counts for children that were waited for.

Reading costs time as well, most of all memory, for which the kernel walks the pages of a process. The duration of one reading
decides when the next one is due, so that reading takes less than a hundredth of a core.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARKER = "SWEEP_BENCHMARK_RUN"
_PROC = Path("/proc")
_INTERVAL_S = 0.25
_MEMORY_SHARE = 0.005  # of a core, for reading memory
_READINGS = 2  # a process may be seen between its start and its program's, so its environment is read twice


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The processes of a command that has ended.

    Attributes:
        code: its exit code.
        started: the time of its start, by `time.time()`.
        seconds: from its start to the end of its first process.
        cpu_s: of all of its processes.
        peak_mb: the highest memory of all of them at one moment, shared pages counted once.
        peaks_mb: the highest memory of each, by its process number.
        root: the number of the first process.
        left: the number of processes that had to be killed after it.
        watching_cpu_s: CPU seconds of the measurement itself.
    """

    code: int
    started: float
    seconds: float
    cpu_s: float
    peak_mb: float | None
    peaks_mb: Mapping[int, float]
    root: int
    left: int
    watching_cpu_s: float


def watch(command: Sequence[str], *, folder: Path, env: Mapping[str, str], log: Path, grace_s: float = 5.0) -> Watched:
    """Run the command in the folder, in a session of its own; return when all of its processes have ended.

    Args:
        command: its words.
        folder: its working directory.
        env: variables that are set besides ours.
        log: the file for its output.
        grace_s: seconds that daemons have to end by themselves before they are killed.
    """
    mark = f"{_MARKER}={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    tree, ended = Tree(mark, grace_s), threading.Event()
    with log.open("wb") as output:
        started, begun = time.time(), time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env, name: value},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # The thread also ends what is left, since Ctrl-C does not interrupt it.
    watcher = threading.Thread(target=tree.read_until, args=(ended,))
    watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    except KeyboardInterrupt:
        tree.grace_s = 0.0
        ended.set()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        ended.set()
        watcher.join()
    return Watched(
        code=process.returncode,
        started=started,
        seconds=seconds,
        # Only the system counts processes that ended between two readings; only we count daemons.
        cpu_s=max(sum(tree.cpu_s.values()), usage.ru_utime + usage.ru_stime),
        peak_mb=tree.peak_mb or None,
        peaks_mb=tree.peaks_mb,
        root=process.pid,
        left=tree.left,
        watching_cpu_s=tree.own_cpu_s,
    )


class Tree:
    """The living processes that have a marker, and what was read of them.

    `grace_s`: seconds that they have to end by themselves once the first has ended. `left`: the number of those that did not.
    """

    def __init__(self, mark: str, grace_s: float) -> None:
        self.grace_s = grace_s
        self.left = 0
        self.cpu_s: dict[int, float] = {}
        self.peaks_mb: dict[int, float] = {}
        self.peak_mb = 0.0
        self.own_cpu_s = 0.0
        self._mark = mark.encode()
        self._members: set[int] = set()
        self._readings: dict[int, int] = {}

    def read_until(self, ended: threading.Event) -> None:
        """Read until the event is set, and once more; then end the processes that are left."""
        began, memory_next = time.thread_time(), 0.0
        while True:
            last = ended.wait(_INTERVAL_S)
            pids = self.pids()
            self._read_times(pids)
            if time.monotonic() >= memory_next:
                before = time.thread_time()
                self._read_memory(pids)
                memory_next = time.monotonic() + (time.thread_time() - before) / _MEMORY_SHARE
            if last:
                self.own_cpu_s = time.thread_time() - began
                self._end()
                return

    def pids(self) -> list[int]:
        """Return the living processes, without zombies."""
        try:
            present = {int(name) for name in os.listdir(_PROC) if name.isdigit()}  # noqa: PTH208  # four times a second
        except OSError:
            return []
        self._members &= present
        self._readings = {pid: count for pid, count in self._readings.items() if pid in present}
        for pid in present - self._members:
            if self._readings.get(pid, 0) < _READINGS:
                self._readings[pid] = self._readings.get(pid, 0) + 1
                with contextlib.suppress(OSError):
                    if self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                        self._members.add(pid)
        return [pid for pid in self._members if _times(pid) is not None]

    def _read_times(self, pids: Sequence[int]) -> None:
        for pid in pids:
            if (seconds := _times(pid)) is not None:
                self.cpu_s[pid] = seconds

    def _read_memory(self, pids: Sequence[int]) -> None:
        held = {pid: _memory_mb(pid) for pid in pids}
        for pid, megabytes in held.items():
            self.peaks_mb[pid] = max(self.peaks_mb.get(pid, 0.0), megabytes)
        self.peak_mb = max(self.peak_mb, sum(held.values()))

    def _end(self) -> None:
        patience = time.monotonic() + self.grace_s
        while (left := self.pids()) and time.monotonic() < patience:
            time.sleep(0.05)
        self.left = len(left)
        while left := self.pids():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def _times(pid: int) -> float | None:
    """Return the CPU seconds of a living process."""
    try:
        # After the name, which may hold anything: state, ..., user and system time in ticks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    """Return the memory of a process, with its share of shared pages; all of them where the kernel does not say the share."""
    for file, pattern in (("smaps_rollup", r"^Pss:\s*(\d+)"), ("status", r"^VmRSS:\s*(\d+)")):
        with contextlib.suppress(OSError):
            if found := re.search(pattern, Path(f"/proc/{pid}/{file}").read_text(), flags=re.MULTILINE):
                return int(found[1]) * 1024 / 1e6
    return 0.0
